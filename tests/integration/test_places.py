"""Places over HTTP, on both stores: what is imported, what is within what, and all that is known of it."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from broker.clock import SECOND, iso
from broker.config import Limits, Places, StoreSettings
from tests.support.api import Api, running_broker
from tests.support.city import ELSYS, START, dev_eui, elsys_temperature, uplink
from tests.support.mongo import mongo_uri, mongo_url

__all__ = ["mongo_uri", "mongo_url"]

CSV = '''\
\ufeffid;type;name;parent;easting;northing;address.streetAddress;address.postalCode;floorArea:number:MTK;open:boolean
torget;Place;Torget;;674032;6580822;;;;
school;Building;Älvskolan;torget;674032,5;6580822,25;Skolgränd 1;012 34;4210,5;ja
101;BuildingSpace;Klassrum 101;school;;;;;62;
214;BuildingSpace;"Klassrum 214; ""det stora""";school;;;;;;nej
'''
SCHOOL = "urn:ngsi-ld:Building:school"
ROOM = "urn:ngsi-ld:BuildingSpace:214"
CLIMATE = "urn:ngsi-ld:IndoorEnvironmentObserved:0"


@pytest.fixture(params=["sqlite", "mongo"])
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    mongo = request.param == "mongo"
    url = request.getfixturevalue("mongo_url") if mongo else f"sqlite:///{tmp_path}/knutpunkt.db"
    async with running_broker(tmp_path, store=StoreSettings(url=url)) as api:
        yield api


async def imported(api: Api, file: str | dict[str, Any], status: int = 200, /, **parameters: str) -> Any:
    query = "&".join(f"{name}={quote(value)}" for name, value in parameters.items())
    kind = "text/csv; charset=utf-8" if isinstance(file, str) else "application/geo+json"
    body = (file if isinstance(file, str) else json.dumps(file)).encode()
    return (await api.ask("POST", f"/api/v1/places/import?{query}", body, status=status, Content_Type=kind)).json()


async def overview(api: Api, place: str = SCHOOL, **parameters: Any) -> Any:
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    return (await api.ask("GET", f"/api/v1/places/{place}/overview?{query}", status=200)).json()


async def entity(api: Api, entity_id: str) -> Any:
    return (await api.ask("GET", f"/entities/{entity_id}", status=200)).json()


async def sensor(api: Api, number: int, entity_id: str, kind: str = "IndoorEnvironmentObserved", **more: Any) -> None:
    document = {
        "name": f"Climate {number}",
        "entity": entity_id,
        "entityType": kind,
        "outputs": [{"quantity": "temperature", "attribute": "temperature"}],
        **more,
    }
    await api.ask("PUT", f"/api/v1/virtual-sensors/climate-{number}", document)


async def send(api: Api, number: int, celsius: float, at: int) -> None:
    """From a device that is registered and bound the first time."""
    await api.ask("PUT", "/api/v1/device-models/elsys-ers", ELSYS)
    await api.ask("PUT", f"/api/v1/devices/{dev_eui(number)}", {"model": "elsys-ers"})
    swap = {"virtualSensor": f"climate-{number}", "device": dev_eui(number), "at": iso(START - SECOND)}
    await api.ask("POST", "/api/v1/swaps", swap)
    event = uplink(number, elsys_temperature(celsius), at)
    await api.ask("POST", "/api/v1/uplinks/chirpstack?event=up", event, status=200)


# --- import -----------------------------------------------------------------------------------------------------------


async def test_a_table_of_places_becomes_entities_that_are_within_each_other(api: Api) -> None:
    done = await imported(api, CSV)
    assert (done["rows"], done["created"], done["problems"], done["warnings"]) == (4, 4, [], [])
    school = await entity(api, SCHOOL)
    assert school["type"] == "Building"
    assert school["name"]["value"] == "Älvskolan"
    assert school["containedInPlace"] == {"type": "Relationship", "object": "urn:ngsi-ld:Place:torget"}
    assert school["address"]["value"] == {"streetAddress": "Skolgränd 1", "postalCode": "012 34"}
    assert school["floorArea"] == {"type": "Property", "value": 4210.5, "unitCode": "MTK"}
    assert school["open"]["value"] is True
    longitude, latitude = school["location"]["value"]["coordinates"]
    assert (longitude, latitude) == pytest.approx((18.0592, 59.3302), abs=1e-4)
    room = await entity(api, ROOM)
    assert room["name"]["value"] == 'Klassrum 214; "det stora"'
    assert room["isSpaceOfBuilding"]["object"] == SCHOOL
    assert "location" not in room
    assert "floorArea" not in room
    tree = (await api.ask("GET", "/api/v1/places/urn:ngsi-ld:Place:torget", status=200)).json()
    assert [one["name"] for one in tree["contains"]] == ["Älvskolan"]
    assert [one["id"].rpartition(":")[2] for one in tree["contains"][0]["contains"]] == ["101", "214"]


async def test_a_dry_run_tells_all_that_is_wrong_and_writes_nothing(api: Api) -> None:
    await imported(api, CSV)
    wrong = """\
id,type,name,parent,longitude,latitude,floorArea:number
7,Building,Sju,,118.0,64.6,12
,Building,Nobody,,18.0,64.6,
8,Building,Åtta,,18.0,,many
7,Building,Sju igen,,18.0,64.6,1
9,,Nio,nowhere,674032,6580822,1
10,Building,Tio,urn:ngsi-ld:Place:gone,18.0,64.6,1
11,Building,Elva,12,18.0,64.6,1
12,Building,Tolv,11,18.0,64.6,1
13,Building,Tretton,,18.0,64.6,1,more
"""
    told = await imported(api, wrong, dryRun="true")
    problems = {(one["row"], one["member"]): one["problem"] for one in told["problems"]}
    assert set(problems) == {
        (3, "id"),
        (4, "longitude"),
        (4, "floorArea:number"),
        (5, "id"),
        (6, "type"),
        (6, "parent"),
        (6, "longitude"),
        (8, "parent"),
        (9, "parent"),
        (10, None),
    }
    assert "Row 2 has the same id" in problems[5, "id"]
    assert "crs=EPSG:3006" in problems[6, "longitude"]
    assert [one["row"] for one in told["warnings"]] == [7]
    assert (told["dryRun"], told["created"]) == (True, 2)
    refused = await imported(api, wrong, 400)
    assert refused["problems"] == told["problems"]
    assert "nothing was written" in refused["detail"]
    await api.ask("GET", "/entities/urn:ngsi-ld:Building:7", status=404)


async def test_a_dry_run_says_what_would_change_and_then_that_happens_and_then_nothing(api: Api) -> None:
    await imported(api, CSV)
    changed = CSV.replace("Älvskolan", "Nya Älvskolan").replace("62;", "63;").replace("214;", "215;")
    told = await imported(api, changed, dryRun="true")
    expected = [
        {"row": 3, "id": SCHOOL, "what": "changed", "attributes": ["name"]},
        {"row": 4, "id": "urn:ngsi-ld:BuildingSpace:101", "what": "changed", "attributes": ["floorArea"]},
    ]
    assert told["places"][:2] == expected
    assert (told["places"][2]["what"], told["places"][2]["id"][-3:]) == ("created", "215")
    assert (await entity(api, SCHOOL))["name"]["value"] == "Älvskolan"
    done = await imported(api, changed)
    assert done["places"] == told["places"]
    again = await imported(api, changed)
    assert (again["created"], again["changed"], again["unchanged"]) == (0, 0, 4)


async def test_what_other_systems_wrote_stays_and_what_did_not_change_is_not_written_again(api: Api) -> None:
    await imported(api, CSV)
    energy = {"energyClass": {"type": "Property", "value": "C"}, "address": {"value": {"addressCountry": "SE"}}}
    await api.ask("PATCH", f"/entities/{SCHOOL}", energy, status=204)
    before = (await api.ask("GET", f"/entities/{SCHOOL}?options=sysAttrs", status=200)).json()
    done = await imported(api, CSV.replace("Skolgränd 1", "Skolgränd 2"))
    assert [one["attributes"] for one in done["places"]] == [["address"]]
    after = (await api.ask("GET", f"/entities/{SCHOOL}?options=sysAttrs", status=200)).json()
    assert after["energyClass"] == before["energyClass"]
    assert after["name"] == before["name"]
    address = {"addressCountry": "SE", "streetAddress": "Skolgränd 2", "postalCode": "012 34"}
    assert after["address"]["value"] == address


async def test_geojson_with_names_and_coordinates_as_municipalities_have_them(api: Api) -> None:
    ring = [[674000, 6580800], [674100, 6580800], [674100, 6580900], [674000, 6580800]]
    file = {
        "type": "FeatureCollection",
        "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3006"}},
        "features": [
            {
                "type": "Feature",
                "id": 7,
                "properties": {"NAMN": "Biblioteket", "OBJ": "b-7", "våningar": 3, "rivet": None, "tags": ["a", 1]},
                "geometry": {"type": "Polygon", "coordinates": [ring]},
            },
        ],
    }
    done = await imported(api, file, type="Building", rename="NAMN:name,OBJ:id")
    assert done["created"] == 1
    library = await entity(api, "urn:ngsi-ld:Building:b-7")
    assert (library["name"]["value"], library["våningar"]["value"], library["tags"]["value"]) == (
        "Biblioteket",
        3,
        ["a", 1],
    )
    assert "rivet" not in library
    shown = library["location"]["value"]
    assert shown["type"] == "Polygon"
    assert all(18 < longitude < 18.1 and 59.3 < latitude < 59.4 for longitude, latitude in shown["coordinates"][0])


async def test_what_ngsi_ld_gives_as_geojson_can_be_imported_again(api: Api) -> None:
    await imported(api, CSV)
    given = await api.ask("GET", "/entities?type=Building,BuildingSpace", status=200, Accept="application/geo+json")
    again = await imported(api, given.json())
    assert (again["unchanged"], again["rows"]) == (3, 3)


@pytest.mark.parametrize(
    ("file", "parameters", "says"),
    [
        ("", {}, "empty"),
        ("name,type\na,b\n", {}, "'id'"),
        ("id,type,id\n1,b,2\n", {}, "are one"),
        ("id,a,a.b\n1,2,3\n", {}, "is a member of"),
        ("id,type\n1,B\n", {"crs": "EPSG:3021"}, "EPSG:3006"),
        ("id,type\n1,B\n", {"rename": "name"}, "'rename'"),
        ({"type": "Topology"}, {}, "FeatureCollection"),
        ({"type": "FeatureCollection", "features": [], "crs": {"properties": {"name": "EPSG:3857"}}}, {}, "'crs'"),
    ],
)
async def test_a_file_that_cannot_be_read_is_refused_and_told_why(
    tmp_path: Path, file: Any, parameters: dict[str, str], says: str
) -> None:
    async with running_broker(tmp_path) as api:
        assert says in (await imported(api, file, 400, **parameters))["detail"]


async def test_files_that_are_too_long_or_in_another_charset_say_so(tmp_path: Path) -> None:
    async with running_broker(tmp_path, places=Places(import_rows=2), limits=Limits()) as api:
        await imported(api, "id,type\n1,B\n2,B\n")
        assert "places.import_rows" in (await imported(api, "id,type\n1,B\n2,B\n3,B\n", 400))["detail"]
        swedish = "id;type;name\nö;Building;Öl\n".encode("windows-1252")
        told = await api.problem(
            400, "BadRequestData", "POST", "/api/v1/places/import", swedish, Content_Type="text/csv"
        )
        assert "charset=windows-1252" in told
        kind = "text/csv; charset=windows-1252"
        await api.ask("POST", "/api/v1/places/import", swedish, status=200, Content_Type=kind)
        assert (await entity(api, "urn:ngsi-ld:Building:%25C3%25B6"))["name"]["value"] == "Öl"
        for charset in ("unicode_escape", "idna", "zip", "klingon"):
            kind = f"text/csv; charset={charset}"
            told = await api.problem(400, "BadRequestData", "POST", "/api/v1/places/import", swedish, Content_Type=kind)
            assert "windows-1252" in told
        await api.problem(
            415, "UnsupportedMediaType", "POST", "/api/v1/places/import", b"<gml/>", Content_Type="application/gml+xml"
        )


async def test_an_import_is_for_the_tenant_that_the_request_names(api: Api) -> None:
    await api.ask("POST", "/api/v1/tenants", {"id": "soralva"}, status=201)
    kind = {"Content_Type": "text/csv", "NGSILD_Tenant": "soralva"}
    await api.ask("POST", "/api/v1/places/import", CSV.encode(), status=200, **kind)
    await api.ask("GET", f"/api/v1/places/{SCHOOL}", status=404)
    await api.ask("GET", f"/api/v1/places/{SCHOOL}", status=200, NGSILD_Tenant="soralva")


# --- virtual sensors at places ----------------------------------------------------------------------------------------


async def test_a_virtual_sensors_entity_is_tied_to_its_place_and_follows_it(api: Api) -> None:
    await imported(api, CSV)
    await sensor(api, 0, CLIMATE, place=ROOM)
    tied = await entity(api, CLIMATE)
    assert tied["type"] == "IndoorEnvironmentObserved"
    assert tied["refPointOfInterest"] == {"type": "Relationship", "object": ROOM}
    await sensor(api, 0, CLIMATE, place=SCHOOL)
    assert (await entity(api, CLIMATE))["refPointOfInterest"]["object"] == SCHOOL
    assert (await api.ask("GET", "/api/v1/virtual-sensors/climate-0")).json()["place"] == SCHOOL
    await api.ask("DELETE", f"/entities/{CLIMATE}", status=204)
    await send(api, 0, 21.5, START)
    made_anew = await entity(api, CLIMATE)
    assert made_anew["refPointOfInterest"]["object"] == SCHOOL
    assert made_anew["temperature"]["value"] == 21.5
    await sensor(api, 0, CLIMATE)
    assert "refPointOfInterest" not in await entity(api, CLIMATE)


async def test_an_entity_that_is_tied_to_the_place_already_is_left_as_it_is(api: Api) -> None:
    await imported(api, CSV)
    await sensor(api, 0, ROOM, "BuildingSpace", place=SCHOOL)
    await sensor(api, 1, ROOM, "BuildingSpace", place=ROOM)
    room = await entity(api, ROOM)
    assert room["isSpaceOfBuilding"]["object"] == SCHOOL
    assert "containedInPlace" not in room


async def test_virtual_sensors_without_a_place_are_listed_with_why(api: Api) -> None:
    await imported(api, CSV)
    await sensor(api, 0, CLIMATE, place=ROOM)
    await sensor(api, 1, "urn:ngsi-ld:IndoorEnvironmentObserved:1")
    await sensor(api, 2, "urn:ngsi-ld:IndoorEnvironmentObserved:2", place="urn:ngsi-ld:Building:gone")
    await sensor(api, 3, ROOM, "BuildingSpace")
    await sensor(api, 4, SCHOOL, "Building", place=SCHOOL)
    tied = {"id": "urn:x:5", "type": "Thing", "containedInPlace": {"type": "Relationship", "object": SCHOOL}}
    await api.ask("POST", "/entities", tied, status=201)
    await sensor(api, 5, "urn:x:5", "Thing")
    listed = (await api.ask("GET", "/api/v1/places/unplaced", status=200)).json()
    assert [(one["id"], one["reason"]) for one in listed["sensors"]] == [
        ("climate-1", "no place"),
        ("climate-2", "place not there"),
    ]
    assert listed["next"] is None
    first = (await api.ask("GET", "/api/v1/places/unplaced?limit=1", status=200)).json()
    rest = (await api.ask("GET", f"/api/v1/places/unplaced?limit=5&after={first['next']}", status=200)).json()
    assert [one["id"] for one in first["sensors"] + rest["sensors"]] == ["climate-1", "climate-2"]


async def test_a_place_that_is_no_uri_is_refused(api: Api) -> None:
    document = {"name": "x", "entity": CLIMATE, "entityType": "T", "outputs": [], "place": "room 214"}
    assert "'place'" in await api.problem(400, "BadRequestData", "PUT", "/api/v1/virtual-sensors/x", document)


# --- overview ---------------------------------------------------------------------------------------------------------


async def test_sensors_and_other_systems_meet_at_a_place(api: Api) -> None:
    await imported(api, CSV)
    await sensor(api, 0, CLIMATE, place=ROOM)
    await send(api, 0, 21.5, START)
    await sensor(api, 1, ROOM, "BuildingSpace")
    await send(api, 1, 19.5, START + SECOND)
    tenant = {"tenantOf": {"type": "Relationship", "object": "urn:org:7"}, "rent": {"value": 7, "unitCode": "SEK"}}
    await api.ask("POST", f"/entities/{ROOM}/attrs", tenant, status=204)
    bin_ = {"id": "urn:x:bin", "type": "WasteContainer", "containedInPlace": {"type": "Relationship", "object": SCHOOL}}
    await api.ask("POST", "/entities", bin_, status=201)

    shown = await overview(api)
    assert shown["place"]["id"] == SCHOOL
    assert shown["place"]["other"]["floorArea"]["unitCode"] == "MTK"
    assert [(one["name"], one["via"]) for one in shown["ancestors"]] == [("Torget", "containedInPlace")]
    summary = shown["summary"]
    assert (summary["places"], summary["entities"], summary["sensors"]) == (2, 4, 2)
    assert summary["types"] == {"BuildingSpace": 2, "IndoorEnvironmentObserved": 1, "WasteContainer": 1}
    assert summary["lastSeen"] == iso(START + SECOND)
    assert [(one["name"][:12], one["entities"], one["sensors"]) for one in shown["contains"]] == [
        ("Klassrum 101", 0, 0),
        ("Klassrum 214", 1, 2),
    ]
    assert shown["complete"]
    assert shown["next"] is None
    found = {one["id"]: one for one in shown["entities"]}
    assert set(found) == {ROOM, "urn:ngsi-ld:BuildingSpace:101", CLIMATE, "urn:x:bin"}
    climate = found[CLIMATE]
    assert (climate["within"], climate["via"], climate["level"]) == (ROOM, "refPointOfInterest", 2)
    temperature = climate["measured"]["temperature"]
    (binding,) = (await api.ask("GET", "/api/v1/virtual-sensors/climate-0")).json()["bindings"]
    assert (temperature["value"], temperature["unitCode"], temperature["observedAt"]) == (21.5, "CEL", iso(START))
    assert temperature["ageSeconds"] > 0
    assert temperature["virtualSensor"] == "climate-0"
    assert (temperature["device"], temperature["binding"]) == (dev_eui(0), binding["id"])
    (behind,) = climate["sensors"]
    assert (behind["device"], behind["model"], behind["lastSeen"], behind["rssi"]) == (
        dev_eui(0),
        "elsys-ers",
        iso(START),
        -97,
    )
    room = found[ROOM]
    assert set(room["measured"]) == {"temperature"}
    assert room["other"]["rent"]["value"] == 7
    assert room["other"]["tenantOf"] == room["other"]["tenantOf"] | {"value": "urn:org:7", "type": "Relationship"}
    assert found["urn:x:bin"]["sensors"] == []


async def test_open_alarms_of_what_is_within_are_shown_and_closed_ones_not(api: Api) -> None:
    await imported(api, CSV)
    frost = [{"id": "frost", "quantity": "temperature", "below": 5, "severity": "critical"}]
    await sensor(api, 0, CLIMATE, place=ROOM, thresholds=frost)
    await sensor(api, 1, "urn:ngsi-ld:IndoorEnvironmentObserved:elsewhere", thresholds=frost)
    now = time.time_ns() // 1000
    for number in (0, 1):
        await send(api, number, 3.0, now - 60 * SECOND)
    shown = await overview(api)
    (alarm,) = shown["alarms"]
    assert (alarm["virtualSensor"], alarm["severity"], alarm["state"]) == ("climate-0", "critical", "open")
    assert shown["summary"]["openAlarms"] == 1
    assert {one["id"]: one["openAlarms"] for one in shown["contains"]}[ROOM] == 1
    assert [one["sensors"][0]["alarms"] for one in shown["entities"] if one["id"] == CLIMATE] == [[alarm["id"]]]
    event = uplink(0, elsys_temperature(21.5), now, f_cnt=1)
    await api.ask("POST", "/api/v1/uplinks/chirpstack?event=up", event, status=200)
    warm = await overview(api)
    assert (warm["alarms"], warm["summary"]["openAlarms"]) == ([], 0)


async def test_circles_and_places_that_are_not_there_do_no_harm(api: Api) -> None:
    def within(name: str, *places: str) -> dict[str, Any]:
        return {
            "id": f"urn:p:{name}",
            "type": "Place",
            "containedInPlace": {"type": "Relationship", "object": [f"urn:p:{place}" for place in places]},
        }

    circle = [within("a", "c", "a"), within("b", "a"), within("c", "b", "a"), within("d", "gone")]
    await api.ask("POST", "/entityOperations/create", circle, status=201)
    shown = await overview(api, "urn:p:a")
    assert [one["id"] for one in shown["entities"]] == ["urn:p:b", "urn:p:c"]
    assert shown["complete"]
    assert [one["id"] for one in shown["ancestors"]] == ["urn:p:b", "urn:p:c"]
    lost = await overview(api, "urn:p:gone")
    assert (lost["place"], [one["id"] for one in lost["entities"]]) == (None, ["urn:p:d"])
    assert [(one["id"], one["type"]) for one in (await overview(api, "urn:p:d"))["ancestors"]] == [("urn:p:gone", None)]
    await api.ask("GET", "/api/v1/places/urn:p:nobody/overview", status=404)


async def test_a_large_place_comes_in_pages_and_beyond_the_limit_says_so(tmp_path: Path) -> None:
    rooms = "id;type;name;parent\nb;Building;B;\n" + "".join(f"{n};BuildingSpace;Rum {n};b\n" for n in range(300))
    building = "urn:ngsi-ld:Building:b"
    async with running_broker(tmp_path, places=Places(contained=250)) as api:
        await imported(api, rooms)
        shown = await overview(api, building)
        assert (shown["complete"], shown["summary"]["entities"], len(shown["entities"])) == (False, 250, 250)
    async with running_broker(tmp_path, places=Places(levels=1)) as api:
        met: list[str] = []
        after: str | None = ""
        while after is not None:
            page = await overview(api, building, limit=77, after=after)
            met += [one["id"] for one in page["entities"]]
            after = page["next"]
        assert len(met) == len(set(met)) == 300
        names = [one["name"] for one in page["contains"]]
        assert names[:4] == ["Rum 0", "Rum 1", "Rum 2", "Rum 3"], "as people count, not as texts are ordered"
        assert page["complete"]
        deeper = {"id": "urn:x", "type": "T", "containedInPlace": {"type": "Relationship", "object": met[7]}}
        await api.ask("POST", "/entities", deeper, status=201)
        assert not (await overview(api, building))["complete"]
    async with running_broker(tmp_path) as api:
        tree = (await api.ask("GET", f"/api/v1/places/{building}?depth=0", status=200)).json()
        assert (tree["contains"], tree["places"], tree["entities"]) == ([], 300, 301)
        told = await api.problem(400, "BadRequestData", "GET", f"/api/v1/places/{building}?depth=101")
        assert "places.levels" in told


async def test_what_has_expired_is_not_within_a_place_any_more(api: Api) -> None:
    gone = {"type": "Relationship", "object": SCHOOL, "expiresAt": "2020-01-01T00:00:00Z"}
    await imported(api, CSV)
    await api.ask("POST", "/entities", {"id": "urn:x:1", "type": "Thing", "containedInPlace": gone}, status=201)
    stays = {"type": "Relationship", "object": SCHOOL}
    ended = {"id": "urn:x:2", "type": "Thing", "expiresAt": "2020-01-01T00:00:00Z", "containedInPlace": stays}
    await api.ask("POST", "/entities", ended, status=201)
    assert {one["type"] for one in (await overview(api))["entities"]} == {"BuildingSpace"}


# --- list -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({}, ["torget", "school", "101", "214"]),
        ({"type": "Building"}, ["school"]),
        ({"search": "KLASSRUM"}, ["101", "214"]),
        ({"search": "älv"}, ["school"]),
        ({"search": "skolgränd"}, ["school"]),
        ({"search": "(.*"}, []),
        ({"near": "18.0592,59.3302,50"}, ["torget", "school"]),
        ({"near": "18.0592,59.3302,50", "type": "Place"}, ["torget"]),
        ({"near": "18.1,59.3302,50"}, []),
        ({"within": "18.05,59.33,18.06,59.34"}, ["torget", "school"]),
    ],
)
async def test_places_are_found_by_type_name_and_position(
    tmp_path: Path, parameters: dict[str, str], found: list[str]
) -> None:
    async with running_broker(tmp_path) as api:
        await imported(api, CSV)
        await api.ask(
            "POST", "/entities", {"id": "urn:x:1", "type": "Bench", "name": {"value": "Klassrum"}}, status=201
        )
        query = "&".join(f"{name}={quote(value)}" for name, value in parameters.items())
        listed = (await api.ask("GET", f"/api/v1/places?{query}", status=200)).json()
        assert {one["id"].rpartition(":")[2] for one in listed["places"]} == set(found)
        assert listed["next"] is None


async def test_the_list_of_places_has_pages(api: Api) -> None:
    await imported(api, CSV)
    met: list[str] = []
    after: str | None = ""
    while after is not None:
        page = (await api.ask("GET", f"/api/v1/places?limit=3{after and '&after=' + after}", status=200)).json()
        met += [one["name"] for one in page["places"]]
        after = page["next"]
    assert len(met) == 4
    assert {name[:12] for name in met} == {"Torget", "Älvskolan", "Klassrum 101", "Klassrum 214"}


@pytest.mark.parametrize(
    "query", ["near=18,64", "near=a,b,c", "near=18,94,1", "within=1,2,1,3", "within=1,2,3", "near=1,2,3&within=1,2,3,4"]
)
async def test_positions_that_are_none_are_refused(tmp_path: Path, query: str) -> None:
    async with running_broker(tmp_path) as api:
        told = await api.problem(400, "BadRequestData", "GET", f"/api/v1/places?{query}")
        assert "near" in told or "within" in told
