"""The live stream: every committed change, once and in order, whoever makes it and however often the reader breaks off."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import broker.pipeline.feed
from broker.config import Http, StoreSettings, Streams
from tests.support.api import FOREIGN, Api, city_contexts, link, running_broker
from tests.support.broker import BrokerProcess
from tests.support.mongo import mongo_uri, mongo_url
from tests.support.sse import Event, following

__all__ = ["mongo_uri", "mongo_url"]


@pytest.fixture(params=["sqlite", "mongo"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/city.db"
    url: str = request.getfixturevalue("mongo_url")
    return url


async def ready(api: Api) -> None:
    """Once it is in step with the store: until then it takes no changes."""
    async with asyncio.timeout(30):
        while (await api.ask("GET", "/health/ready")).status != 200:
            await asyncio.sleep(0.05)


@pytest.fixture
async def api(store_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with running_broker(tmp_path, store=StoreSettings(url=store_url)) as api:
        await ready(api)
        yield api


def counter(value: int, entity: str = "urn:x:Counter:1", **members: Any) -> dict[str, Any]:
    return {"id": entity, "type": "Counter", "count": {"type": "Property", "value": value}, **members}


async def count(api: Api, *values: int, entity: str = "urn:x:Counter:1", **members: Any) -> None:
    for value in values:
        answer = await api.ask("POST", "/entityOperations/upsert?options=update", [counter(value, entity, **members)])
        assert answer.status in (201, 204), answer


def counted(events: list[Event]) -> list[Any]:
    return [event.entity["count"] for event in events]


SIMPLE = "?type=Counter&format=simplified"


async def test_a_stream_tells_what_happened_to_which_entity_and_what_changed(api: Api) -> None:
    async with following(api.url, SIMPLE) as stream:
        assert (await stream.event()).kind == "ready"
        await count(api, 1)
        await count(api, 2, colour={"type": "Property", "value": "red"})
        await api.ask("DELETE", "/entities/urn:x:Counter:1/attrs/colour", status=204)
        await api.ask("POST", "/entities", {"id": "urn:x:Other:1", "type": "Other"}, status=201)
        await api.ask("DELETE", "/entities/urn:x:Counter:1", status=204)
        created, updated, shortened, deleted = await stream.events(4)
    assert created.kind == "entityCreated" and created.data["changed"] == {"count": "attributeCreated"}
    assert created.entity == {"id": "urn:x:Counter:1", "type": "Counter", "count": 1}
    assert updated.kind == "entityUpdated"
    assert updated.data["changed"] == {"count": "attributeUpdated", "colour": "attributeCreated"}
    assert updated.entity == {"id": "urn:x:Counter:1", "type": "Counter", "count": 2, "colour": "red"}
    assert shortened.data["changed"] == {"colour": "attributeDeleted"}
    assert deleted.kind == "entityDeleted"
    assert deleted.entity == {"id": "urn:x:Counter:1", "type": "Counter", "deletedAt": deleted.data["at"]}
    ids = [event.id for event in (created, updated, shortened, deleted)]
    assert len(set(ids)) == 4


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?type=Counter", [1, 5, 6, 7]),
        ("?id=urn:x:Counter:2", [6]),
        ("?idPattern=Counter:[23]$", [6, 7]),
        ("?q=count%3E5", [6, 7]),
        ("?scopeQ=/a/%23", [7]),
        ("?georel=near;maxDistance==1000&geometry=Point&coordinates=[18,64]", [5]),
        ("?attrs=count&type=Counter", [1, 5, 6, 7]),
        ("?attrs=colour", [8]),
    ],
)
async def test_a_stream_tells_only_what_is_asked_for(tmp_path: Path, query: str, expected: list[int]) -> None:
    place = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [18, 64]}}
    async with running_broker(tmp_path) as api, following(api.url, query) as stream:
        await stream.event()
        await count(api, 1)
        await count(api, 5, entity="urn:x:Counter:5", location=place)
        await count(api, 6, entity="urn:x:Counter:2")
        await count(api, 7, entity="urn:x:Counter:3", scope="/a/b")
        other = {"id": "urn:x:Other:8", "type": "Other", "count8": {"type": "Property", "value": 8}}
        await api.ask("POST", "/entities", {**other, "colour": {"type": "Property", "value": "red"}}, status=201)
        patch = {"count8": {"type": "Property", "value": 9}}
        await api.ask("PATCH", "/entities/urn:x:Other:8/attrs", patch, status=204)
        end = {"count": {"type": "Property", "value": 99}, "colour": {"type": "Property", "value": "end"}}
        for name in ("urn:x:Counter:1", "urn:x:Counter:2", "urn:x:Counter:5", "urn:x:Counter:3"):
            await api.ask("POST", f"/entities/{name}/attrs", end, status=204)
        found = []
        while (event := await stream.event()).entity["id"] and event.kind == "entityCreated":
            values = event.entity.get("count", {"value": 8})
            found.append(values["value"])
        assert found == expected


async def test_names_are_those_of_the_context_and_the_form_is_the_one_asked_for(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as api, city_contexts() as contexts:
        url = contexts.make_url("/city.jsonld")
        async with following(api.url, "?type=Room&pick=id,warmth&format=concise", Link=link(url)) as stream:
            await stream.event()
            body = {"id": "urn:x:Room:1", "type": FOREIGN["Room"], FOREIGN["warmth"]: {"type": "Property", "value": 20}}
            await api.ask("POST", "/entities", {**body, "other": {"type": "Property", "value": 1}}, status=201)
            event = await stream.event()
    assert event.entity == {"id": "urn:x:Room:1", "warmth": 20}
    assert event.data["changed"] == {"warmth": "attributeCreated"}


async def test_a_stream_goes_on_where_it_broke_off(api: Api) -> None:
    async with following(api.url, SIMPLE) as stream:
        start = (await stream.event()).id
        await count(api, 1, 2, 3)
        events = await stream.events(3)
    await count(api, 4, 5)
    for last, expected in ((start, [1, 2, 3, 4, 5]), (events[1].id, [3, 4, 5]), (events[2].id, [4, 5])):
        async with following(api.url, SIMPLE, Last_Event_ID=last) as stream:
            assert (await stream.event()).data == {"resumed": True}
            assert counted(await stream.events(len(expected))) == expected
    async with following(api.url, f"{SIMPLE}&lastEventId={quote(events[2].id)}") as stream:
        await stream.event()
        assert counted(await stream.events(2)) == [4, 5]
        await count(api, 6, 7)
        assert counted(await stream.events(2)) == [6, 7], "and then it is live"


async def test_a_stream_that_goes_on_in_the_middle_of_changes_has_neither_gap_nor_double(api: Api) -> None:
    async def change() -> None:
        for value in range(150):
            await count(api, value)

    async with following(api.url, SIMPLE) as stream:
        last = (await stream.event()).id
        changing = asyncio.create_task(change())
        found = counted(await stream.events(5))
        last = stream.last_id
    while len(found) < 150:
        async with following(api.url, SIMPLE, Last_Event_ID=last) as stream:
            await stream.event()
            found += counted(await stream.events(min(29, 150 - len(found))))
            last = stream.last_id
    await changing
    assert found == list(range(150))


async def test_a_slow_reader_is_told_all_of_it_and_costs_no_memory(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker.pipeline.feed, "RING_EVENTS", 5)
    behind = list[Any]()
    read = broker.pipeline.feed.Listener._from_store

    async def noted(listener: Any, seconds: float) -> Any:
        behind.append(listener)
        return await read(listener, seconds)

    monkeypatch.setattr(broker.pipeline.feed.Listener, "_from_store", noted)
    large: Any = {"text": {"type": "Property", "value": "x" * 200_000}}
    async with (
        running_broker(tmp_path, store=StoreSettings(url=store_url)) as api,
        following(api.url, SIMPLE) as slow,
        following(api.url, SIMPLE) as quick,
    ):
        await ready(api)
        assert (await slow.event()).kind == (await quick.event()).kind == "ready"
        for value in range(120):  # 24 MB: more than what lies between the two
            await count(api, value, **large)
            assert (await quick.event()).entity["count"] == value
        feed = api.running.parts.tenants.default.feed
        assert feed.head - feed.first <= 5
        assert counted(await slow.events(120)) == list(range(120))
        assert len(set(behind)) == 1, "the slow one came to be behind, the quick one did not"


@pytest.mark.parametrize("last", ["x", "0.0", "12.64d0b8f3c1a00", "å.1", "." * 3000])
async def test_what_cannot_be_gone_on_from_is_said_and_the_stream_is_live(api: Api, last: str) -> None:
    async with following(api.url, f"{SIMPLE}&lastEventId={quote(last)}") as stream:
        event = await stream.event()
        assert event.kind == "gone" and "Read the entities anew" in event.data["detail"]
        await count(api, 1)
        assert counted(await stream.events(1)) == [1]


async def test_what_is_too_old_is_gone(store_url: str, tmp_path: Path) -> None:
    streams = Streams(resume_hours=1 / 3600)
    async with running_broker(tmp_path, store=StoreSettings(url=store_url), streams=streams) as api:
        await ready(api)
        async with following(api.url, SIMPLE) as stream:
            last = (await stream.event()).id
        await count(api, 1)
        await asyncio.sleep(1.2)
        async with following(api.url, SIMPLE, Last_Event_ID=last) as stream:
            assert (await stream.event()).kind == "gone"


async def test_nothing_is_recorded_where_nobody_follows(api: Api) -> None:
    store = api.running.parts.tenants.default.store
    await count(api, 1, 2)
    assert await store.forget_feed(1 << 62, 100) == 0
    async with following(api.url) as stream:
        await stream.event()
        await count(api, 3)
        await stream.event()
    await count(api, 4)
    assert await store.forget_feed(1 << 62, 100) == 2


async def test_a_quiet_stream_beats_and_moves_its_id_on(tmp_path: Path) -> None:
    async with running_broker(tmp_path, streams=Streams(heartbeat_seconds=0.1)) as api:
        async with following(api.url, "?type=Counter") as stream:
            first = (await stream.event()).id
            for number in range(5):
                body = {"id": f"urn:x:Other:{number}", "type": "Other"}
                await api.ask("POST", "/entities", body, status=201)
            with pytest.raises(TimeoutError):
                await stream.event(1.0)
            assert stream.heartbeats > 3
            assert stream.last_id != first, "what was not asked for is behind it, too"
        async with following(api.url, "?type=Other", Last_Event_ID=stream.last_id) as again:
            assert (await again.event()).kind == "ready"
            with pytest.raises(TimeoutError):
                await again.event(0.5)


async def test_there_are_no_more_streams_than_the_limit(tmp_path: Path) -> None:
    async with running_broker(tmp_path, streams=Streams(connections=1)) as api:
        async with following(api.url) as stream:
            await stream.event()
            assert "streams.connections" in await api.problem(503, "Overloaded", "GET", "/api/v1/stream")
        async with asyncio.timeout(20):
            while True:  # the place is free again within a second or two
                try:
                    async with following(api.url) as stream:
                        await stream.event()
                        return
                except AssertionError:
                    await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("query", "said"), [("?type=", "type"), ("?q=%3E", "q"), ("?format=geo", "format"), ("?lastEvent=1", "lastEvent")]
)
async def test_a_bad_filter_is_said_before_the_stream_begins(tmp_path: Path, query: str, said: str) -> None:
    async with running_broker(tmp_path) as api:
        answer = await api.ask("GET", f"/api/v1/stream{query}", status=400)
        assert said in answer.json()["detail"]


async def test_a_stream_asks_for_a_token_or_a_ticket_which_lets_in_once(store_url: str, tmp_path: Path) -> None:
    http = Http(port=0, token="secret")
    token = {"Authorization": "Bearer secret"}
    async with running_broker(tmp_path, http=http, store=StoreSettings(url=store_url)) as api:
        await ready(api)
        await api.ask("GET", "/api/v1/stream", status=401)
        await api.ask("POST", "/api/v1/stream/tickets", status=401)
        async with following(api.url, "", **token) as stream:
            await stream.event()
        ticket = (await api.ask("POST", "/api/v1/stream/tickets", status=201, **token)).json()["ticket"]
        async with following(api.url, f"?ticket={ticket}") as stream:
            assert (await stream.event()).kind == "ready"
        answer = await api.ask("GET", f"/api/v1/stream?ticket={ticket}", status=401)
        assert "used already" in answer.json()["detail"]
        forged = ticket[:-2] + ("AA" if ticket[-2:] != "AA" else "BB")
        await api.ask("GET", f"/api/v1/stream?ticket={forged}", status=401)


async def test_a_ticket_stands_for_tenant_and_context(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as api, city_contexts() as contexts:
        named = {"NGSILD_Tenant": "village", "Link": link(contexts.make_url("/city.jsonld"))}
        body = {"id": "urn:x:Room:0", "type": FOREIGN["Room"]}
        await api.ask("POST", "/entities", body, status=201, NGSILD_Tenant="village")
        ticket = (await api.ask("POST", "/api/v1/stream/tickets", status=201, **named)).json()["ticket"]
        async with following(api.url, f"?type=Room&ticket={ticket}") as stream:
            await stream.event()
            await api.ask("POST", "/entities", {"id": "urn:x:Room:1", "type": FOREIGN["Room"]}, status=201)
            await api.ask(
                "POST",
                "/entities",
                {"id": "urn:x:Room:2", "type": FOREIGN["Room"]},
                status=201,
                NGSILD_Tenant="village",
            )
            assert (await stream.event()).entity == {"id": "urn:x:Room:2", "type": "Room"}


async def test_web_pages_may_read_it_only_where_the_settings_say_so(tmp_path: Path) -> None:
    origin = "https://map.example.org"
    async with running_broker(tmp_path, streams=Streams(origins=(origin,))) as api:
        for given, expected in ((origin, origin), ("https://thief.example", None)):
            for method, path in (("HEAD", "/api/v1/stream"), ("OPTIONS", "/api/v1/stream/tickets")):
                answer = await api.ask(method, path, Origin=given)
                assert answer.headers.get("Access-Control-Allow-Origin") == expected
    (tmp_path / "other").mkdir()
    async with running_broker(tmp_path / "other") as api:
        answer = await api.ask("HEAD", "/api/v1/stream", status=200, Origin=origin)
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_an_orderly_stop_ends_streams_and_they_go_on_after_a_kill(store_url: str, tmp_path: Path) -> None:
    process = BrokerProcess(store_url, tmp_path)
    await process.start()
    try:
        async with following(process.url, SIMPLE) as stream:
            await stream.event()
            await process.ask("POST", "/ngsi-ld/v1/entities", counter(0))
            assert counted(await stream.events(1)) == [0]
            began = time.monotonic()
            assert await process.stop() == 0
            assert time.monotonic() - began < 10.0
            with pytest.raises(EOFError):
                await stream.event()
            last = stream.last_id
        await process.start()
        told, acknowledged = list[int](), list[int]()

        async def change() -> None:
            for value in range(1, 400):
                document = [counter(value)]
                try:
                    await process.ask("POST", "/ngsi-ld/v1/entityOperations/upsert", document)
                except OSError:
                    return
                acknowledged.append(value)

        async with following(process.url, SIMPLE, Last_Event_ID=last) as stream:
            assert (await stream.event()).kind == "ready"
            changing = asyncio.create_task(change())
            told += counted(await stream.events(20))
            await process.kill()
            last = stream.last_id
        await changing
        await process.start()
        async with following(process.url, SIMPLE, Last_Event_ID=last) as stream:
            assert (await stream.event()).kind == "ready"
            await process.ask("POST", "/ngsi-ld/v1/entityOperations/upsert", [counter(1000)])
            while told[-1] != 1000:
                told += counted(await stream.events(1))
    finally:
        await process.kill()
    # The one that was under way at the kill may have been committed without anybody hearing of it.
    assert told[:-1] in (acknowledged, [*acknowledged, acknowledged[-1] + 1])


async def test_changes_of_another_process_come_too_and_it_can_be_gone_on_there(mongo_url: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        brokers = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            broker_ = BrokerProcess(mongo_url, tmp_path / name, {"KNUTPUNKT_HTTP_TOKEN": "secret"})
            brokers.append(broker_)
            await _start_with_token(broker_)
            stack.push_async_callback(broker_.kill)
        one, two = brokers
        token = {"Authorization": "Bearer secret"}

        async def change(where: BrokerProcess, entity: str, values: range) -> None:
            for value in values:
                document = [counter(value, entity)]
                await where.ask("POST", "/ngsi-ld/v1/entityOperations/upsert", document, headers=token)

        async with following(one.url, SIMPLE, **token) as stream:
            await stream.event()
            await asyncio.gather(change(one, "urn:x:1", range(40)), change(two, "urn:x:2", range(40)))
            events = await stream.events(80)
        for entity in ("urn:x:1", "urn:x:2"):
            assert counted([one_ for one_ in events if one_.entity["id"] == entity]) == list(range(40))
        async with following(two.url, SIMPLE, Last_Event_ID=events[29].id, **token) as stream:
            await stream.event()
            again = await stream.events(50)
        assert [event.id for event in again] == [event.id for event in events[30:]]
        _, sold = await one.ask("POST", "/api/v1/stream/tickets", headers=token)
        async with following(two.url, f"?ticket={sold['ticket']}") as stream:
            await stream.event()
        with pytest.raises(AssertionError, match="used already"):
            async with following(one.url, f"?ticket={sold['ticket']}"):
                pass


async def _start_with_token(process: BrokerProcess) -> None:
    await process.start()


def page_of_the_documentation(hub: str) -> str:
    """The script of docs/stream.md, with what it must be told, and `show` telling the test."""
    text = (Path(__file__).parents[2] / "docs" / "stream.md").read_text("utf-8")
    script = text.partition("```js\n")[2].partition("```")[0]
    for before, after in (("http://127.0.0.1:1026", hub), ('"…"', '"secret"'), ('"Room"', '"Counter"')):
        assert before in script
        script = script.replace(before, after)
    show = 'function show(kind, data) { fetch("/told", {method: "POST", body: JSON.stringify({kind, data})}); }'
    return f'<!doctype html><meta charset="utf-8"><script>{show}\n{script}</script>'


async def test_a_browser_follows_and_comes_back_after_a_restart(tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs chromium (Debian: apt-get install chromium)")
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    process = BrokerProcess(f"sqlite:///{tmp_path}/city.db", tmp_path, {"KNUTPUNKT_HTTP_TOKEN": "secret"})

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=page_of_the_documentation(process.url), content_type="text/html")

    async def hear(request: web.Request) -> web.Response:
        told.put_nowait(await request.json())
        return web.Response(status=204)

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_post("/told", hear)
    headers = {"Authorization": "Bearer secret"}
    async with TestServer(app) as server:
        origin = f"http://127.0.0.1:{server.port}"
        config = tmp_path / "knutpunkt.toml"
        config.write_text(f'[streams]\norigins = ["{origin}"]\n')
        process.settings["KNUTPUNKT_CONFIG"] = str(config)
        await process.start()
        browser = await asyncio.create_subprocess_exec(
            chromium,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0"),
            *(f"--user-data-dir={tmp_path}/profile", f"{origin}/"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(60):
                assert (await told.get())["kind"] == "ready"
                await process.ask("POST", "/ngsi-ld/v1/entities", counter(1), headers=headers)
                heard = await told.get()
                assert (heard["kind"], heard["data"]["entity"]["count"]) == ("entityCreated", 1)
                await process.kill()
                await process.start()
                await process.ask("POST", "/ngsi-ld/v1/entityOperations/upsert", [counter(2)], headers=headers)
                found = [await told.get(), await told.get()]
        finally:
            browser.terminate()
            await browser.wait()
            await process.kill()
    assert [one["kind"] for one in found] == ["ready", "entityUpdated"]
    assert found[1]["data"]["entity"]["count"] == 2


async def test_the_command_of_the_documentation_runs(tmp_path: Path) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("needs curl")
    text = (Path(__file__).parents[2] / "docs" / "stream.md").read_text("utf-8")
    command = text.partition("```console\n")[2].partition("\n```")[0]
    async with running_broker(tmp_path) as api:
        words = shlex.split(command.replace("http://127.0.0.1:1026", api.url))
        assert words[0] == "curl"
        reading = await asyncio.create_subprocess_exec(curl, "-s", *words[1:], stdout=asyncio.subprocess.PIPE)
        try:
            assert reading.stdout is not None
            async with asyncio.timeout(20):
                head = await reading.stdout.readuntil(b'data: {"resumed":false}\n\n')
                assert head.startswith(b"retry: 2000\n\nevent: ready\nid: ")
                room = {
                    "id": "urn:ngsi-ld:Room:214",
                    "type": "Room",
                    "temperature": {"type": "Property", "value": 21.5},
                }
                await api.ask("POST", "/entities", room, status=201)
                assert b'"temperature":21.5' in await reading.stdout.readuntil(b"}}\n\n")
        finally:
            reading.kill()
            await reading.wait()
