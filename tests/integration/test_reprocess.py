"""Decoding again as people do it: a wrong model is corrected, what would change is shown, then the history is corrected."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from broker.clock import SECOND, iso
from tests.support.broker import BrokerProcess, Refused
from tests.support.city import START, dev_eui, elsys_temperature, register, room, uplink
from tests.support.mongo import mongo_uri, mongo_url
from tests.support.receiver import receiving

__all__ = ["mongo_uri", "mongo_url"]

OLD, NEW = dev_eui(0), dev_eui(77)
JOB = "/api/v1/reprocessings"
CODEC = "function decodeUplink(input) {{ const raw = input.bytes[0] * 256 + input.bytes[1]; {body} }}"
"""Two bytes: tenths of a degree; a meter's pulses in another model."""


def script(body: str) -> dict[str, Any]:
    """A model of our own whose codec can be wrong."""
    quantities = [
        {"quantity": "temperature", "unit": "CEL", "source": "t"},
        {"quantity": "volume", "unit": "MTQ", "source": "v"},
    ]
    return {
        "vendor": "City",
        "name": "Own",
        "codec": "javascript",
        "script": CODEC.format(body=body),
        "quantities": quantities,
    }


WRONG = script("return { data: { t: raw / 100 } };")
RIGHT = script("return { data: { t: raw / 10 } };")


@pytest.fixture(params=["sqlite", "mongo"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BrokerProcess]:
    """Two rooms; device 0 is of the model 'own', whose codec is wrong."""
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'city.db'}" if sqlite else request.getfixturevalue("mongo_url")
    made = BrokerProcess(url, tmp_path)
    await made.start()
    try:
        await made.ask("PUT", "/api/v1/device-models/own", WRONG)
        await register(made, 2)
        await made.ask("PUT", f"/api/v1/devices/{OLD}", {"model": "own"})
        yield made
    finally:
        await made.stop()


async def send(broker: BrokerProcess, number: int, payload: bytes, minute: int) -> dict[str, Any]:
    """What device `number` sent at a minute after START."""
    message = uplink(number, payload, START + minute * 60 * SECOND)
    _, receipt = await broker.ask("POST", "/api/v1/uplinks/chirpstack?event=up", message)
    found: dict[str, Any] = receipt
    return found


def two(number: int) -> bytes:
    return number.to_bytes(2, "big")


def at(minute: int) -> str:
    return iso(START + minute * 60 * SECOND)


async def history(broker: BrokerProcess, number: int = 0, attribute: str = "temperature") -> list[float]:
    _, rows = await broker.ask("GET", f"/api/v1/history?entity={room(number)}&attribute={attribute}&limit=1000")
    return [row["value"]["value"] for row in rows]


async def current(broker: BrokerProcess, number: int = 0) -> Any:
    _, entity = await broker.ask("GET", f"/ngsi-ld/v1/entities/{room(number)}?options=keyValues")
    return entity.get("temperature")


async def why(broker: BrokerProcess, minute: int) -> Any:
    _, found = await broker.ask("GET", f"/api/v1/lineage?entity={room(0)}&attribute=temperature&at={at(minute)}")
    return found


async def ended(broker: BrokerProcess, job: dict[str, Any]) -> dict[str, Any]:
    """A reprocessing when it has ended."""
    async with asyncio.timeout(60):
        while job["state"] in ("waiting", "running"):
            await asyncio.sleep(0.02)
            _, job = await broker.ask("GET", f"{JOB}/{job['id']}")
    return job


async def reprocess(broker: BrokerProcess, **asked: Any) -> dict[str, Any]:
    _, job = await broker.ask("POST", JOB, {"from": at(0), "to": at(1000), "dryRun": False, **asked})
    done = await ended(broker, job)
    assert done["state"] == "done", done
    return done


async def difference(broker: BrokerProcess, **asked: Any) -> dict[str, Any]:
    _, found = await broker.ask("POST", JOB, {"from": at(0), "to": at(1000), **asked})
    shown: dict[str, Any] = found
    return shown


