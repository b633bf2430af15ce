from __future__ import annotations

import asyncio
from typing import Any

import pytest

from broker.errors import BadRequestData, LdContextNotAvailable
from broker.jsonld.core import CORE_URL
from broker.jsonld.resolver import REFRESH, RETRY
from tests.unit.jsonld.contexts import Web

A = "https://contexts.example/a.jsonld"
B = "https://contexts.example/b.jsonld"
OLD_CORE = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.6.jsonld"


def terms(**mapped: str) -> dict[str, Any]:
    return {"@context": mapped}


async def test_the_core_context_needs_no_network() -> None:
    web = Web()
    resolver = web.resolver()
    values: list[Any] = [None, [], {}, CORE_URL, OLD_CORE, [CORE_URL, OLD_CORE]]
    for value in values:
        assert await resolver.resolve(value) is resolver.core
    assert resolver.cached(None) is resolver.cached(OLD_CORE) is resolver.core
    assert web.asked == []


async def test_a_remote_context_is_fetched_once() -> None:
    web = Web({A: terms(temp="https://a.example/temp")})
    resolver = web.resolver()
    assert resolver.cached(A) is None
    context = await resolver.resolve(A)
    assert context.expand("temp") == "https://a.example/temp"
    assert context.value == [A, CORE_URL]
    assert context.url == A
    assert resolver.cached(A) is context
    assert await resolver.resolve([A, CORE_URL]) is context
    assert resolver.cached([A, CORE_URL]) is context
    assert web.asked == [A]


async def test_many_requests_at_once_fetch_once() -> None:
    web = Web({A: terms(temp="https://a.example/temp")})
    resolver = web.resolver()
    found = await asyncio.gather(*(resolver.resolve(A) for _ in range(20)))
    assert len({id(context) for context in found}) == 1
    assert web.asked == [A]


async def test_later_contexts_win_and_nested_ones_are_followed() -> None:
    web = Web(
        {
            A: {"@context": ["b.jsonld", {"mine": "https://a.example/mine"}, OLD_CORE]},
            B: terms(temp="https://b.example/temp", mine="https://b.example/mine"),
        }
    )
    context = await web.resolver().resolve([A, {"inline": "https://i.example/x"}])
    assert context.expand("temp") == "https://b.example/temp"
    assert context.expand("mine") == "https://a.example/mine"
    assert context.expand("inline") == "https://i.example/x"
    assert context.url is None
    assert web.asked == [A, B]


async def test_an_imported_context_stands_below_the_one_that_imports_it() -> None:
    web = Web({B: terms(x="https://b.example/x", y="https://b.example/y")})
    context = await web.resolver().resolve({"@version": 1.1, "@import": B, "y": "https://a.example/y"})
    assert context.expand("x") == "https://b.example/x"
    assert context.expand("y") == "https://a.example/y"


async def test_a_protected_user_context_does_not_stand_in_the_cores_way() -> None:
    web = Web({A: {"@context": {"@protected": True, "description": "https://a.example/d", "x": "https://a.example/x"}}})
    context = await web.resolver().resolve(A)
    assert context.expand("description") == "http://purl.org/dc/terms/description"
    assert context.expand("x") == "https://a.example/x"


@pytest.mark.parametrize(
    "document",
    [OSError("refused"), b"<html>", {"no": "context"}, [1], b"\xff", TimeoutError()],
    ids=["unreachable", "html", "no context", "list", "bytes", "timeout"],
)
async def test_what_cannot_be_had_is_said_to_be_unavailable(document: Any) -> None:
    with pytest.raises(LdContextNotAvailable, match=r"a\.jsonld"):
        await Web({A: document}).resolver().resolve(A)


async def test_a_failure_is_not_remembered() -> None:
    web = Web()
    resolver = web.resolver()
    with pytest.raises(LdContextNotAvailable):
        await resolver.resolve(A)
    web.documents[A] = terms(x="https://a.example/x")
    assert (await resolver.resolve(A)).expand("x") == "https://a.example/x"


