"""Temporal evolutions over HTTP, on both stores (ETSI GS CIM 009 v1.9.1, 5.6.11, 5.7.3, 5.7.4, 6.3.10, 6.3.11)."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from broker.config import Limits, StoreSettings
from tests.support.api import Answer, Api, running_broker
from tests.support.mongo import mongo_uri, mongo_url

__all__ = ["mongo_uri", "mongo_url"]

ROOM = "urn:ngsi-ld:Room:1"
HALL = "urn:ngsi-ld:Room:hall"
NULL = "urn:ngsi-ld:null"
ALL: dict[str, Any] = {"timerel": "after", "timeAt": "2000-01-01T00:00:00Z"}


def at(hour: int) -> str:
    return f"2026-11-20T{hour:02}:00:00Z"


def measured(*hours: int, **members: Any) -> list[dict[str, Any]]:
    """One instance an hour, whose value is the hour."""
    return [{"type": "Property", "value": hour, "observedAt": at(hour), **members} for hour in hours]


def evolution(entity_id: str = HALL, **attributes: Any) -> dict[str, Any]:
    return {"id": entity_id, "type": "Room", **attributes}


@pytest.fixture(params=["sqlite", "mongo"])
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    mongo = request.param == "mongo"
    url = request.getfixturevalue("mongo_url") if mongo else f"sqlite:///{tmp_path}/knutpunkt.db"
    limits = Limits(temporal_instances=20, temporal_entities=30)
    async with running_broker(tmp_path, store=StoreSettings(url=url), limits=limits) as api:
        yield api


async def ask(api: Api, path: str = "", status: int = 200, **parameters: Any) -> Answer:
    text = "&".join(f"{name}={quote(str(value))}" for name, value in parameters.items())
    return await api.ask("GET", f"/temporal/entities{path}?{text}", status=status)


async def post(api: Api, document: Any, status: int = 201) -> Answer:
    return await api.ask("POST", "/temporal/entities", document, status=status)


def values(shown: Any, attribute: str = "temperature") -> list[Any]:
    return [instance["value"] for instance in shown[attribute]]


async def found(api: Api, **parameters: Any) -> list[str]:
    return [each["id"] for each in (await ask(api, **ALL, **parameters)).json()]


async def test_what_an_entity_was_like_is_its_evolution(api: Api) -> None:
    await api.ask("POST", "/entities", evolution(ROOM, temperature=measured(6)[0], name={"value": "hall"}), status=201)
    for hour in (7, 8, 9):
        await api.ask("PATCH", f"/entities/{ROOM}", {"temperature": measured(hour)[0]}, status=204)
    shown = (await ask(api, f"/{ROOM}")).json()
    assert shown == evolution(ROOM, name=[{"type": "Property", "value": "hall"}], temperature=measured(6, 7, 8, 9))
    assert (await ask(api, f"/{ROOM}", **ALL)).json() == evolution(ROOM, temperature=measured(6, 7, 8, 9)), (
        "what was never observed was not observed in the interval"
    )
    recorded = (await ask(api, f"/{ROOM}", timeproperty="modifiedAt", **ALL)).json()
    assert recorded.keys() == {"id", "type", "name", "temperature"}
    assert (await ask(api, **ALL, type="Room")).json() == [evolution(ROOM, temperature=measured(6, 7, 8, 9))]


async def test_what_is_posted_is_history_and_nothing_else(api: Api) -> None:
    first = await post(api, evolution(temperature=measured(6, 7), isIn={"type": "Relationship", "object": "urn:x:1"}))
    assert first.headers["Location"] == f"/ngsi-ld/v1/temporal/entities/{HALL}" and first.body == b""
    await post(api, {"id": HALL, "type": ["Room", "Hall"], "temperature": measured(8)[0]}, status=204)
    await post(api, {"id": HALL, "temperature": measured(5)}, status=204)
    shown = (await ask(api, f"/{HALL}")).json()
    assert shown["type"] == ["Room", "Hall"] and values(shown) == [5, 6, 7, 8]
    assert await found(api, type="(Room;Hall)") == await found(api, type="Hall") == [HALL]
    await api.problem(404, "ResourceNotFound", "GET", f"/entities/{HALL}")
    assert (await api.ask("GET", "/entities?type=Room", status=200)).json() == []

    await api.ask("POST", "/entities", evolution(ROOM, temperature=measured(9)[0]), status=201)
    await post(api, {"id": ROOM, "type": "Hall", "temperature": measured(12, 4)}, status=204)
    now = (await api.ask("GET", f"/entities/{ROOM}", status=200)).json()
    assert now == evolution(ROOM, temperature=measured(9)[0]), "not even what is newer changes the entity"
    shown = (await ask(api, f"/{ROOM}")).json()
    assert shown["type"] == ["Room", "Hall"] and values(shown) == [4, 9, 12]
    assert await found(api, type="Hall") == [ROOM, HALL] or await found(api, type="Hall") == [HALL, ROOM]


async def test_a_new_evolution_needs_a_type_and_a_valid_one_instances(api: Api) -> None:
    assert "'type'" in await api.problem(400, "BadRequestData", "POST", "/temporal/entities", {"id": HALL})
    for wrong in (evolution(temperature=5), evolution(temperature=[]), evolution(expiresAt=NULL), {"type": "Room"}):
        await api.problem(400, "BadRequestData", "POST", "/temporal/entities", wrong)
    expiring = evolution(expiresAt="2100-01-01T00:00:00Z")
    assert "'expiresAt'" in await api.problem(422, "OperationNotSupported", "POST", "/temporal/entities", expiring)
    await api.problem(400, "InvalidRequest", "POST", "/temporal/entities?type=Room", evolution())
    await ask(api, f"/{HALL}", status=404)


async def test_an_interval_begins_with_its_beginning_and_ends_before_its_end(api: Api) -> None:
    await post(api, evolution(temperature=measured(6, 7, 8, 9)))
    intervals: list[tuple[dict[str, Any], list[int]]] = [
        ({"timerel": "after", "timeAt": at(8)}, [8, 9]),
        ({"timerel": "before", "timeAt": at(8)}, [6, 7]),
        ({"timerel": "between", "timeAt": at(7), "endTimeAt": at(9)}, [7, 8]),
        ({"timerel": "between", "timeAt": at(7), "endTimeAt": at(9), "lastN": "1"}, [8]),
        ({"lastN": "3"}, [9, 8, 7]),
        ({"lastN": "30"}, [9, 8, 7, 6]),
    ]
    for interval, expected in intervals:
        assert values((await ask(api, f"/{HALL}", **interval)).json()) == expected, interval
    for unmet in (f"timerel=after&timeAt={at(10)}", "timeproperty=deletedAt", "attrs=co2"):
        await api.problem(404, "ResourceNotFound", "GET", f"/temporal/entities/{HALL}?{unmet}")
    assert await found(api, type="Room", attrs="co2") == []
    assert (await ask(api, type="Room", timerel="after", timeAt=at(10))).json() == []


async def test_instances_are_chosen_by_dataset(api: Api) -> None:
    document = evolution(temperature=[*measured(6, 8), *measured(7, 9, datasetId="urn:d:1")])
    await post(api, document)
    for datasets, expected in (("urn:d:1", [7, 9]), ("@none", [6, 8]), ("@none,urn:d:1", [6, 7, 8, 9])):
        assert values((await ask(api, f"/{HALL}", datasetId=datasets)).json()) == expected
    assert values((await ask(api, f"/{HALL}", datasetId="urn:d:1", lastN=1)).json()) == [9]
    assert (await ask(api, f"/{HALL}", datasetId="urn:d:2", **ALL)).json() == evolution()
    assert (await ask(api, type="Room", datasetId="urn:d:2", **ALL)).json() == [evolution()]


async def test_temporal_values_are_pairs(api: Api) -> None:
    await post(api, evolution(temperature=measured(6, 7)))
    expected = evolution(temperature={"type": "Property", "values": [[6, at(6)], [7, at(7)]]})
    ways: list[dict[str, Any]] = [{"options": "temporalValues"}, {"format": "temporalValues"}, {"format": "simplified"}]
    for asked in ways:
        assert (await ask(api, f"/{HALL}", **asked)).json() == expected
        assert (await ask(api, type="Room", **ALL, **asked)).json() == [expected]
    concise = (await ask(api, f"/{HALL}", format="concise")).json()
    assert concise["temperature"][0] == {"value": 6, "observedAt": at(6)}


async def test_a_deletion_is_an_instance(api: Api) -> None:
    target = {"type": "Relationship", "object": "urn:x:1", "datasetId": "urn:d:1"}
    scope = {"scope": "/A"}
    await api.ask("POST", "/entities", evolution(ROOM, isIn=target, temperature=measured(6)[0], **scope), status=201)
    await api.ask("DELETE", f"/entities/{ROOM}/attrs/isIn?datasetId=urn:d:1", status=204)
    await api.ask("DELETE", f"/entities/{ROOM}/attrs/scope", status=204)
    shown = (await ask(api, f"/{ROOM}", timeproperty="deletedAt")).json()
    (deletion,) = shown["isIn"]
    assert deletion.pop("deletedAt") > "2026"
    assert deletion == {"type": "Relationship", "object": NULL, "datasetId": "urn:d:1"}
    (deletion,) = shown["scope"]
    assert deletion["value"] == NULL and shown.keys() == {"id", "type", "isIn", "scope"}
    pairs = (await ask(api, f"/{ROOM}", timeproperty="deletedAt", format="temporalValues")).json()["isIn"]
    assert pairs["type"] == "Relationship" and pairs["objects"][0][0] == NULL
    assert [each.get("object") for each in (await ask(api, f"/{ROOM}")).json()["isIn"]] == ["urn:x:1", NULL]
    # The same said by a client.
    await post(api, evolution(temperature=[*measured(6), {"value": NULL, "observedAt": at(7)}]))
    assert values((await ask(api, f"/{HALL}", **ALL)).json()) == [6, NULL]


async def test_the_scope_is_observed_when_it_was_modified(api: Api) -> None:
    await api.ask("POST", "/entities", evolution(ROOM, scope="/A"), status=201)
    await api.ask("PATCH", f"/entities/{ROOM}", {"scope": ["/A", "/B"]}, status=204)
    first, second = (await ask(api, f"/{ROOM}", options="sysAttrs", **ALL)).json()["scope"]
    assert (first["value"], second["value"]) == ("/A", ["/A", "/B"])
    assert second["observedAt"] == second["modifiedAt"]


async def test_the_system_s_times_are_shown_when_they_are_asked_for(api: Api) -> None:
    later = "2100-01-01T00:00:00Z"
    await api.ask(
        "POST", "/entities", evolution(ROOM, expiresAt=later, temperature=measured(6, expiresAt=later)[0]), status=201
    )
    both: list[tuple[str, dict[str, Any]]] = [(f"/{ROOM}", {}), ("", {"type": "Room"})]
    for path, asked in both:
        assert b"expiresAt" not in (answer := await ask(api, path, **ALL, **asked)).body
        assert b"createdAt" not in answer.body and b"modifiedAt" not in answer.body
        shown = (await ask(api, path, options="sysAttrs", **ALL, **asked)).json()
        shown = shown[0] if isinstance(shown, list) else shown
        assert shown["expiresAt"] == shown["temperature"][0]["expiresAt"] == later
        assert shown.keys() > {"createdAt", "modifiedAt"} and "createdAt" in shown["temperature"][0]
    await post(api, evolution(temperature=measured(6)))
    shown = (await ask(api, f"/{HALL}", options="sysAttrs")).json()
    assert "createdAt" in shown and "createdAt" in shown["temperature"][0]


async def test_more_instances_than_one_answer_holds_come_in_parts_that_are_whole(api: Api) -> None:
    minutes = [f"2026-11-20T06:{minute:02}:00Z" for minute in range(50)]
    temperature = [{"type": "Property", "value": n, "observedAt": when} for n, when in enumerate(minutes)]
    await post(api, evolution(temperature=temperature, co2=temperature[::10], late=temperature[45:]))
    first = await ask(api, f"/{HALL}", status=206)
    assert first.headers["Content-Range"] == f"date-time {minutes[0]}-{minutes[19]}/*"
    shown = first.json()
    assert (values(shown), values(shown, "co2"), shown["late"]) == (list(range(20)), [0, 10], [])
    rest = await ask(api, type="Room", timerel="after", timeAt=minutes[19], status=206)
    assert rest.headers["Content-Range"] == f"date-time 2026-11-20T06:19:00.000Z-{minutes[38]}/*"
    assert values(rest.json()[0]) == list(range(19, 39))
    last = await ask(api, f"/{HALL}", timerel="before", timeAt=minutes[49], lastN=30, status=206)
    assert last.headers["Content-Range"] == f"date-time 2026-11-20T06:49:00.000Z-{minutes[29]}/30"
    assert values(last.json()) == list(range(48, 28, -1))
    by_creation = await ask(api, f"/{HALL}", timeproperty="createdAt", status=206)
    assert len(by_creation.json()["temperature"]) == 20
    assert len(values((await ask(api, f"/{HALL}", lastN=20)).json())) == 20, "no more was asked for: it is whole"
    assert (await ask(api, f"/{HALL}", pick="id,co2")).json().keys() == {"id", "co2"}
    assert (await ask(api, f"/{HALL}", omit="temperature,late")).json().keys() == {"id", "type", "co2"}
    assert (await ask(api, f"/{HALL}", pick="id")).json() == {"id": HALL}


async def test_instances_of_one_moment_are_read_each_once(api: Api) -> None:
    many = [{"type": "Property", "value": n, "observedAt": at(6)} for n in range(700)]
    few = [{**each, "datasetId": "urn:d:1"} for each in many[:5]]
    await post(api, evolution(temperature=[*many, *few, *many]))
    for asked in (ALL, {"lastN": 9}, {"timeproperty": "modifiedAt"}):
        shown = (await ask(api, f"/{HALL}", datasetId="urn:d:1", **asked)).json()
        assert sorted(values(shown)) == list(range(5)), asked


async def test_pages_of_entities_and_of_what_is_known_by_its_history_alone(api: Api) -> None:
    for word in "abcd":
        await api.ask(
            "POST", "/entities", evolution(f"urn:ngsi-ld:Room:{word}", temperature=measured(6)[0]), status=201
        )
        await post(api, evolution(f"urn:ngsi-ld:Room:old-{word}", temperature=measured(6)))
    await api.ask("POST", "/entities", evolution("urn:ngsi-ld:Room:silent"), status=201)
    await post(api, {"id": "urn:ngsi-ld:Lift:1", "type": "Lift", "temperature": measured(6)})
    path: str | None = "/temporal/entities?type=Room&timerel=after&timeAt=2000-01-01T00:00:00Z&limit=3&count=true"
    seen: list[list[str]] = []
    while path is not None:
        answer = await api.ask("GET", path, status=200)
        assert answer.headers["NGSILD-Results-Count"] == "8"
        seen.append([each["id"].rpartition(":")[2] for each in answer.json()])
        following = [each for each in answer.headers.getall("Link") if 'rel="next"' in each]
        path = following[0].partition(">")[0].removeprefix("</ngsi-ld/v1") if following else None
    assert seen == [["a", "b", "c"], ["d", "old-a", "old-b"], ["old-c", "old-d"]]
    assert await found(api, local="true", idPattern="old-[ab]$") == [f"urn:ngsi-ld:Room:old-{word}" for word in "ab"]
    assert await found(api, type="Room", id="urn:ngsi-ld:Room:old-a,urn:ngsi-ld:Room:d,urn:ngsi-ld:Lift:1") == [
        "urn:ngsi-ld:Room:d",
        "urn:ngsi-ld:Room:old-a",
    ]
    assert len(await found(api, type="*")) == 9 and len(await found(api, attrs="temperature")) == 9
    ordered = await found(api, type="Room", orderBy="id;desc", local="true")
    assert ordered == sorted(ordered, reverse=True) and len(ordered) == 8
    assert (await ask(api, type="Room", limit=0, count="true", **ALL)).json() == []
    for number in range(30):
        await post(api, evolution(f"urn:ngsi-ld:Room:more-{number}", temperature=measured(6)))
    interval = "timerel=after&timeAt=2000-01-01T00:00:00Z"
    detail = await api.problem(403, "TooManyResults", "GET", f"/temporal/entities?type=Room&count=true&{interval}")
    assert "limits.temporal_entities" in detail


async def test_what_cannot_be_asked_is_said(api: Api) -> None:
    await post(api, evolution(temperature=measured(6)))
    interval = "timerel=after&timeAt=2000-01-01T00:00:00Z"
    for status, kind, parameters in (
        (400, "BadRequestData", "type=Room"),
        (400, "BadRequestData", interval),
        (400, "BadRequestData", f"type=Room&{interval}&endTimeAt=2026-01-01T00:00:00Z"),
        (400, "BadRequestData", f"type=Room&{interval}&lastN=0"),
        (400, "BadRequestData", f"type=Room&{interval}&pick=isIn{{name}}"),
        (400, "BadRequestData", f"type=Room&{interval}&orderBy=id"),
        (400, "BadRequestData", f"type=Room&{interval}&orderBy=temperature&local=true"),
        (400, "BadRequestData", f"type=Room&{interval}&q=a==b"),
        (400, "InvalidRequest", f"type=Room&{interval}&join=inline"),
        (400, "InvalidRequest", f"type=Room&{interval}&options=keyValues"),
        (400, "InvalidRequest", f"type=Room&{interval}&format=temporalValues&options=aggregatedValues,x"),
        (422, "OperationNotSupported", f"type=Room&{interval}&q=temperature>5"),
        (422, "OperationNotSupported", f"type=Room&{interval}&scopeQ=/A"),
        (422, "OperationNotSupported", f"type=Room&{interval}&csf=a==5"),
        (
            *(422, "OperationNotSupported"),
            f"type=Room&{interval}&georel=near;maxDistance==1&geometry=Point&coordinates=[1,2]",
        ),
        (422, "OperationNotSupported", f"type=Room&{interval}&format=aggregatedValues&aggrMethods=avg"),
    ):
        await api.problem(status, kind, "GET", f"/temporal/entities?{quote(parameters, safe='=&')}")
    await ask(api, type="Room", format="temporalValues", options="aggregatedValues", aggrMethods="sum", **ALL)
    await ask(api, "/urn:ngsi-ld:Room:unheard", status=404)
    await ask(api, "/no-uri", status=400)
    for path in (f"/temporal/entities/{HALL}", f"/temporal/entities?type=Room&{interval}"):
        geo = await api.ask("GET", path, status=406, Accept="application/geo+json")
        assert "application/json, application/ld+json" in geo.json()["detail"]
        plain = await api.ask("GET", path, status=200, Accept="*/*")
        assert plain.headers["Content-Type"] == "application/json" and "json-ld#context" in plain.headers["Link"]
        linked = (await api.ask("GET", path, status=200, Accept="application/ld+json")).json()
        assert "@context" in (linked[0] if isinstance(linked, list) else linked)
        older = await api.ask("GET", path, Prefer="ngsi-ld=1.2")
        assert older.status == 203 and older.headers["Preference-Applied"] == "ngsi-ld=1.2"


async def test_a_tenant_has_evolutions_of_its_own(api: Api) -> None:
    await api.ask("POST", "/temporal/entities", evolution(temperature=measured(6)), status=201, NGSILD_Tenant="b")
    assert (await api.ask("GET", f"/temporal/entities/{HALL}", status=200, NGSILD_Tenant="b")).json()["id"] == HALL
    await ask(api, f"/{HALL}", status=404)