async def test_a_corrected_codec_corrects_the_history_of_the_period_and_what_was_there_is_kept(
    broker: BrokerProcess,
) -> None:
    for minute in range(5):
        await send(broker, 0, two(200 + minute), minute)
    await send(broker, 1, elsys_temperature(7), 1)
    assert await history(broker) == [2.0, 2.01, 2.02, 2.03, 2.04]
    await broker.ask("PUT", "/api/v1/device-models/own", RIGHT)

    found = await difference(broker, model="own", to=at(3), limit=2)
    assert found["counts"] | {"uplinks": 3, "changed": 3, "superseded": 3, "added": 3} == found["counts"]
    (tally,) = found["attributes"]
    assert (tally["virtualSensor"], tally["attribute"], tally["changed"]) == ("room-0", "temperature", 3)
    assert [(one["before"][0]["value"], one["after"][0]["value"]) for one in found["examples"]] == [
        (2, 20),
        (2.01, 20.1),
    ]
    assert found["examples"][0]["observedAt"] == at(0)
    assert await history(broker) == [2.0, 2.01, 2.02, 2.03, 2.04], "nothing is done yet"
    assert (await broker.ask("GET", JOB))[1] == []

    done = await reprocess(broker, model="own", to=at(3), by="Kim", note="tenths")
    assert done["counts"] == found["counts"]
    assert await history(broker) == [20.0, 20.1, 20.2, 2.03, 2.04]
    assert await current(broker) == 2.04, "not of the period"
    assert await history(broker, 1) == [7.0], "another model's"
    explained = await why(broker, 1)
    assert explained["reprocessing"] | {"id": done["id"], "by": "Kim", "note": "tenths"} == explained["reprocessing"]
    (before,) = explained["earlier"]
    assert (before["instance"]["value"], before["reprocessing"]) == (2.01, done["id"])
    assert (await why(broker, 4))["reprocessing"] is None

    assert (await reprocess(broker, model="own"))["counts"]["changed"] == 2
    assert (await history(broker), await current(broker)) == ([20.0, 20.1, 20.2, 20.3, 20.4], 20.4)
    again = await reprocess(broker, model="own")
    assert again["counts"] | {"uplinks": 5, "same": 5, "superseded": 0, "added": 0} == again["counts"]
    _, jobs = await broker.ask("GET", JOB)
    assert (len(jobs), jobs[0]["id"]) == (3, done["id"])


async def test_subscribers_are_told_only_if_asked_and_only_of_current_values(broker: BrokerProcess) -> None:
    async with receiving() as app:
        subscription = {
            "id": "urn:sub:1",
            "type": "Subscription",
            "entities": [{"type": "IndoorEnvironmentObserved"}],
            "notification": {"endpoint": {"uri": app.url(), "accept": "application/json"}, "format": "keyValues"},
        }
        await broker.ask("POST", "/ngsi-ld/v1/subscriptions", subscription)
        for minute in range(3):
            await send(broker, 0, two(200 + minute), minute)
        await broker.ask("PUT", "/api/v1/device-models/own", RIGHT)
        await reprocess(broker, model="own")
        assert await current(broker) == 20.2
        await broker.ask("PUT", "/api/v1/device-models/own", WRONG)
        await reprocess(broker, model="own", notify=True)
        assert await current(broker) == 2.02
        await send(broker, 0, two(300), 3)
        told = [one.data[0]["temperature"] for one in await app.wait_for(5)]
        assert told == [2.0, 2.01, 2.02, 2.02, 3.0], "the silent correction to 20.2 was told to nobody"


async def test_what_a_codec_refused_is_applied_and_what_it_refuses_now_is_superseded(broker: BrokerProcess) -> None:
    refusing = script("if (raw > 250) throw new Error('too warm'); return { data: { t: raw / 10 } };")
    await broker.ask("PUT", "/api/v1/device-models/own", refusing)
    for minute, tenths in enumerate((200, 260, 210, 270)):
        await send(broker, 0, two(tenths), minute)
    assert (await history(broker), await current(broker)) == ([20.0, 21.0], 21.0)

    await broker.ask("PUT", "/api/v1/device-models/own", RIGHT)
    found = await difference(broker, device=OLD)
    assert found["counts"] | {"uplinks": 4, "accepted": 2, "same": 2, "added": 2} == found["counts"]
    await reprocess(broker, device=OLD)
    assert (await history(broker), await current(broker)) == ([20.0, 26.0, 21.0, 27.0], 27.0)
    _, rows = await broker.ask("GET", f"/api/v1/uplinks?device={OLD}")
    assert {row["status"] for row in rows} == {"applied"}

    await broker.ask("PUT", "/api/v1/device-models/own", refusing)
    found = await difference(broker, virtualSensor="room-0")
    assert found["counts"] | {"rejected": 2, "same": 2, "superseded": 2} == found["counts"]
    ((reason, count),) = found["counts"]["reasons"].items()
    assert "too warm" in reason
    assert count == 2
    await reprocess(broker, virtualSensor="room-0")
    assert (await history(broker), await current(broker)) == ([20.0, 21.0], 21.0)
    _, rows = await broker.ask("GET", f"/api/v1/uplinks?device={OLD}&status=rejected")
    assert len(rows) == 2


