"""Import and export of the registry over HTTP, on both stores: a municipality's spreadsheet, dry runs, round trips."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from broker.config import Http, Limits, StoreSettings
from tests.support.api import Answer, Api, running_broker
from tests.support.broker import BrokerProcess
from tests.support.mongo import mongo_uri, mongo_url

__all__ = ["mongo_uri", "mongo_url"]

TABLES = ("models", "virtual-sensors", "devices", "bindings")
MODEL = {
    "vendor": "Elsys",
    "name": "ERS CO2",
    "codec": "elsys",
    "expectedIntervalSeconds": 600,
    "fPorts": [5],
    "quantities": [
        {"quantity": "temperature", "unit": "CEL"},
        {"quantity": "humidity", "unit": "P1"},
        {"quantity": "batteryVoltage", "unit": "VLT"},
    ],
}
SENSOR = {"name": "s", "entity": "urn:x:s", "entityType": "Room", "outputs": []}
SPREADSHEET = """\
sep=;
id;model;name;virtualSensor;entityType;note;
A81758FFFE0D0001;ers;"Rum 101; Älvskolan";rum-101;IndoorEnvironmentObserved;;
A81758FFFE0D0002;ers;Rum 102;rum-102;IndoorEnvironmentObserved;vid fönstret;
;;;;;;
A81758FFFE0D0003;ers;I lager;;;;
"""


@pytest.fixture(params=["sqlite", "mongo"])
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    mongo = request.param == "mongo"
    settings = {"store": StoreSettings(url=request.getfixturevalue("mongo_url"))} if mongo else {}
    async with running_broker(tmp_path, http=Http(port=0), **settings) as api:
        await api.ask("PUT", "/api/v1/device-models/ers", MODEL, status=201)
        yield api


async def send(api: Api, table: str, rows: Any, query: str = "", status: int = 200) -> dict[str, Any]:
    """The report of an import: CSV where `rows` is a text, else JSON."""
    body = rows.encode() if isinstance(rows, str) else rows
    kind = "text/csv; charset=utf-8" if isinstance(rows, str | bytes) else "application/json"
    answer = await api.ask("POST", f"/api/v1/import/{table}{query}", body, status=status, Content_Type=kind)
    made: dict[str, Any] = answer.json()
    return made


async def export(api: Api, table: str, query: str = "?format=json") -> Answer:
    return await api.ask("GET", f"/api/v1/export/{table}{query}", status=200)


async def versions(api: Api) -> dict[str, str]:
    """What there is, with the versions of its records."""
    found = {}
    for path in ("device-models", "virtual-sensors", "devices", "bindings"):
        for one in (await api.ask("GET", f"/api/v1/{path}?limit=1000")).json():
            answer = await api.ask("GET", f"/api/v1/{path}/{one['id']}")
            found[f"{path}/{one['id']}"] = answer.headers["ETag"].split("-")[0]
    return found


async def test_a_spreadsheet_becomes_devices_virtual_sensors_and_bindings(api: Api) -> None:
    rows = SPREADSHEET.replace("\n", "\r\n").encode("utf-8-sig")
    tried = await send(api, "devices", rows, "?dryRun=true")
    assert (tried["created"], tried["changed"], tried["unchanged"], tried["problems"]) == (3, 0, 0, [])
    assert (await api.ask("GET", "/api/v1/devices")).json() == []
    done = await send(api, "devices", rows, "?by=Åsa&why=ny%20skola")
    assert (done["rows"], done["created"]) == (3, 3)
    assert [change["what"] for change in done["changes"]] == [
        ["device", "virtualSensor", "binding"],
        ["device", "virtualSensor", "binding"],
        ["device"],
    ]
    sensor = (await api.ask("GET", "/api/v1/virtual-sensors/rum-101", status=200)).json()
    assert sensor["name"] == "Rum 101; Älvskolan"
    assert sensor["entity"] == "urn:ngsi-ld:IndoorEnvironmentObserved:rum-101"
    assert sensor["entityType"] == "IndoorEnvironmentObserved"
    assert [(out["quantity"], out["attribute"]) for out in sensor["outputs"]] == [
        ("temperature", "temperature"),
        ("humidity", "relativeHumidity"),
    ]
    assert [binding["device"] for binding in sensor["bindings"]] == ["a81758fffe0d0001"]
    (swap,) = (await api.ask("GET", "/api/v1/swaps?virtualSensor=rum-101")).json()
    assert (swap["by"], swap["why"]) == ("Åsa", "ny skola")
    entity = (await api.ask("GET", "/entities/urn:ngsi-ld:Device:a81758fffe0d0002", status=200)).json()
    assert entity["controlledAsset"]["object"] == "urn:ngsi-ld:IndoorEnvironmentObserved:rum-102"
    before = await versions(api)
    again = await send(api, "devices", rows)
    assert (again["created"], again["changed"], again["unchanged"]) == (0, 0, 3)
    assert await versions(api) == before


async def test_an_uplink_reaches_the_entity_that_the_spreadsheet_named_and_what_waited_is_replayed(api: Api) -> None:
    uplink = {
        "deduplicationId": "1",
        "time": "2026-10-01T12:00:00Z",
        "deviceInfo": {"devEui": "a81758fffe0d0001"},
        "fPort": 5,
        "fCnt": 1,
        "data": "AQDh",
    }
    await api.ask("POST", "/api/v1/uplinks/chirpstack?event=up", uplink, status=202)
    rows = "id,model,virtualSensor,entityType,since\na81758fffe0d0001,ers,rum-101,IndoorEnvironmentObserved,2026-10-01T00:00:00Z\n"
    done = await send(api, "devices", rows)
    assert done["replayedUplinks"] == 1
    entity = (await api.ask("GET", "/entities/urn:ngsi-ld:IndoorEnvironmentObserved:rum-101", status=200)).json()
    assert entity["temperature"]["value"] == 22.5


async def test_a_dry_run_tells_every_rows_problem_at_once_and_an_import_with_one_applies_nothing(api: Api) -> None:
    rows = """id,model,name,virtualSensor,entityType,since
