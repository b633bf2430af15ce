"""Stored contexts: found without network, kept on the shelf, shared between processes, counted, bounded."""

from __future__ import annotations

from typing import Any

import pytest

from broker.clock import SECOND
from broker.errors import BadRequestData, LdContextNotAvailable, Overloaded
from broker.jsonld.core import CORE_URL
from broker.jsonld.memory_shelf import MemoryShelf
from broker.jsonld.remote import LONGEST, REFRESH, SHORTEST, fresh_seconds
from broker.jsonld.resolver import ContextResolver
from broker.jsonld.stored import StoredContext, cached_id, implicit_id, own_id
from broker.jsonld.upkeep import Upkeep
from tests.unit.jsonld.contexts import Web

A = "https://contexts.example/a.jsonld"
ONE = {"@context": {"x": "https://a.example/1"}}
TWO = {"@context": {"x": "https://a.example/2"}}


class Process:
    """One broker process's contexts on a shelf that it may share."""

    def __init__(self, web: Web, shelf: MemoryShelf, **limits: Any) -> None:
        self.contexts: ContextResolver = web.resolver(**limits)
        self.library = self.contexts.library
        self.upkeep = Upkeep(self.contexts, shelf)

    async def x(self, value: Any) -> str:
        """What the term x stands for."""
        return (await self.contexts.resolve(value)).expand("x")

    async def hits(self, name: str) -> int:
        return (await self.library.use_of(name)).hits


class Refusing(MemoryShelf):
    """A shelf that takes nothing for a while."""

    refusing = True

    async def put(self, context: StoredContext) -> None:
        if self.refusing:
            raise Overloaded("Not now.")
        await super().put(context)


async def test_what_was_fetched_once_is_served_after_a_restart_without_network() -> None:
    shelf = MemoryShelf()
    await Process(Web({A: ONE}), shelf).x(A)
    offline = Web()
    offline.now += 10 * REFRESH * SECOND
    again = Process(offline, shelf)
    assert await again.x(A) == "https://a.example/1"
    await again.upkeep.refresh_due()
    assert offline.asked == [A]
    assert await again.x(A) == "https://a.example/1"


async def test_a_hosted_context_is_had_by_its_url_at_any_host_without_network() -> None:
    web = Web()
    process = Process(web, MemoryShelf())
    stored = await process.library.host({"x": "https://h.example/x"}, "")
    for base in ("http://localhost:1026", "https://city.example/broker", ""):
        assert await process.x(stored.url_at(base)) == "https://h.example/x"
    assert web.asked == []


async def test_a_url_of_our_form_that_is_not_ours_is_fetched() -> None:
    elsewhere = f"https://other.example/ngsi-ld/v1/jsonldContexts/{cached_id('x')}"
    web = Web({elsewhere: ONE})
    assert await Process(web, MemoryShelf()).x(elsewhere) == "https://a.example/1"


async def test_what_one_process_hosts_or_fetches_the_others_serve() -> None:
    shelf, web = MemoryShelf(), Web({A: ONE})
    here, there = Process(web, shelf), Process(web, shelf)
    stored = await here.library.host({"x": "https://h.example/x"}, "")
    assert await there.x(stored.url_at("")) == "https://h.example/x"
    await here.x(A)
    assert await there.x(A) == "https://a.example/1"
    assert web.asked == [A]


async def test_what_one_process_removes_or_reloads_the_others_soon_know() -> None:
    shelf, web = MemoryShelf(), Web({A: ONE})
    here, there = Process(web, shelf), Process(web, shelf)
    stored = await here.library.host({"x": "https://h.example/x"}, "")
    await there.x(stored.url_at(""))
    await there.x(A)
    web.documents[A] = TWO
    found = await here.library.find(A)
    assert found is not None
    await here.contexts.reload(found)
    await here.library.remove(stored, "")
    await there.upkeep.in_step()
    assert await there.x(A) == "https://a.example/2"
    with pytest.raises(LdContextNotAvailable):
        await there.x(stored.url_at("http://here"))


async def test_what_is_removed_while_it_is_refreshed_stays_removed() -> None:
    web = Web({A: ONE})
    process = Process(web, MemoryShelf())
    await process.x(A)
    stored = await process.library.find(A)
    assert stored is not None
    web.now += REFRESH * SECOND
    web.documents[A] = TWO
    held = process.library.held[stored.id]
    await process.library.remove(stored, "")
    await process.contexts.refresh(held)
    assert await process.library.find(A) is None
    assert await process.x(A) == "https://a.example/2"


async def test_what_is_unchanged_after_its_time_is_fresh_again_whatever_others_write() -> None:
    web = Web({A: ONE})
    process = Process(web, MemoryShelf())
    await process.x(A)
    web.now += REFRESH * SECOND
    await process.x(A)
    await process.upkeep.refresh_due()
    await process.library.host({}, "")
    await process.upkeep.in_step()
    await process.x(A)
    await process.upkeep.refresh_due()
    assert web.asked == [A, A]
    stored = await process.library.find(A)
    assert stored is not None and stored.expires_at == web.now + REFRESH * SECOND