async def test_a_kill_in_the_middle_loses_nothing_and_doubles_nothing(broker: BrokerProcess) -> None:
    count = 120 if broker.store.startswith("sqlite") else 40
    for minute in range(count):
        await send(broker, 0, two(200 + minute), minute)
    interrupted = False
    for model, divisor in 3 * ((RIGHT, 10), (WRONG, 100)):  # until it is killed in the middle
        await broker.ask("PUT", "/api/v1/device-models/own", model)
        _, job = await broker.ask("POST", JOB, {"model": "own", "from": at(0), "to": at(1000), "dryRun": False})
        async with asyncio.timeout(60):
            while (now := (await broker.ask("GET", f"{JOB}/{job['id']}"))[1])["counts"]["uplinks"] < 5:
                pass
        await broker.kill()
        await broker.start()
        interrupted = now["state"] == "running" and now["counts"]["uplinks"] < count
        done = await ended(broker, now)
        assert done["state"] == "done"
        assert done["counts"] | {"uplinks": count, "changed": count, "added": count} == done["counts"]
        assert await history(broker) == [(200 + minute) / divisor for minute in range(count)]
        if interrupted:
            break
    assert interrupted


async def test_a_cancelled_one_stays_where_it_is(broker: BrokerProcess) -> None:
    for minute in range(30):
        await send(broker, 0, two(200), minute)
    await broker.ask("PUT", "/api/v1/device-models/own", RIGHT)
    _, job = await broker.ask("POST", JOB, {"model": "own", "from": at(0), "dryRun": False})
    _, cancelled = await broker.ask("POST", f"{JOB}/{job['id']}/cancel", {"by": "Kim", "why": "wrong model"})
    assert (cancelled["state"], cancelled["reason"]) == ("cancelled", "Cancelled by Kim: wrong model")
    corrected = (await history(broker)).count(20.0)
    await asyncio.sleep(0.2)
    assert (await history(broker)).count(20.0) == corrected < 30
    with pytest.raises(Refused, match="409"):
        await broker.ask("POST", f"{JOB}/{job['id']}/cancel", {})
    done = await reprocess(broker, model="own")
    assert done["counts"]["changed"] == 30 - corrected


async def test_a_meter_counts_on_from_what_is_corrected_over_a_swap(broker: BrokerProcess) -> None:
    """Of two devices of different models only the named one's uplinks are selected; the counter goes on all the same."""
    await broker.ask("PUT", "/api/v1/device-models/own", script("return { data: { v: raw } };"))
    await broker.ask("PUT", "/api/v1/device-models/other", script("return { data: { v: raw } };"))
    output = {"quantity": "volume", "attribute": "volume", "counter": {}}
    temperature = {"quantity": "temperature", "attribute": "temperature"}
    await broker.ask("PATCH", "/api/v1/virtual-sensors/room-0", {"outputs": [output, temperature]})
    for minute, pulses in enumerate((1000, 1010, 1030)):
        await send(broker, 0, two(pulses), minute)
    await broker.ask(
        "POST", "/api/v1/swaps", {"virtualSensor": "room-0", "device": NEW, "model": "other", "at": at(10)}
    )
    for minute, pulses in ((11, 5), (12, 15)):
        await send(broker, 77, two(pulses), minute)
    assert await history(broker, attribute="volume") == [1000, 1010, 1030, 1030, 1040]

    await broker.ask("PUT", "/api/v1/device-models/own", script("return { data: { v: raw / 100 } };"))
    await broker.ask("PUT", "/api/v1/device-models/other", script("return { data: { v: raw * 1 } };"))
    found = await difference(broker, model="own")
    assert found["counts"] | {"uplinks": 3, "changed": 3, "following": 2, "followingChanged": 2} == found["counts"]
    done = await reprocess(broker, model="own")
    assert done["counts"] == found["counts"]
    assert await history(broker, attribute="volume") == [10, 10.1, 10.3, 10.3, 20.3]
    await send(broker, 77, two(20), 13)
    assert (await history(broker, attribute="volume"))[-1] == 25.3, "it counts on"


