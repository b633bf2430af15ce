from __future__ import annotations

import asyncio
from typing import Any

import pytest

from broker.clock import SECOND
from broker.errors import BadRequestData, LdContextNotAvailable
from broker.jsonld.core import CORE_URL
from broker.jsonld.remote import FAILED, REFRESH
from broker.jsonld.resolver import RETRY
from broker.jsonld.upkeep import Upkeep
from tests.unit.jsonld.contexts import Web

A = "https://contexts.example/a.jsonld"
B = "https://contexts.example/b.jsonld"
OLD_CORE = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.6.jsonld"


def terms(**mapped: str) -> dict[str, Any]:
    return {"@context": mapped}


async def test_the_core_context_needs_no_network() -> None:
    web = Web()
    resolver = web.resolver()
    values: list[Any] = [None, [], {}, CORE_URL, OLD_CORE, [CORE_URL, OLD_CORE], [None], [{"a": "urn:a:"}, None]]
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
    await asyncio.gather(*(resolver.resolve([A, {"n": f"https://n.example/{n}"}]) for n in range(20)))
    assert web.asked == [A]


async def test_many_requests_at_once_share_one_failure() -> None:
    web = Web()
    resolver = web.resolver()
    answers = await asyncio.gather(*(resolver.resolve(A) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(answer, LdContextNotAvailable) for answer in answers)
    assert web.asked == [A]


async def test_a_request_that_goes_away_does_not_take_the_others_with_it() -> None:
    web = Web({A: terms(temp="https://a.example/temp")})
    arrived, go = asyncio.Event(), asyncio.Event()
    fetch = web.fetch

    async def slow(url: str) -> Any:
        arrived.set()
        await go.wait()
        return await fetch(url)

    web.fetch = slow  # type: ignore[method-assign]
    resolver = web.resolver()
    first, second = asyncio.create_task(resolver.resolve(A)), asyncio.create_task(resolver.resolve(A))
    await arrived.wait()
    first.cancel()
    go.set()
    assert (await second).expand("temp") == "https://a.example/temp"


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


async def test_null_in_a_list_undoes_what_stands_before_it() -> None:
    web = Web({A: {"@context": [{"x": "https://a.example/x"}, None, {"y": "https://a.example/y"}]}})
    context = await web.resolver().resolve(A)
    assert context.expand("x") == CORE_X
    assert context.expand("y") == "https://a.example/y"
    assert (await web.resolver().resolve([{"x": "https://a.example/x"}, None])).expand("x") == CORE_X


CORE_X = "https://uri.etsi.org/ngsi-ld/default-context/x"


async def test_an_imported_context_is_one_with_the_one_that_imports_it() -> None:
    web = Web({B: terms(x="https://b.example/x", y="https://b.example/y", z="p:z")})
    context = await web.resolver().resolve(
        {"@version": 1.1, "@import": B, "y": "https://a.example/y", "p": "https://p.example/"}
    )
    assert context.expand("x") == "https://b.example/x"
    assert context.expand("y") == "https://a.example/y"
    assert context.expand("z") == "https://p.example/z"


@pytest.mark.parametrize("imported", [[{}], "https://x.example/", {"@import": A}, 5])
async def test_what_is_imported_must_be_one_object(imported: Any) -> None:
    with pytest.raises(BadRequestData, match="must be one object without '@import'"):
        await Web({B: {"@context": imported}}).resolver().resolve({"@import": B})


async def test_a_protected_user_context_does_not_stand_in_the_cores_way() -> None:
    web = Web({A: {"@context": {"@protected": True, "description": "https://a.example/d", "x": "https://a.example/x"}}})
    context = await web.resolver().resolve(A)
    assert context.expand("description") == "http://purl.org/dc/terms/description"
    assert context.expand("x") == "https://a.example/x"


@pytest.mark.parametrize("document", [OSError("refused"), TimeoutError()], ids=["unreachable", "timeout"])
async def test_what_cannot_be_had_is_said_to_be_unavailable(document: Any) -> None:
    with pytest.raises(LdContextNotAvailable, match=r"a\.jsonld"):
        await Web({A: document}).resolver().resolve(A)


@pytest.mark.parametrize(
    "document",
    [b"<html>", {"no": "context"}, [1], b"\xff", {"@context": 5}, {"@context": {"a": 5}}],
    ids=["html", "no context", "list", "bytes", "number", "no term"],
)
async def test_what_is_there_and_is_no_context_is_bad_request_data(document: Any) -> None:
    with pytest.raises(BadRequestData, match=r"a\.jsonld"):
        await Web({A: document}).resolver().resolve(A)


async def test_a_failure_is_soon_forgotten() -> None:
    web = Web()
    resolver = web.resolver()
    with pytest.raises(LdContextNotAvailable):
        await resolver.resolve(A)
    web.documents[A] = terms(x="https://a.example/x")
    web.now += FAILED
    assert (await resolver.resolve(A)).expand("x") == "https://a.example/x"


async def test_a_context_beyond_the_limit_is_unavailable() -> None:
    web = Web({A: terms(x="https://a.example/" + "x" * 2000)})
    with pytest.raises(LdContextNotAvailable, match=r"'limits\.context_bytes' of 1024 bytes"):
        await web.resolver(context_bytes=1024).resolve(A)


async def test_a_slow_context_is_unavailable() -> None:
    async def never(url: str) -> Any:
        await asyncio.Event().wait()

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

    async def more(url: str) -> Any:
        web.documents[url] = b'{"@context": ["%sa", "%sb"]}' % (url.encode(), url.encode())
        return await Web.fetch(web, url)

    web.fetch = more  # type: ignore[method-assign]
    with pytest.raises(BadRequestData, match="too many documents"):
        await web.resolver().resolve(A)
    assert len(web.asked) < 40


@pytest.mark.parametrize("value", [5, True, "not a url", "file:///etc/passwd", [[{}]], [5]])
async def test_what_is_no_context_is_refused(value: Any) -> None:
    with pytest.raises(BadRequestData, match="'@context' must"):
        await Web().resolver().resolve(value)


async def test_scoped_contexts_are_refused() -> None:
    with pytest.raises(BadRequestData, match="scoped context in the term 'x'"):
        await Web().resolver().resolve({"x": {"@id": "https://a.example/x", "@context": {}}})


async def test_a_stale_context_is_served_at_once_and_refreshed_behind_it() -> None:
    web = Web({A: terms(x="https://a.example/1")})
    resolver = web.resolver()
    upkeep = Upkeep(resolver, resolver.library.shelf)
    first = await resolver.resolve(A)
    web.documents[A] = terms(x="https://a.example/2")
    web.now += REFRESH * SECOND
    assert resolver.cached(A) is first
    assert web.asked == [A]
    await upkeep.refresh_due()
    context = resolver.cached(A)
    assert context is not None and context.expand("x") == "https://a.example/2"
    assert resolver.cached(A) is context
    await upkeep.refresh_due()
    assert web.asked == [A, A]


async def test_what_is_made_of_several_documents_is_refreshed_with_each() -> None:
    web = Web({A: {"@context": [B, {"y": "https://a.example/y"}]}, B: terms(x="https://b.example/1")})
    resolver = web.resolver()
    upkeep = Upkeep(resolver, resolver.library.shelf)
    await resolver.resolve([A, {"z": "https://z.example/"}])
    web.documents[B] = terms(x="https://b.example/2")
    web.now += REFRESH * SECOND
    resolver.cached([A, {"z": "https://z.example/"}])
    await upkeep.refresh_due()
    assert (await resolver.resolve([A, {"z": "https://z.example/"}])).expand("x") == "https://b.example/2"


@pytest.mark.parametrize("document", [OSError("down"), b"<html>", {"@context": {"x": 5}}], ids=["down", "html", "bad"])
async def test_a_stale_context_is_served_on_when_it_cannot_be_refreshed(document: Any) -> None:
    web = Web({A: terms(x="https://a.example/1")})
    resolver = web.resolver()
    upkeep = Upkeep(resolver, resolver.library.shelf)
    first = await resolver.resolve(A)
    web.documents[A] = document
    web.now += REFRESH * SECOND
    for _ in range(3):
        assert resolver.cached(A) is first
        await upkeep.refresh_due()
    assert web.asked == [A, A]
    web.now += RETRY
    assert await resolver.resolve(A) is first
    await upkeep.refresh_due()
    assert web.asked == [A, A, A]


async def test_the_server_says_how_long_a_context_stays_fresh() -> None:
    web = Web({A: terms(x="https://a.example/1")})
    web.headers = {"cache-control": "public, max-age=60"}
    resolver = web.resolver()
    upkeep = Upkeep(resolver, resolver.library.shelf)
    await resolver.resolve(A)
    web.now += 59 * SECOND
    resolver.cached(A)
    await upkeep.refresh_due()
    assert web.asked == [A]
    web.now += 1 * SECOND
    resolver.cached(A)
    await upkeep.refresh_due()
    assert web.asked == [A, A]


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


async def test_a_large_context_compiles_too() -> None:
    web = Web({A: terms(**{f"term{n}": f"https://a.example/{n}" for n in range(1000)})})
    assert (await web.resolver().resolve(A)).expand("term999") == "https://a.example/999"