async def test_a_context_beyond_the_limit_is_unavailable() -> None:
    web = Web({A: terms(x="https://a.example/" + "x" * 2000)})
    with pytest.raises(LdContextNotAvailable, match="limit of 1024 bytes"):
        await web.resolver(context_bytes=1024).resolve(A)


async def test_a_slow_context_is_unavailable() -> None:
    async def never(url: str) -> bytes:
        await asyncio.Event().wait()
        return b""

    web = Web()
    web.fetch = never  # type: ignore[method-assign]
    with pytest.raises(LdContextNotAvailable, match="within"):
        await web.resolver(context_seconds=0.01).resolve(A)


async def test_contexts_that_refer_to_each_other_are_refused() -> None:
    web = Web({A: {"@context": B}, B: {"@context": A}})
    with pytest.raises(BadRequestData, match="refers to itself"):
        await web.resolver().resolve(A)


async def test_a_context_of_endlessly_many_documents_is_refused() -> None:
    web = Web()

    async def more(url: str) -> bytes:
        web.asked.append(url)
        return b'{"@context": ["%sa", "%sb"]}' % (url.encode(), url.encode())

    web.fetch = more  # type: ignore[method-assign]
    with pytest.raises(BadRequestData, match="too many documents"):
        await web.resolver().resolve(A)
    assert len(web.asked) < 40


@pytest.mark.parametrize("value", [5, True, "not a url", "file:///etc/passwd", [None], [[{}]], [5]])
async def test_what_is_no_context_is_refused(value: Any) -> None:
    with pytest.raises(BadRequestData, match="'@context' must"):
        await Web().resolver().resolve(value)


async def test_scoped_contexts_are_refused() -> None:
    with pytest.raises(BadRequestData, match="scoped context in the term 'x'"):
        await Web().resolver().resolve({"x": {"@id": "https://a.example/x", "@context": {}}})


async def test_a_stale_context_is_refreshed() -> None:
    web = Web({A: terms(x="https://a.example/1")})
    resolver = web.resolver()
    await resolver.resolve(A)
    web.documents[A] = terms(x="https://a.example/2")
    web.now += REFRESH
    assert resolver.cached(A) is None
    assert (await resolver.resolve(A)).expand("x") == "https://a.example/2"


async def test_a_stale_context_is_served_on_when_it_cannot_be_refreshed() -> None:
    web = Web({A: terms(x="https://a.example/1")})
    resolver = web.resolver()
    first = await resolver.resolve(A)
    del web.documents[A]
    web.now += REFRESH
    assert await resolver.resolve(A) is first
    assert resolver.cached(A) is first
    assert web.asked == [A, A]
    web.now += RETRY
    assert await resolver.resolve(A) is first
    assert web.asked == [A, A, A]


async def test_inline_contexts_are_compiled_once_whatever_the_order_of_their_members() -> None:
    resolver = Web().resolver()
    one = await resolver.resolve({"a": "https://x.example/a", "b": "https://x.example/b"})
    assert resolver.cached({"b": "https://x.example/b", "a": "https://x.example/a"}) is one


async def test_the_cache_is_bounded() -> None:
    resolver = Web().resolver(contexts_cached=2)
    for number in range(5):
        await resolver.resolve({"a": f"https://x.example/{number}"})
    assert resolver.cached({"a": "https://x.example/0"}) is None
    assert resolver.cached({"a": "https://x.example/4"}) is not None


async def test_a_forgotten_document_is_fetched_anew() -> None:
    web = Web({A: {"@context": B}, B: terms(x="https://b.example/1")})
    resolver = web.resolver()
    await resolver.resolve(A)
    web.documents[B] = terms(x="https://b.example/2")
    resolver.forget(B)
    assert (await resolver.resolve(A)).expand("x") == "https://b.example/2"


async def test_a_large_context_compiles_too() -> None:
    web = Web({A: terms(**{f"term{n}": f"https://a.example/{n}" for n in range(1000)})})
    assert (await web.resolver().resolve(A)).expand("term999") == "https://a.example/999"
