"""What the Smart Data Models want beside the values: when, by which devices, where."""

from __future__ import annotations

from typing import Any

import pytest

from broker.clock import SECOND, Stamp, iso
from broker.devices.frame import OBSERVED_BY, frame_of, framed, moment
from broker.devices.located import TAKEN_FROM, located, places_needed
from broker.devices.model import VirtualSensor
from broker.jsonld.own import PUBLISHED, published_terms
from broker.ngsild.model import DEFAULT_VOCAB, LOCATION, Attributes, Entity, Instance, value_of

NOW = 1_790_000_000 * SECOND
STAMP = Stamp(NOW, iso(NOW), 7)
INDOOR = DEFAULT_VOCAB + "IndoorEnvironmentObserved"
NOISE = DEFAULT_VOCAB + "NoiseLevelObserved"
POINT = {"type": "Point", "coordinates": [18.07, 64.62]}
OTHER = {"type": "Point", "coordinates": [18.11, 64.63]}


def value(at: int, device: str = "urn:d1") -> list[Instance]:
    by: Instance = {"type": "Relationship", "object": device}
    return [{"type": "Property", "value": 1, "observedAt": iso(at), "attrs": {OBSERVED_BY: [by]}}]


def put(attrs: Attributes, changed: dict[str, Instance | None]) -> None:
    for name, made in changed.items():
        if made is None:
            del attrs[name]
        else:
            attrs[name] = [made]


def said(attrs: Attributes) -> dict[str, Any]:
    return {
        name.removeprefix(DEFAULT_VOCAB): value_of(attrs[name][0])
        for name in attrs
        if not name.endswith(("temperature", "co2", "LAeq"))
    }


def at(time: int) -> dict[str, str]:
    return {"@type": "DateTime", "@value": iso(time)}


def test_date_observed_is_the_newest_observations_and_ref_device_has_the_devices_behind_the_values() -> None:
    attrs: Attributes = {DEFAULT_VOCAB + "temperature": value(NOW)}
    put(attrs, framed(attrs, [INDOOR], STAMP, NOW))
    assert said(attrs) == {"dateObserved": at(NOW), "refDevice": "urn:d1"}
    assert framed(attrs, [INDOOR], STAMP, NOW) == {}
    assert framed(attrs, [INDOOR], STAMP, NOW - SECOND) == {}, "late data is history"
    attrs[DEFAULT_VOCAB + "co2"] = value(NOW + SECOND, "urn:d2")
    put(attrs, framed(attrs, [INDOOR], STAMP, NOW + SECOND))
    assert said(attrs) == {"dateObserved": at(NOW + SECOND), "refDevice": ["urn:d1", "urn:d2"]}


def test_what_is_taken_back_takes_the_frame_back() -> None:
    attrs: Attributes = {
        DEFAULT_VOCAB + "temperature": value(NOW),
        DEFAULT_VOCAB + "co2": value(NOW + SECOND, "urn:d2"),
    }
    put(attrs, framed(attrs, [INDOOR], STAMP))
    del attrs[DEFAULT_VOCAB + "co2"]
    put(attrs, framed(attrs, [INDOOR], STAMP))
    assert said(attrs) == {"dateObserved": at(NOW), "refDevice": "urn:d1"}
    del attrs[DEFAULT_VOCAB + "temperature"]
    put(attrs, framed(attrs, [INDOOR], STAMP))
    assert said(attrs) == {}


def test_noise_is_of_the_period_since_the_observation_before() -> None:
    attrs: Attributes = {DEFAULT_VOCAB + "LAeq": value(NOW)}
    put(attrs, framed(attrs, [NOISE], STAMP, NOW))
    assert (said(attrs)["dateObservedFrom"], said(attrs)["dateObservedTo"]) == (at(NOW), at(NOW))
    put(attrs, framed(attrs, [NOISE], STAMP, NOW + 600 * SECOND))
    assert (said(attrs)["dateObservedFrom"], said(attrs)["dateObservedTo"]) == (at(NOW), at(NOW + 600 * SECOND))