async def test_only_the_named_model_s_uplinks_where_nothing_is_remembered(broker: BrokerProcess) -> None:
    for minute in range(2):
        await send(broker, 0, two(200), minute)
    await broker.ask(
        "POST", "/api/v1/swaps", {"virtualSensor": "room-0", "device": NEW, "model": "elsys-ers", "at": at(5)}
    )
    await send(broker, 77, elsys_temperature(21), 6)
    await broker.ask("PUT", "/api/v1/device-models/own", RIGHT)
    scale = {"quantity": "temperature", "attribute": "temperature", "calibration": {"scale": 2, "offset": 0}}
    await broker.ask("PATCH", "/api/v1/virtual-sensors/room-0", {"outputs": [scale]})
    done = await reprocess(broker, model="own")
    assert (done["counts"]["uplinks"], done["counts"]["following"]) == (2, 0)
    assert await history(broker) == [40.0, 40.0, 21.0]
    assert (await reprocess(broker, virtualSensor="room-0"))["counts"]["changed"] == 1
    assert await history(broker) == [40.0, 40.0, 42.0]


async def test_bytes_that_are_not_kept_cannot_be_decoded_again_and_everything_says_so(broker: BrokerProcess) -> None:
    await send(broker, 0, two(200), 0)
    _, tenant = await broker.ask("PATCH", "/api/v1/tenants/-", {"rawUplinks": {"keepDays": 0}})
    assert tenant["rawUplinks"] == {"keepDays": 0, "from": "tenant"}
    await send(broker, 0, two(201), 1)
    await broker.ask("PUT", "/api/v1/device-models/own", RIGHT)
    found = await difference(broker, model="own")
    assert found["counts"] | {"uplinks": 2, "changed": 1, "unreadable": 1} == found["counts"]
    assert found["counts"]["reasons"] == {"Its bytes are not kept any more.": 1}
    await reprocess(broker, model="own")
    assert await history(broker) == [20.0, 2.01]
    explained = await why(broker, 1)
    assert (explained["uplink"]["raw"], explained["uplink"]["meta"]["bytesDropped"]) == (None, True)
    _, row = await broker.ask("GET", f"/api/v1/uplinks/{explained['uplink']['id']}")
    assert row["raw"] is None
    _, tenant = await broker.ask("PATCH", "/api/v1/tenants/-", {"rawUplinks": None})
    assert tenant["rawUplinks"] == {"keepDays": "forever", "from": "settings"}
    await send(broker, 0, two(202), 2)
    assert (await why(broker, 2))["uplink"]["raw"]
    assert (await broker.ask("GET", "/api/v1/tenants"))[1] == []


