"""An operator looks at deliveries and steers them: on both stores, with real receivers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from broker.cli.main import main
from broker.config import Delivery, StoreSettings
from broker.subscriptions import figures as measured
from tests.support.api import Api, running_broker
from tests.support.broker import BrokerProcess
from tests.support.mongo import mongo_uri, mongo_url
from tests.support.ports import free_port
from tests.support.receiver import Receiver, answer, receiving

__all__ = ["mongo_uri", "mongo_url"]

SUB = "urn:x:Subscription:1"
FIGURES = f"/api/v1/subscriptions/{SUB}/delivery"
FAST = Delivery(retry_first_seconds=0.05, retry_longest_seconds=0.2, timeout_seconds=1.0, lease_seconds=2.0)


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
    async with running_broker(tmp_path, store=StoreSettings(url=store_url), delivery=FAST) as api:
        await ready(api)
        yield api


@pytest.fixture
async def app() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def subscribe(api: Api, uri: str, **members: Any) -> None:
    body = {
        "id": SUB,
        "type": "Subscription",
        "subscriptionName": "tour",
        "entities": [{"type": "Counter"}],
        "notification": {"format": "simplified", "endpoint": {"uri": uri}},
        **members,
    }
    await api.ask("POST", "/subscriptions", body, status=201)


async def count(api: Api, *values: int, entity: str = "urn:x:Counter:1") -> None:
    for value in values:
        document = [{"id": entity, "type": "Counter", "count": {"type": "Property", "value": value}}]
        answer = await api.ask("POST", "/entityOperations/upsert", document)
        assert answer.status in (201, 204)


async def figures(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = (await api.ask("GET", FIGURES, status=200)).json()
    return found


async def until(api: Api, good: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while not good(found := await figures(api)):
            await asyncio.sleep(0.05)
    return found


def counted(receiver: Receiver) -> list[Any]:
    return [one.data[0].get("count") for one in receiver.accepted]


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


async def test_figures_say_what_is_owed_why_it_fails_and_when_it_is_tried_again(api: Api, app: Receiver) -> None:
    app.otherwise = answer(503)
    await subscribe(api, app.url())
    assert (await figures(api))["state"] == "idle"
    await count(api, 1, 2, 3)
    found = await until(api, lambda found: found["attempts"] > 1 and found["state"] == "retrying")
    assert found["backlog"] == 3
    assert found["lastError"].endswith("answered 503.")
    assert found["nextAttempt"] and found["lastFailure"] and not found["lastSuccess"]
    assert found["lagSeconds"] > 0 and found["oldestOwedAt"]
    assert found["deliveredBy"] == "this process"
    listed = (await api.ask("GET", "/api/v1/subscriptions", status=200)).json()
    assert [(one["id"], one["subscriptionName"], one["delivery"]["backlog"]) for one in listed] == [(SUB, "tour", 3)]
    async with asyncio.timeout(20):  # between two attempts it is none of it for a moment
        while not (await api.ask("GET", "/api/v1/subscriptions?state=retrying", status=200)).json():
            await asyncio.sleep(0.02)
    assert (await api.ask("GET", "/api/v1/subscriptions?state=idle", status=200)).json() == []
    app.otherwise = answer(204)
    await app.wait_for(3)
    found = await until(api, lambda found: found["backlog"] == 0)
    assert (found["state"], found["attempts"], found["lastError"], found["lagSeconds"]) == ("idle", 0, None, 0)
    assert counted(app) == [1, 2, 3]


async def test_a_host_that_does_not_answer_at_all_is_said_to_rest(api: Api) -> None:
    await subscribe(api, f"http://127.0.0.1:{free_port()}/gone")
    await count(api, 1)
    found = await until(api, lambda found: found["state"] == "hostResting")
    assert found["nextAttempt"] and found["backlog"] == 1 and "has not answered" in found["lastError"]


async def test_what_is_paused_gathers_and_comes_in_order_when_it_is_resumed(api: Api, app: Receiver) -> None:
    await subscribe(api, app.url())
    await count(api, 1)
    await app.wait_for(1)
    found = (
        await api.ask("POST", FIGURES.replace("delivery", "pause"), {"by": "Åsa", "reason": "moves"}, status=200)
    ).json()
    assert (found["state"], found["paused"]["by"], found["paused"]["reason"]) == ("paused", "Åsa", "moves")
    await asyncio.sleep(1.0)  # a pause is obeyed within a second
    await count(api, 2, 3, 4)
    await asyncio.sleep(0.5)
    assert counted(app) == [1]
    assert (await until(api, lambda found: found["backlog"] == 3))["state"] == "paused"
    shown = (await api.ask("GET", f"/subscriptions/{SUB}", status=200)).json()
    assert (shown["status"], shown.get("isActive", True)) == ("active", True), (
        "the subscriber's own pause is another matter"
    )
    await api.ask("POST", FIGURES.replace("delivery", "resume"), status=200)
    await app.wait_for(4)
    assert counted(app) == [1, 2, 3, 4]


async def test_what_is_discarded_can_be_brought_back_from_the_dead_letters(api: Api, app: Receiver) -> None:
    await subscribe(api, app.url())
    await api.ask("POST", FIGURES.replace("delivery", "pause"), {"by": "Åsa"}, status=200)
    await count(api, 1, 2, 3)
    middle = now()
    await count(api, 4)
    done = (await api.ask("POST", FIGURES.replace("delivery", f"discard?before={middle}"), status=200)).json()
    assert done == {"discarded": 3, "deadLetters": True}
    found = await figures(api)
    assert (found["backlog"], found["deadLetters"]) == (1, 3)
    first = await api.ask("GET", FIGURES.replace("delivery", "dead-letters?limit=2"), status=200)
    assert [one["reason"] for one in first.json()] == ["An operator discarded it."] * 2
    assert first.json()[0]["entity"] == "urn:x:Counter:1"
    rest = await api.ask("GET", first.headers["Link"].partition(">")[0][1:], status=200)
    assert len(rest.json()) == 1 and "Link" not in rest.headers
    started = (await api.ask("POST", FIGURES.replace("delivery", "replay?deadLetters=true"), status=202)).json()
    assert (started["what"], started["state"]) == ("deadLetters", "running")
    found = await until(api, lambda found: found["replay"]["state"] == "done")
    assert (found["backlog"], found["deadLetters"], found["replay"]["rows"]) == (4, 0, 3)
    await api.ask("POST", FIGURES.replace("delivery", "resume"), status=200)
    await app.wait_for(4)
    assert counted(app) == [1, 2, 3, 4]
    assert all("Knutpunkt-Replay" not in one.headers for one in app.accepted), "they were never sent"


async def test_what_is_discarded_for_good_is_gone(api: Api, app: Receiver) -> None:
    await subscribe(api, app.url())
    await api.ask("POST", FIGURES.replace("delivery", "pause"), {"by": "Åsa"}, status=200)
    await count(api, 1, 2)
    done = (await api.ask("POST", FIGURES.replace("delivery", "discard?deadLetters=false"), status=200)).json()
    assert done == {"discarded": 2, "deadLetters": False}
    await api.ask("POST", FIGURES.replace("delivery", "resume"), status=200)
    await count(api, 3)
    await app.wait_for(1)
    assert counted(app) == [3]
    assert (await figures(api))["deadLetters"] == 0


async def test_the_history_is_sent_again_in_order_and_marked(api: Api, app: Receiver) -> None:
    await count(api, 1)
    since = now()
    await count(api, 2, 3)
    await count(api, 10, entity="urn:x:Counter:2")
    await api.ask(
        "POST", "/entities", {"id": "urn:x:Other:1", "type": "Other", "count": {"value": 1, "type": "Property"}}
    )
    await api.ask("DELETE", "/entities/urn:x:Counter:2", status=204)
    late = {"observedAt": "2020-01-01T00:00:00Z", "type": "Property", "value": 99}
    await api.ask("POST", "/temporal/entities", {"id": "urn:x:Counter:1", "type": "Counter", "count": [late]})
    until_ = now()
    await count(api, 4)
    triggers = ["entityCreated", "entityUpdated", "entityDeleted"]
    await subscribe(api, app.url(), notificationTrigger=triggers)
    path = FIGURES.replace("delivery", f"replay?from={since}&to={until_}")
    started = (await api.ask("POST", path, status=202)).json()
    found = await until(api, lambda found: found["replay"]["state"] == "done")
    assert found["replay"]["rows"] == 4
    await app.wait_for(4)
    assert [(one.data[0]["id"][-1], one.data[0].get("count")) for one in app.accepted] == [
        ("1", 2), ("1", 3), ("2", 10), ("2", None)
    ]  # fmt: skip
    assert "deletedAt" in app.accepted[3].data[0]
    assert {one.headers["Knutpunkt-Replay"] for one in app.accepted} == {started["id"]}
    assert all(one.body["id"].endswith(started["id"]) for one in app.accepted)
    await count(api, 5)
    await app.wait_for(5)
    assert "Knutpunkt-Replay" not in app.accepted[4].headers
    assert since <= app.accepted[0].body["notifiedAt"] <= until_, "when it happened"


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("", 400, "'from' is required"),
        ("?from=2999-01-01T00:00:00Z", 400, "not in the future"),
        ("?from=x", 400, "ISO 8601"),
        ("?from=2020-01-01T00:00:00Z&deadLetters=true", 400, "together"),
        ("?to=x&deadLetters=maybe", 400, "'to' must be"),
    ],
)
async def test_what_cannot_be_replayed_is_said(api: Api, query: str, status: int, said: str) -> None:
    await subscribe(api, "http://127.0.0.1:9/")
    detail = await api.problem(status, "BadRequestData", "POST", FIGURES.replace("delivery", f"replay{query}"))
    assert said in detail


async def test_a_deleted_subscription_takes_its_pause_along(api: Api, app: Receiver) -> None:
    await subscribe(api, app.url())
    await api.ask("POST", FIGURES.replace("delivery", "pause"), {"by": "Åsa"}, status=200)
    await api.ask("DELETE", f"/subscriptions/{SUB}", status=204)
    assert (await api.ask("GET", FIGURES)).status == 404
    await subscribe(api, app.url())
    await count(api, 1)
    await app.wait_for(1)


async def test_the_command_line_shows_and_steers(store_url: str, tmp_path: Path, app: Receiver) -> None:
    async with running_broker(tmp_path, store=StoreSettings(url=store_url), delivery=FAST) as api:
        await ready(api)
        await subscribe(api, app.url())
        runner = CliRunner(env={"KNUTPUNKT_URL": api.url})

        async def run(*words: str, given: str | None = None) -> str:
            done = await asyncio.to_thread(runner.invoke, main, ["subscription", *words], given)
            assert done.exit_code == 0, done.output
            return done.output

        assert "paused" in await run("pause", SUB, "--by", "Åsa", "--reason", "moves")
        await count(api, 1, 2)
        assert "by Åsa. moves" in (shown := await run("show", SUB)), shown
        assert "Backlog:      2, the oldest" in shown
        assert "paused" in await run("list") and "no such" in await run("list", "--state", "retrying")
        assert "Discarded: 2." in await run("discard", SUB, given="y\n")
        refused = await asyncio.to_thread(runner.invoke, main, ["subscription", "discard", SUB], "n\n")
        assert refused.exit_code == 1
        assert "Replay" in await run("replay", SUB, "--dead-letters")
        assert "is owed" in await run("resume", SUB)
        await app.wait_for(2)
        await until(api, lambda found: found["replay"]["state"] == "done")
        assert "Replay" in await run("replay", SUB, "--from", "2026-01-01T00:00:00Z")
        await app.wait_for(4)


@pytest.fixture
async def both(mongo_url: str, tmp_path: Path) -> AsyncIterator[tuple[BrokerProcess, BrokerProcess, Receiver]]:
    settings = {"KNUTPUNKT_DELIVERY_LEASE_SECONDS": "2"}
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(receiving())
        brokers = []
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            brokers.append(BrokerProcess(mongo_url, folder, settings))
            await brokers[-1].start()
            stack.push_async_callback(brokers[-1].kill)
        yield brokers[0], brokers[1], receiver


async def test_one_process_steers_what_the_other_delivers(
    both: tuple[BrokerProcess, BrokerProcess, Receiver],
) -> None:
    one, two, app = both
    await _subscribe(one, app)
    await _count(one, 1)
    await app.wait_for(1)
    holders = {name: (await each.ask("GET", FIGURES))[1]["deliveredBy"] for name, each in (("1", one), ("2", two))}
    assert sorted(str(holder) for holder in holders.values()) == ["another process", "this process"], holders
    elsewhere = one if holders["1"] == "another process" else two
    await elsewhere.ask("POST", FIGURES.replace("delivery", "pause"), {"by": "Åsa"})
    await asyncio.sleep(1.0)
    await _count(one, 2)
    await _count(two, 3)
    await asyncio.sleep(1.5)
    assert counted(app) == [1]
    assert (await one.ask("GET", FIGURES))[1]["backlog"] == 2
    await elsewhere.ask("POST", FIGURES.replace("delivery", "resume"))
    await app.wait_for(3)
    assert counted(app) == [1, 2, 3]


async def test_a_replay_goes_on_after_a_kill_and_owes_nothing_twice(store_url: str, tmp_path: Path) -> None:
    async with receiving() as app:
        process = BrokerProcess(store_url, tmp_path, {"KNUTPUNKT_DELIVERY_LEASE_SECONDS": "2"})
        await process.start()
        try:
            since, number = now(), 3000 if store_url.startswith("sqlite") else 700  # the stand-in is slow
            for start in range(0, number, 350):
                await _count(process, *range(start, min(start + 350, number)), entities=350)
            await _subscribe(process, app)
            await process.ask("POST", FIGURES.replace("delivery", f"replay?from={since}"))
            await app.wait_for(100)
            await process.kill()
            await process.start()
            async with asyncio.timeout(60):
                while (await process.ask("GET", FIGURES))[1]["replay"]["state"] != "done":
                    await asyncio.sleep(0.1)
                while (await process.ask("GET", FIGURES))[1]["backlog"]:
                    await asyncio.sleep(0.1)
        finally:
            await process.kill()
        first: dict[str, int] = {}
        for one in app.accepted:
            first.setdefault(one.body["id"], one.data[0]["count"])
        assert list(first.values()) == list(range(number)), (
            "each once, in order, but for what was on its way at the kill"
        )


async def _subscribe(broker: BrokerProcess, app: Receiver) -> None:
    notification = {"format": "simplified", "endpoint": {"uri": app.url()}}
    body = {"id": SUB, "type": "Subscription", "entities": [{"type": "Counter"}], "notification": notification}
    await broker.ask("POST", "/ngsi-ld/v1/subscriptions", body)


async def _count(broker: BrokerProcess, *values: int, entities: int = 1) -> None:
    document = [
        {"id": f"urn:x:Counter:{value % entities}", "type": "Counter", "count": {"type": "Property", "value": value}}
        for value in values
    ]
    await broker.ask("POST", "/ngsi-ld/v1/entityOperations/upsert", document)


async def test_metrics_say_it_for_alerts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "MEASURE_SECONDS", 0.05)
    async with running_broker(tmp_path, delivery=FAST) as api, receiving() as app:
        await subscribe(api, app.url())
        await api.ask("POST", FIGURES.replace("delivery", "pause"), {"by": "Åsa"}, status=200)
        await count(api, 1, 2)
        await api.ask("POST", FIGURES.replace("delivery", "discard"), status=200)
        await count(api, 3)
        wanted = {"backlog": "1.0", "dead_letters": "2.0", "paused": "1.0", "replays": "0.0"}
        lines = [f'knutpunkt_delivery_{name}{{tenant="default"}} {value}' for name, value in wanted.items()]
        async with asyncio.timeout(20):
            while True:
                shown = (await api.ask("GET", "/metrics", status=200)).body.decode()
                if all(line in shown for line in lines):
                    break
                await asyncio.sleep(0.05)
        lag = float(shown.partition('knutpunkt_delivery_lag_seconds{tenant="default"} ')[2].split("\n")[0])
        assert 0 < lag < 60