def test_a_type_that_is_not_known_has_no_frame_and_a_types_names_are_of_its_own_context() -> None:
    assert frame_of([DEFAULT_VOCAB + "Greenhouse"]) is None
    assert framed({DEFAULT_VOCAB + "temperature": value(NOW)}, ["urn:Greenhouse"], STAMP, NOW) == {}
    meant = published_terms(PUBLISHED[1])
    frame = frame_of(["urn:other", meant["WeatherObserved"]])
    assert frame is not None
    assert frame.observed == meant["dateObserved"] == "https://smartdatamodels.org/dateObserved"


@pytest.mark.parametrize("value", [{"@type": "DateTime", "@value": "2026-11-21T10:00:00Z"}, "2026-11-21T10:00:00Z"])
def test_a_time_is_read_whether_it_is_typed_or_a_text(value: Any) -> None:
    assert iso(moment({"type": "Property", "value": value}) or 0) == "2026-11-21T10:00:00.000Z"
    assert moment({"type": "Property", "value": [value]}) is None
    assert moment(None) is None


# --- where ------------------------------------------------------------------------------------------------------------


def entity(name: str, geometry: Any = None, **ties: str) -> Entity:
    attrs: Attributes = {DEFAULT_VOCAB + tie: [{"type": "Relationship", "object": to}] for tie, to in ties.items()}
    if geometry is not None:
        attrs[LOCATION] = [{"type": "GeoProperty", "value": geometry}]
    return {"id": name, "type": ["T"], "attrs": attrs, "createdAt": "", "modifiedAt": ""}


def sensor(place: str | None) -> VirtualSensor:
    return VirtualSensor(id="s", name="s", entity="urn:e", entity_type=INDOOR, outputs=(), place=place)


ROOM = entity("urn:room", isSpaceOfBuilding="urn:house", containedInPlace="urn:town")
HOUSE = entity("urn:house", POINT, containedInPlace="urn:town")


def test_an_entity_is_where_its_place_is_or_what_that_is_in() -> None:
    city = {one["id"]: one for one in (ROOM, HOUSE, entity("urn:town", OTHER))}
    found = located(sensor("urn:room"), city.get, STAMP)
    assert found is not None
    assert (found["type"], found["value"]) == ("GeoProperty", POINT)
    assert found["attrs"][TAKEN_FROM][0]["object"] == "urn:house"
    assert places_needed(sensor("urn:room"), city.get) == {"urn:room", "urn:house"}
    assert places_needed(sensor("urn:room"), dict[str, Entity]().get) == {"urn:room"}
    assert places_needed(sensor(None), city.get) == places_needed(sensor("urn:e"), city.get) == set()


def test_its_location_follows_its_place_but_never_replaces_what_a_client_wrote() -> None:
    city = {"urn:house": HOUSE, "urn:e": entity("urn:e")}
    made = located(sensor("urn:house"), city.get, STAMP)
    assert made is not None
    city["urn:e"]["attrs"][LOCATION] = [made]
    assert located(sensor("urn:house"), city.get, STAMP) is None
    city["urn:house"] = entity("urn:house", OTHER)
    moved = located(sensor("urn:house"), city.get, STAMP)
    assert moved is not None
    assert moved["value"] == OTHER
    city["urn:e"] = entity("urn:e", POINT)
    assert located(sensor("urn:house"), city.get, STAMP) is None
    assert places_needed(sensor("urn:house"), city.get) == set()


def test_places_that_lead_in_a_circle_or_nowhere_say_nothing() -> None:
    city = {"urn:a": entity("urn:a", containedInPlace="urn:b"), "urn:b": entity("urn:b", containedInPlace="urn:a")}
    assert located(sensor("urn:a"), city.get, STAMP) is None
    assert located(sensor("urn:nowhere"), city.get, STAMP) is None
