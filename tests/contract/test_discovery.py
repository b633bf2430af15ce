"""Types and attributes in use, as entities come, change and go."""

from __future__ import annotations

import pytest

from broker.ngsild.model import LOCATION
from broker.stores.base import AttributeInfo, ChangeSet, TenantStore, TypeInfo
from tests.support.stores import drop, entities_of, entity, iri, prop, put, relationship

ROOM = entity("urn:e:1", "Room", temperature=21.5, location=(20, 63))
LAB = entity(
    "urn:e:2",
    "Room",
    "Lab",
    attrs={
        iri("temperature"): [prop(1), prop(2, datasetId="urn:d:1")],
        iri("isIn"): [relationship("urn:b:1")],
    },
)
BIN = entity("urn:e:3", "Bin", attrs={iri("isIn"): [prop("nowhere")]})
PROPERTY, RELATIONSHIP = frozenset({"Property"}), frozenset({"Relationship"})


@pytest.fixture
async def city(tenant: TenantStore) -> TenantStore:
    await tenant.commit(entities_of(ROOM, LAB, BIN))
    return tenant


async def test_an_empty_store_has_no_types_and_no_attributes(tenant: TenantStore) -> None:
    assert await tenant.entity_types() == [] and await tenant.attributes() == []
    assert await tenant.type_details() == [] and await tenant.attribute_details() == []
    assert await tenant.type_details(iri("Room")) == [] and await tenant.attribute_details(iri("isIn")) == []


async def test_types_and_attributes_are_listed_in_order(city: TenantStore) -> None:
    assert await city.entity_types() == [iri("Bin"), iri("Lab"), iri("Room")]
    assert await city.attributes() == [iri("isIn"), iri("temperature"), LOCATION]


async def test_a_type_is_told_with_its_number_of_entities_and_their_attributes(city: TenantStore) -> None:
    room = TypeInfo(
        iri("Room"),
        2,
        {iri("isIn"): RELATIONSHIP, iri("temperature"): PROPERTY, LOCATION: frozenset({"GeoProperty"})},
    )
    lab = TypeInfo(iri("Lab"), 1, {iri("isIn"): RELATIONSHIP, iri("temperature"): PROPERTY})
    bin_ = TypeInfo(iri("Bin"), 1, {iri("isIn"): PROPERTY})
    assert await city.type_details() == [bin_, lab, room]
    assert await city.type_details(iri("Room")) == [room]
    assert await city.type_details(iri("Unheard")) == [] == await city.type_details(iri("isIn"))


async def test_an_attribute_is_told_with_its_instances_types_and_entity_types(city: TenantStore) -> None:
    inside = AttributeInfo(iri("isIn"), 2, PROPERTY | RELATIONSHIP, frozenset({iri("Room"), iri("Lab"), iri("Bin")}))
    temperature = AttributeInfo(iri("temperature"), 3, PROPERTY, frozenset({iri("Room"), iri("Lab")}))
    location = AttributeInfo(LOCATION, 1, frozenset({"GeoProperty"}), frozenset({iri("Room")}))
    assert await city.attribute_details() == [inside, temperature, location]
    assert await city.attribute_details(iri("isIn")) == [inside]
    assert await city.attribute_details(iri("Room")) == []


async def test_what_no_entity_has_any_more_is_not_there(city: TenantStore) -> None:
    changed = entity("urn:e:1", "Hall", attrs={iri("temperature"): [relationship("urn:t:1")]})
    await city.commit(ChangeSet(entities=[put(changed, 4, expected=1)]))
    touched = LAB | {"attrs": {iri("temperature"): [prop(3)]}}
    await city.commit(ChangeSet(entities=[put(touched, 5, 2, ["temperature", "isIn"]), drop("urn:e:3", 6, 3)]))
    assert await city.entity_types() == [iri("Hall"), iri("Lab"), iri("Room")]
    assert await city.attributes() == [iri("temperature")]
    assert await city.type_details(iri("Room")) == [TypeInfo(iri("Room"), 1, {iri("temperature"): PROPERTY})]
    assert await city.attribute_details() == [
        AttributeInfo(iri("temperature"), 2, PROPERTY | RELATIONSHIP, frozenset({iri("Hall"), iri("Lab"), iri("Room")}))
    ]