d1,ers,good,s1,Room,
D2,no-such,x,,,
d3,ers,x,s3,,
d4,ers,x,s1,Room,
d1,ers,twice,,,
"d 5",ers,x,,,
1,2E+15,ers,x,,
4E+15,ers,x,,,
d6,ers,x,s6,Room,yesterday
d7,ers,x,,Room,
"""
    tried = await send(api, "devices", rows, "?dryRun=true")
    found = {(problem["row"], problem["member"]) for problem in tried["problems"]}
    assert found == {
        (3, "model"),
        (4, "entityType"),
        (5, "virtualSensor"),
        (6, "id"),
        (7, "id"),
        (8, "model"),
        (9, "id"),
        (10, "since"),
        (11, "virtualSensor"),
    }
    assert (tried["rows"], tried["created"]) == (10, 1)
    refused = await send(api, "devices", rows, status=400)
    assert {(problem["row"], problem["member"]) for problem in refused["report"]["problems"]} == found
    assert refused["detail"].startswith("9 rows have problems; nothing was applied.")
    assert (await api.ask("GET", "/api/v1/devices")).json() == []
    unknown = await send(api, "devices", "id,modell,name,name\nd1,ers,x,y\n", "?dryRun=true")
    assert [problem["detail"].split(" is ")[0] for problem in unknown["problems"]] == ["'modell'", "'name'"]
    for bad in (b"id,name\n\xe5,x\n", b'id,model\n"d1,ers\n'):
        await api.problem(400, "InvalidRequest", "POST", "/api/v1/import/devices", bad, Content_Type="text/csv")
    await api.problem(415, "UnsupportedMediaType", "POST", "/api/v1/import/devices", b"x", Content_Type="text/plain")
    await api.problem(404, "ResourceNotFound", "POST", "/api/v1/import/rooms", [])


async def test_an_import_puts_no_other_device_in_place_unless_it_is_told_to(api: Api) -> None:
    await send(api, "devices", "id,model,virtualSensor,entityType\nold,ers,rum,Room\n")
    other = "id,model,virtualSensor\nnew,ers,rum\n"
    refused = await send(api, "devices", other, status=400)
    assert "'old'" in refused["report"]["problems"][0]["detail"]
    done = await send(api, "devices", other, "?swap=true")
    assert done["changes"][0]["what"] == ["device", "binding"]
    bindings = (await api.ask("GET", "/api/v1/bindings?virtualSensor=rum")).json()
    assert [(one["device"], one["validTo"] is None) for one in bindings] == [("old", False), ("new", True)]
    assert bindings[0]["validTo"] == bindings[1]["validFrom"]


async def filled(api: Api) -> None:
    """A registry with all kinds of things."""
    await send(api, "devices", SPREADSHEET.encode("utf-8-sig"))
    await api.ask(
        "PUT", "/api/v1/devices/a81758fffe0d0009", {"model": "ers", "name": '=1+1, "x"\r\n;y\t', "note": " å "}
    )
    await api.ask("POST", "/api/v1/swaps", {"virtualSensor": "rum-101", "device": "a81758fffe0d0003"}, status=201)
    await api.ask("POST", "/api/v1/virtual-sensors/rum-102/unbind", {}, status=200)
    outputs = [
        {"quantity": "temperature", "attribute": "temperature", "channel": "external", "unit": "FAH"},
        {"quantity": "humidity", "attribute": "https://city.example/names=odd#h", "entity": "urn:x:y"},
    ]
    sensor = {"name": "=x", "entity": "urn:x:z", "entityType": "https://city.example/T", "outputs": outputs}
    await api.ask("PUT", "/api/v1/virtual-sensors/odd", sensor, status=201)
    words = [
        {"quantity": "co2", "attribute": "https://city.example/co2"},
        {"quantity": "temperature", "attribute": "t"},
    ]
    await api.ask("PUT", "/api/v1/virtual-sensors/words", {**sensor, "outputs": words}, status=201)
    await api.ask("PUT", "/api/v1/virtual-sensors/none", {**sensor, "name": "", "outputs": []}, status=201)


@pytest.mark.parametrize("form", ["?format=json", "?format=csv", "?excel=true"])
async def test_the_import_of_an_export_changes_nothing(api: Api, form: str) -> None:
    await filled(api)
    before = await versions(api)
    for table in TABLES:
        exported = await export(api, table, form)
        rows = exported.json() if "json" in form else exported.body
        report = await send(api, table, rows)
        assert (report["changes"], report["problems"]) == ([], [])
        assert report["rows"] == report["unchanged"] > 0
    assert await versions(api) == before


async def test_a_whole_registry_moves_to_another_broker(api: Api, tmp_path: Path) -> None:
    await filled(api)
    whole = await export(api, "registry")
    (tmp_path / "other").mkdir()
    async with running_broker(tmp_path / "other") as other:
        report = await send(other, "registry", whole.json(), "?swap=true")
        assert report["created"] + report["changed"] + report["unchanged"] == report["rows"]
        for table in ("models", "virtual-sensors", "devices"):
            assert (await export(other, table)).json() == (await export(api, table)).json()

        def periods(bindings: Any) -> list[Any]:
            return sorted([one["device"], one["virtualSensor"], one["validFrom"], one["validTo"]] for one in bindings)

        assert periods((await export(other, "bindings")).json()) == periods((await export(api, "bindings")).json())
        assert (await send(other, "registry", whole.json()))["unchanged"] == report["rows"]


async def test_bindings_of_years_ago_are_taken_in_and_never_changed(api: Api) -> None:
    for device in ("d1", "d2"):
        await api.ask("PUT", f"/api/v1/devices/{device}", {"model": "ers"}, status=201)
    await api.ask("PUT", "/api/v1/virtual-sensors/s", SENSOR, status=201)
    rows = """device,virtualSensor,validFrom,validTo