async def test_a_reload_that_fails_leaves_the_old_context_in_use() -> None:
    web = Web({A: ONE})
    process = Process(web, MemoryShelf())
    await process.x(A)
    stored = await process.library.find(A)
    assert stored is not None
    documents: list[Any] = [OSError("down"), b"<html>", {"@context": {"x": {"@context": {}}}}]
    for document in documents:
        web.documents[A] = document
        with pytest.raises(LdContextNotAvailable):
            await process.contexts.reload(stored)
        assert await process.x(A) == "https://a.example/1"
    web.documents[A] = TWO
    await process.contexts.reload(stored)
    assert await process.x(A) == "https://a.example/2"


async def test_what_cannot_be_kept_just_now_is_used_and_kept_later() -> None:
    shelf = Refusing()
    process = Process(Web({A: ONE}), shelf)
    assert await process.x(A) == "https://a.example/1"
    assert [one.url async for one in process.library.listed()] == [CORE_URL, A]
    shelf.refusing = False
    await process.upkeep.in_step()
    assert await shelf.get(cached_id(A)) is not None
    assert [one.url async for one in process.library.listed()] == [CORE_URL, A]


async def test_uses_are_counted_and_written_in_one_go() -> None:
    shelf = MemoryShelf()
    process = Process(Web({A: ONE}), shelf)
    for _ in range(3):
        await process.x([A, {"y": "https://y.example/"}])
    await process.x(A)
    assert await process.hits(cached_id(A)) == 4
    assert (await shelf.used(cached_id(A))).hits == 0
    await process.upkeep.close()
    assert (await shelf.used(cached_id(A))).hits == 4
    assert await process.hits(cached_id(A)) == 4
    again = Process(Web(), shelf)
    await again.x(A)
    assert await again.hits(cached_id(A)) == 5


async def test_equal_inline_contexts_are_one_and_each_tenant_has_its_own_part_in_it() -> None:
    process = Process(Web(), MemoryShelf())
    first = await process.library.share([{"a": "urn:x:a", "b": "urn:x:b"}, CORE_URL], "")
    same = await process.library.share([{"b": "urn:x:b", "a": "urn:x:a"}, CORE_URL], "north")
    assert first.id == same.id == implicit_id(first.value)
    assert same.is_for("") and same.is_for("north") and not same.is_for("south")
    assert not await process.library.remove(same, "")
    left = await process.library.find(first.id)
    assert left is not None and not left.is_for("") and left.is_for("north")
    assert await process.library.remove(left, "north")
    assert await process.library.find(first.id) is None


async def test_implicit_contexts_are_bounded_and_the_least_used_go() -> None:
    web = Web()
    process = Process(web, MemoryShelf(), contexts_stored=10)
    made = []
    for number in range(10):
        web.now += SECOND
        made.append(await process.library.share({"x": f"https://x.example/{number}"}, ""))
    web.now += SECOND
    await process.library.share(made[0].value, "")
    await process.library.share({"x": "https://x.example/more"}, "")
    kept = {one.id async for one in process.library.listed()}
    assert made[0].id in kept and made[1].id not in kept
    assert len(kept) <= 11


async def test_cached_contexts_are_bounded() -> None:
    web = Web({f"{A}?{n}": ONE for n in range(30)})
    process = Process(web, MemoryShelf(), contexts_stored=5)
    for number in range(30):
        web.now += SECOND
        await process.x(f"{A}?{number}")
    assert len([one async for one in process.library.listed()]) <= 6


async def test_no_more_are_hosted_than_the_limit_allows() -> None:
    process = Process(Web(), MemoryShelf(), contexts_stored=2)
    stored = [await process.library.host({"n": f"urn:x:{n}"}, "") for n in range(2)]
    with pytest.raises(BadRequestData, match=r"limits\.contexts_stored"):
        await process.library.host({}, "")
    await process.library.remove(stored[0], "")
    await process.library.host({}, "")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, REFRESH),
        ({"cache-control": "max-age=120"}, 120),
        ({"cache-control": "max-age=120, s-maxage=240"}, 240),
        ({"cache-control": "max-age=120", "age": "100"}, 20),
        ({"cache-control": "max-age=120", "age": "500"}, SHORTEST),
        ({"cache-control": "no-store"}, SHORTEST),
        ({"cache-control": "max-age=999999999999999"}, LONGEST),
        ({"cache-control": "max-age=soon"}, REFRESH),
        ({"expires": "Thu, 01 Jan 2026 00:05:00 GMT", "date": "Thu, 01 Jan 2026 00:00:00 GMT"}, 300),
        ({"expires": "0", "date": "Thu, 01 Jan 2026 00:00:00 GMT"}, REFRESH),
        ({"expires": "Thu, 01 Jan 2026 00:05:00 GMT"}, REFRESH),
    ],
)
def test_what_a_server_says_of_expiry_is_complied_with_within_bounds(headers: dict[str, str], seconds: int) -> None:
    assert fresh_seconds(headers) == seconds


def test_ids_are_urns_and_found_in_our_urls_alone() -> None:
    name = cached_id(A)
    assert name.startswith("urn:uuid:") and name == cached_id(A) != cached_id(A + "x")
    assert own_id(f"http://h:1/ngsi-ld/v1/jsonldContexts/{name}") == name
    assert own_id(f"http://h:1/ngsi-ld/v1/jsonldContexts/{name.replace(':', '%3A')}") == name
    for url in (A, f"http://h/ngsi-ld/v1/jsonldContexts/{name}?x", f"http://h/entities/{name}", name):
        assert own_id(url) is None