async def test_without_the_grant_personal_data_is_left_as_it_is(tmp_path: Path) -> None:
    plain, granted = {"Authorization": "Bearer of-all"}, {"Authorization": "Bearer of-few"}
    tokens = {"KNUTPUNKT_HTTP_TOKEN": "of-all", "KNUTPUNKT_HTTP_PERSONAL_TOKEN": "of-few"}
    broker = BrokerProcess(f"sqlite:///{tmp_path / 'city.db'}", tmp_path, tokens)
    await broker.start()

    async def ask(method: str, path: str, document: Any = None) -> Any:
        return (await broker.ask(method, path, document, headers=granted))[1]

    async def temperatures(number: int) -> list[float]:
        rows = await ask("GET", f"/api/v1/history?entity={room(number)}&attribute=temperature")
        return [row["value"]["value"] for row in rows]

    try:
        await ask("PUT", "/api/v1/device-models/own", WRONG)
        for number in (0, 1):
            sensor: dict[str, Any] = {"name": "Room", "entity": room(number), "entityType": "Room"}
            sensor["outputs"] = [{"quantity": "temperature", "attribute": "temperature"}]
            if number:
                sensor["personal"] = {"retentionDays": 9999, "purpose": "consent"}
            await ask("PUT", f"/api/v1/virtual-sensors/room-{number}", sensor)
            swap = {"virtualSensor": f"room-{number}", "device": dev_eui(number), "model": "own", "at": at(-1)}
            await ask("POST", "/api/v1/swaps", swap)
            await ask("POST", "/api/v1/uplinks/chirpstack?event=up", uplink(number, two(200), START))
        await ask("PUT", "/api/v1/device-models/own", RIGHT)
        asked = {"model": "own", "from": at(0)}
        _, found = await broker.ask("POST", JOB, asked, headers=plain)
        assert (found["counts"]["uplinks"], len(found["examples"])) == (1, 1)
        _, job = await broker.ask("POST", JOB, {**asked, "dryRun": False}, headers=plain)
        while job["state"] in ("waiting", "running"):
            _, job = await broker.ask("GET", f"{JOB}/{job['id']}", headers=plain)
        assert (await temperatures(0), await temperatures(1)) == ([20.0], [2.0])
        with pytest.raises(Refused, match="404"):
            await broker.ask("POST", JOB, {"virtualSensor": "room-1", "from": at(0)}, headers=plain)
        job = await ask("POST", JOB, {**asked, "dryRun": False})
        while job["state"] in ("waiting", "running"):
            job = await ask("GET", f"{JOB}/{job['id']}")
        assert (await temperatures(0), await temperatures(1)) == ([20.0], [20.0])
    finally:
        await broker.stop()


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({"from": "2026-03-01T00:00:00Z"}, "'model', 'device' and 'virtualSensor'"),
        ({"model": "own"}, "'from' is required"),
        ({"model": "own", "from": "March"}, "'from' must be an ISO 8601 date-time"),
        ({"model": "own", "from": at(5), "to": at(5)}, "'to' must be later than 'from'"),
        ({"model": "own", "from": at(5), "dryRun": 1}, "'dryRun' must be true or false"),
        ({"model": "own", "from": at(5), "limit": 1001}, "'limit' must be a whole number from 0 to 1000"),
        ({"model": "own", "from": at(5), "since": 1}, "'since' is not known"),
        ({"model": "none", "from": at(5)}, "There is no device model 'none'"),
        ({"virtualSensor": "none", "from": at(5), "dryRun": False}, "There is no virtual sensor 'none'"),
    ],
)
@pytest.mark.parametrize("broker", ["sqlite"], indirect=True)
async def test_what_cannot_be_asked_for_is_named(broker: BrokerProcess, asked: dict[str, Any], names: str) -> None:
    with pytest.raises(Refused) as refused:
        await broker.ask("POST", JOB, asked)
    assert names in refused.value.body.decode()


@pytest.mark.parametrize("broker", ["sqlite"], indirect=True)
async def test_on_the_command_line_it_is_shown_first_and_needs_a_yes(broker: BrokerProcess) -> None:
    for minute in range(3):
        await send(broker, 0, two(200 + minute), minute)
    await broker.ask("PUT", "/api/v1/device-models/own", RIGHT)
    period = ("--model", "own", "--from", at(0), "--to", at(60))

    status, shown = await run(broker, "reprocess", *period)
    assert status == 1
    assert "3  would change" in shown
    assert "2.01 CEL" in shown
    assert "20.1 CEL" in shown
    assert "--yes" in shown
    assert await history(broker) == [2.0, 2.01, 2.02]

    status, shown = await run(broker, "reprocess", *period, "--yes", "--by", "Kim", "--why", "tenths")
    assert (status, "3 values superseded, 3 hold instead" in shown) == (0, True), shown
    assert await history(broker) == [20.0, 20.1, 20.2]
    _, listed = await run(broker, "reprocessings")
    assert "own" in listed
    assert "tenths" in listed
    _, told = await run(broker, "why", room(0), "temperature")
    assert "Decoded again" in told
    assert "superseded by a reprocessing" in told

    status, shown = await run(broker, "reprocess", "--model", "own", "--from", "yesterday")
    assert status == 2
    assert "write 2026-03-01T13:30:00Z" in shown
    _, kept = await run(broker, "tenant", "keep-raw", "365")
    assert "365 days" in kept


async def run(broker: BrokerProcess, *arguments: str) -> tuple[int, str]:
    """(exit status, all that it wrote)."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "broker.cli.main",
        *arguments,
        "--url",
        broker.url,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    written, _ = await process.communicate()
    return process.returncode or 0, written.decode()