d1,s,2024-01-01T00:00:00Z,2025-01-01T00:00:00Z
D2,s,2025-01-01T00:00:00Z,
"""
    assert (await send(api, "bindings", rows))["created"] == 2
    assert (await send(api, "bindings", rows))["unchanged"] == 2
    listed = (await api.ask("GET", "/api/v1/bindings?at=2024-06-01T00:00:00Z")).json()
    assert [(one["device"], one["validTo"]) for one in listed] == [("d1", "2025-01-01T00:00:00.000Z")]
    reopened = rows.replace("2025-01-01T00:00:00Z\n", "\n", 1)
    assert (await send(api, "bindings", reopened, status=400))["report"]["problems"][0]["member"] == "validTo"
    ended = rows.replace("2025-01-01T00:00:00Z,\n", "2026-01-01T00:00:00Z,2026-06-01T00:00:00Z\n")
    assert (await send(api, "bindings", ended, status=400))["report"]["problems"][0]["row"] == 3
    unknown = "device,virtualSensor\nd9,s\nd1,s9\n"
    problems = (await send(api, "bindings", unknown, "?dryRun=true"))["problems"]
    assert [problem["member"] for problem in problems] == ["device", "virtualSensor"]


async def test_a_table_is_csv_with_headings_and_accept_decides(api: Api) -> None:
    await filled(api)
    answer = await api.ask("GET", "/api/v1/export/devices", status=200, Accept="text/csv")
    assert answer.headers["Content-Type"] == "text/csv"
    table = list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))
    odd = next(row for row in table if row["id"] == "a81758fffe0d0009")
    assert (odd["name"], odd["note"]) == ('=1+1, "x"\r\n;y\t', " å ")
    bound = next(row for row in table if row["id"] == "a81758fffe0d0003")
    assert (bound["virtualSensor"], bound["entityType"]) == ("rum-101", "IndoorEnvironmentObserved")
    excel = await export(api, "virtual-sensors", "?excel=true")
    assert excel.body.startswith("\ufeffid;name;".encode())
    assert b"co2=https://city.example/co2 temperature=t" in excel.body
    assert json.loads((await export(api, "models", "")).body)[0]["id"] == "ers"
    await api.problem(406, "NotAcceptable", "GET", "/api/v1/export/devices", Accept="image/png")
    await api.problem(400, "BadRequestData", "GET", "/api/v1/export/registry?format=csv")


async def test_a_csv_column_that_is_not_there_leaves_its_member(api: Api) -> None:
    await api.ask("PUT", "/api/v1/devices/d1", {"model": "ers", "name": "a", "note": "kept"}, status=201)
    await send(api, "devices", "id;name\nd1;b\n")
    assert (await api.ask("GET", "/api/v1/devices/d1")).json()["note"] == "kept"
    await send(api, "devices", "id\tnote\nd1\t\n")
    assert (await api.ask("GET", "/api/v1/devices/d1")).json()["note"] == ""
    models = "id;vendor;name;codec;expectedIntervalSeconds;fPorts;quantities\nm;V;N;elsys;900,0;[5, 6];\n"
    await send(api, "models", models)
    model = (await api.ask("GET", "/api/v1/device-models/m")).json()
    assert (model["expectedIntervalSeconds"], model["fPorts"], model["network"]) == (900, [5, 6], "lorawan")


async def test_a_json_row_is_the_whole_thing(api: Api) -> None:
    await api.ask("PUT", "/api/v1/devices/d1", {"model": "ers", "name": "a", "note": "gone"}, status=201)
    report = await send(api, "devices", [{"id": "d1", "model": "ers", "name": "a"}])
    assert report["changes"][0]["members"] == ["note"]
    number = await send(api, "devices", [{"id": 860123456789012, "model": "ers"}], "?dryRun=true")
    assert number["problems"][0]["member"] == "id"
    assert "quotes" in number["problems"][0]["detail"]


async def test_what_is_too_long_is_refused_by_the_name_of_its_limit(tmp_path: Path) -> None:
    limits = Limits(import_rows=3, import_bytes=2000)
    async with running_broker(tmp_path, limits=limits) as api:
        rows = b"id,model\n" + b"".join(b"d%d,m\n" % number for number in range(4))
        detail = await api.problem(
            400, "BadRequestData", "POST", "/api/v1/import/devices", rows, Content_Type="text/csv"
        )
        assert "limits.import_rows" in detail
        long = b"id,model\n" + b"x" * 2000
        detail = await api.problem(
            413, "PayloadTooLarge", "POST", "/api/v1/import/devices", long, Content_Type="text/csv"
        )
        assert "limits.import_bytes" in detail


async def test_a_body_longer_than_other_requests_may_be_is_taken(tmp_path: Path) -> None:
    async with running_broker(tmp_path, limits=Limits(body_bytes=2000)) as api:
        await api.ask("PUT", "/api/v1/device-models/ers", {**MODEL, "quantities": []}, status=201)
        rows = "id,model\n" + "".join(f"device-{number},ers\n" for number in range(450))
        assert (await send(api, "devices", rows))["created"] == 450
        assert len((await export(api, "devices")).json()) == 450


def many(rows: int) -> bytes:
    lines = [f"device-{number:05d};ers;rum-{number:05d};IndoorEnvironmentObserved" for number in range(rows)]
    return "\n".join(["id;model;virtualSensor;entityType", *lines]).encode()


async def bound(ask: Any) -> list[str]:
    """The devices that are virtual sensors, one for each binding that there is."""
    found: list[str] = []
    while True:
        after = f"&after={found[-1].partition('@')[2]}" if found else ""
        page = await ask(f"/api/v1/bindings?limit=1000{after}")
        found += [f"{one['device']}@{one['id']}" for one in page]
        if len(page) < 1000:
            return sorted(one.partition("@")[0] for one in found)


async def test_an_import_that_a_kill_cut_short_is_finished_by_sending_it_again(tmp_path: Path) -> None:
    rows, body = 2500, many(2500)
    broker = BrokerProcess(f"sqlite:///{tmp_path}/knutpunkt.db", tmp_path)
    await broker.start()

    async def ask(path: str) -> Any:
        return (await broker.ask("GET", path))[1]

    await broker.ask("PUT", "/api/v1/device-models/ers", MODEL)
    sending = asyncio.create_task(
        broker.ask("POST", "/api/v1/import/devices", body, headers={"Content-Type": "text/csv"})
    )
    while not await ask("/api/v1/devices?search=device-00300"):
        assert not sending.done()
        await asyncio.sleep(0.01)
    await broker.kill()
    with pytest.raises(OSError):
        await sending
    await broker.start()
    before = await bound(ask)
    assert 300 < len(before) < rows
    assert len(before) % 100 == 0
    _, report = await broker.ask("POST", "/api/v1/import/devices", body, headers={"Content-Type": "text/csv"})
    assert (report["created"], report["unchanged"], report["problems"]) == (rows - len(before), len(before), [])
    assert await bound(ask) == [f"device-{number:05d}" for number in range(rows)]
    assert await broker.stop() == 0


async def test_the_same_import_sent_twice_at_once_is_applied_once(api: Api) -> None:
    first, second = await asyncio.gather(*(send(api, "devices", many(450)) for _ in range(2)))
    assert first["problems"] == second["problems"] == []
    assert first["created"] + second["created"] == 450

    async def ask(path: str) -> Any:
        return (await api.ask("GET", path, status=200)).json()

    assert await bound(ask) == [f"device-{number:05d}" for number in range(450)]


async def test_a_row_that_another_client_spoils_stops_the_import_and_the_report_says_where(api: Api) -> None:
    rows = many(450)

    async def spoil() -> None:
        while not (await api.ask("GET", "/api/v1/devices?search=device-00050")).json():
            await asyncio.sleep(0)
        await api.ask("PUT", "/api/v1/devices/other", {"model": "ers"})
        await api.ask("PUT", "/api/v1/virtual-sensors/rum-00449", SENSOR, status=201)
        await api.ask("POST", "/api/v1/swaps", {"virtualSensor": "rum-00449", "device": "other"}, status=201)

    answer, _ = await asyncio.gather(
        api.ask("POST", "/api/v1/import/devices", rows, status=409, Content_Type="text/csv"), spoil()
    )
    problem = answer.json()
    assert problem["detail"].startswith(
        "400 of 450 rows were applied, then it stopped: 'virtualSensor': 'rum-00449' is"
    )
    (row,) = problem["report"]["problems"]
    assert (row["row"], row["id"]) == (451, "device-00449")
    assert problem["report"]["created"] == 400
    again = await send(api, "devices", rows, "?swap=true")
    assert (again["created"], again["unchanged"]) == (50, 400)


async def test_a_row_says_the_place(api: Api) -> None:
    rows = "id,model,virtualSensor,entityType,place\nd1,ers,rum,IndoorEnvironmentObserved,urn:ngsi-ld:Building:school\n"
    await send(api, "devices", rows)
    entity = (await api.ask("GET", "/entities/urn:ngsi-ld:IndoorEnvironmentObserved:rum", status=200)).json()
    assert entity["refPointOfInterest"]["object"] == "urn:ngsi-ld:Building:school"
    assert (await send(api, "devices", rows))["unchanged"] == 1
    again = await send(api, "devices", rows.replace("school", "library"))
    assert again["changes"][0]["what"] == ["virtualSensor"]
    entity = (await api.ask("GET", "/entities/urn:ngsi-ld:IndoorEnvironmentObserved:rum", status=200)).json()
    assert entity["refPointOfInterest"]["object"] == "urn:ngsi-ld:Building:library"
