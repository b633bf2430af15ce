from __future__ import annotations

from typing import Any

import pytest

from broker.config import Limits
from broker.ngsild.model import LOCATION, Attributes, Entity, Instance
from broker.query.ast import EntityQuery, GeoRelation, HasType
from broker.query.geo import parse_geo
from broker.query.match import (
    attributes_match,
    geo_matches,
    id_matches,
    matches,
    q_matches,
    scope_matches,
    types_match,
)
from broker.query.q import parse_q
from broker.query.scope import parse_scope
from broker.query.types import parse_types

LIMITS = Limits()
AT = "2026-01-01T00:00:00.000Z"


def expand(term: str) -> str:
    return {"location": LOCATION}.get(term, term)


def instance(kind: str = "Property", **members: Any) -> Instance:
    made: dict[str, Any] = {"type": kind, "createdAt": AT, "modifiedAt": AT} | members
    return made  # type: ignore[return-value]


def entity(attrs: Attributes | None = None, **members: Any) -> Entity:
    made: dict[str, Any] = {"id": "urn:e:1", "type": ["Room"], "createdAt": AT, "modifiedAt": AT, "attrs": attrs or {}}
    return made | members  # type: ignore[return-value]


def holds(q: str, *instances: Instance) -> bool:
    return q_matches(parse_q(q, expand, LIMITS), entity({"a": list(instances)}))


def value(given: Any) -> Instance:
    return instance(value=given)


@pytest.mark.parametrize(
    ("q", "given", "expected"),
    [
        ("a==20", 20, True),
        ("a==20", 20.0, True),
        ("a==20.0", 20, True),
        ("a==20", "20", False),
        ('a=="20"', 20, False),
        ("a==1", True, False),
        ("a==true", True, True),
        ("a==true", 1, False),
        ("a==false", 0, False),
        ("a==9007199254740993", 9007199254740992, False),
        ("a!=20", 21, True),
        ("a!=20", 20.0, False),
        ("a!=20", "20", True),
        ("a!=20", {"b": 20}, True),
        ("a!=20", None, True),
        ("a!=20", [], True),
        ("a==20", None, False),
        ("a", None, True),
        ("a", [], True),
        ("a==1,2", 2, True),
        ("a==1,2", 3, False),
        ("a!=1,2", 3, True),
        ("a!=1,2", 2, False),
        ("a==10..20", 10, True),
        ("a==10..20", 20, True),
        ("a==10..20", 20.5, False),
        ("a==10..20", "15", False),
        ("a!=10..20", 9, True),
        ("a!=10..20", 15, False),
        ("a!=10..20", "15", True),
        ('a=="b".."d"', "c", True),
        ("a>20", 20, False),
        ("a>20", 20.1, True),
        ("a>20", "30", False),
        ("a>0", True, False),
        ("a>=20", 20, True),
        ("a<20", 19, True),
        ("a<=20", 21, False),
        ('a<"b"', "a", True),
        ('a<"b"', "B", True),
        ('a<"ö"', "z", True),
        # arrays
        ('a=="red"', ["blue", "red"], True),
        ('a!="red"', ["blue", "red"], False),
        ('a!="red"', ["blue", "black"], True),
        ('a=="black","red"', ["red", "blue"], True),
        ('a!="black","red"', ["red", "blue"], False),
        ("a>5", [1, 9], True),
        ("a>5", ["x", 1], False),
        ("a==1", [[1]], False),
        # times
        ("a==2026-01-01T12:00:00Z", "2026-01-01T12:00:00.000Z", True),
        ("a>2026-01-01T12:00:00Z", "2026-01-01T12:00:00.5Z", True),
        ("a>2026-01-01T12:00:00Z", {"@type": "DateTime", "@value": "2026-01-01T13:00:00Z"}, True),
        ("a==2026-01-01T12:00:00Z..2026-01-02T00:00:00Z", "2026-01-01T23:59:59,9Z", True),
        ("a>2026-01-01", "2026-01-02", True),
        ("a>2026-01-01", "2026-01-02T00:00:00Z", False),
        ("a<12:30:00Z", "09:00:00Z", True),
        ("a>2026-01-01T12:00:00Z", "later", False),
        # patterns
        ('a~="^R.*m"', "Room", True),
        ('a~="oo"', "Room", True),
        ('a~="oo"', 5, False),
        ('a~="oo"', ["x", "Room"], True),
        ('a~="^2026"', "2026-01-01T12:00:00Z", True),
        ('a!~="oo"', "Hall", True),
        ('a!~="oo"', "Room", False),
        ('a!~="oo"', 5, False),
        ('a!~="oo"', ["Hall", "Room"], False),
        ('a!~="oo"', [5, "Hall"], True),
        # members
        ('a[city]=="Berlin"', {"city": "Berlin"}, True),
        ('a[city]!="Bonn"', {"city": "Berlin"}, True),
        ('a[city]!="Bonn"', {"street": "x"}, False),
        ("a[city]", {"city": None}, True),
        ("a[city]", {}, False),
        ("a[city]", "Berlin", False),
        ("a[b.c]==40", {"b": {"c": 40}}, True),
        ("a[b.c]==40", {"b": [{"c": 40}]}, False),
        ("a[b]==40", [{"b": 40}], False),
        ("a[b]==40", {"b": [1, 40]}, True),
        ("a[@value]==1", {"@value": 1}, True),
    ],
)
def test_a_property_meets_a_term_as_the_table_says(q: str, given: Any, expected: bool) -> None:
    assert holds(q, value(given)) is expected


@pytest.mark.parametrize("q", ["a", "a==1", "a!=1", "a>1", 'a~="x"', 'a!~="x"', "a.b", "a[b]", "a.observedAt"])
def test_nothing_holds_for_an_attribute_that_is_not_there(q: str) -> None:
    assert not q_matches(parse_q(q, expand, LIMITS), entity())


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ("a==urn:x:1", True),
        ('a=="urn:x:1"', True),
        ("a==urn:x:1,urn:x:9", True),
        ("a==urn:x:3", False),
        ("a!=urn:x:1", False),
        ("a!=urn:x:3", True),
        ('a>"urn:x:0"', False),
        ('a~="urn"', False),
        ('a!~="zzz"', False),
        ("a[b]", False),
    ],
)
@pytest.mark.parametrize(
    "related",
    [
        instance("Relationship", object=["urn:x:1", "urn:x:2"]),
        instance("Relationship", object="urn:x:1"),
        instance("ListRelationship", objectList=["urn:x:2", "urn:x:1"]),
    ],
)
def test_a_relationship_is_only_equal_or_not(q: str, related: Instance, expected: bool) -> None:
    assert holds(q, related) is expected


@pytest.mark.parametrize(
    ("q", "texts", "expected"),
    [
        ('a=="red"', {"fr": "rouge", "en": "red"}, True),
        ('a[*]=="red"', {"fr": "rouge", "en": "red"}, True),
        ('a[en]=="red"', {"fr": "rouge", "en": "red"}, True),
        ('a[en]=="red"', {"fr": "red", "en": "black"}, False),
        ('a[en]=="red"', {"fr": ["chat"], "en": ["red", "cat"]}, True),
        ('a=="red"', {"fr": ["chat"], "en": ["red", "cat"]}, True),
        ('a[en]!="red"', {"fr": "noir", "en": "black"}, True),
        ('a[en]!="red"', {"fr": "noir", "en": "red"}, False),
        ('a[de]!="red"', {"fr": "noir"}, False),
        ('a[*]!="red"', {"fr": "noir", "en": "black"}, True),
        ('a!="red"', {"fr": ["rouge"], "en": ["red", "black"]}, False),
        ('a~="^r"', {"en": "red"}, True),
    ],
)
def test_a_language_property_is_searched_in_one_language_or_all(q: str, texts: dict[str, Any], expected: bool) -> None:
    assert holds(q, instance("LanguageProperty", languageMap=texts)) is expected


def test_other_kinds_of_attributes_have_their_values() -> None:
    assert holds("a==https://e.org/Male", instance("VocabProperty", vocab="https://e.org/Male"))
    assert holds("a==2", instance("ListProperty", valueList=[1, 2]))
    assert holds('a[value]=="x"', instance("JsonProperty", json={"value": "x"}))
    assert holds('a[type]=="Point"', instance("GeoProperty", value={"type": "Point", "coordinates": [1, 2]}))


def test_any_instance_of_an_attribute_will_do() -> None:
    two = instance(value=1), instance(value=2, datasetId="urn:d:1")
    assert holds("a==2", *two)
    assert holds("a!=2", *two)
    assert holds("a.datasetId==urn:d:1", *two)
    assert not holds("a==3", *two)


def test_sub_attributes_and_members_of_instances_are_reached() -> None:
    inner = instance(value=0.5, unitCode="P1", attrs={"c": [instance(value={"d": 7})]})
    outer = instance(value=1, observedAt="2026-01-01T00:00:00Z", attrs={"b": [inner]})
    assert holds("a.b==0.5", outer)
    assert holds("a.b.c[d]==7", outer)
    assert holds('a.b.unitCode=="P1"', outer)
    assert holds("a.observedAt>=2025-12-31T00:00:00Z", outer)
    assert holds("a.modifiedAt", outer)
    assert not holds("a.unitCode", outer)
    assert not holds("a.observedAt[x]", outer)
    assert not holds("a.observedAt.b", outer)
    assert not holds("a.c", outer)


def test_terms_combine() -> None:
    assert holds("a>1;a<3", value(2))
    assert not holds("a>1;a<2", value(2))
    assert holds("a>9|(a>1;a<3)", value(2))
    assert not holds("a>9|b", value(2))


def test_the_entity_has_its_own_times() -> None:
    assert q_matches(parse_q("modifiedAt>=2026-01-01T00:00:00Z", expand, LIMITS), entity())
    assert not q_matches(parse_q("expiresAt", expand, LIMITS), entity())
    assert q_matches(parse_q("expiresAt", expand, LIMITS), entity(expiresAt=AT))


@pytest.mark.parametrize(
    ("selection", "expected"),
    [("Room", True), ("House", False), ("House,Room", True), ("(Room;House)", False), ("(Room;Hall)", True)],
)
def test_types(selection: str, expected: bool) -> None:
    assert types_match(parse_types(selection, expand, LIMITS), entity(type=["Room", "Hall"])) is expected


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("/Madrid/Gardens", True),
        ("/Madrid", False),
        ("/Madrid/#", True),
        ("/Madrid/Gardens/#", True),
        ("/Madrid/Gardens/Parque/#", False),
        ("/Madrid/+", True),
        ("/+/Gardens", True),
        ("/+", True),
        ("/+/+/+", False),
        ("/#", True),
        ("(/Madrid/Gardens;/CompanyA)", True),
        ("(/Madrid/Gardens;/CompanyB)", False),
        ("(/Madrid/Gardens;/CompanyB)|CompanyA", True),
        ("/companya", False),
    ],
)
def test_scopes(scope: str, expected: bool) -> None:
    assert scope_matches(parse_scope(scope, LIMITS), entity(scope=["/Madrid/Gardens", "CompanyA"])) is expected


def test_an_entity_without_scope_matches_none() -> None:
    assert not scope_matches(parse_scope("/#", LIMITS), entity())


SQUARE = "[[[17,62],[18,62],[18,63],[17,63],[17,62]]]"
INSIDE, EDGE, OUTSIDE = [17.5, 62.5], [17, 62.5], [16, 62.5]


@pytest.mark.parametrize(
    ("relation", "geometry", "coordinates", "target", "expected"),
    [
        ("within", "Polygon", SQUARE, ("Point", INSIDE), True),
        ("within", "Polygon", SQUARE, ("Point", EDGE), False),
        ("within", "Polygon", SQUARE, ("Point", OUTSIDE), False),
        ("intersects", "Polygon", SQUARE, ("Point", EDGE), True),
        ("disjoint", "Polygon", SQUARE, ("Point", OUTSIDE), True),
        ("disjoint", "Polygon", SQUARE, ("Point", INSIDE), False),
        ("contains", "Point", "[17.5,62.5]", ("Polygon", [[[17, 62], [18, 62], [18, 63], [17, 63], [17, 62]]]), True),
        ("contains", "Point", "[17,62]", ("Polygon", [[[17, 62], [18, 62], [18, 63], [17, 63], [17, 62]]]), False),
        (
            *("overlaps", "Polygon", SQUARE),
            *(("Polygon", [[[17.5, 62], [19, 62], [19, 63], [17.5, 63], [17.5, 62]]]), True),
        ),
        ("overlaps", "Polygon", SQUARE, ("Point", INSIDE), False),
        ("equals", "Point", "[17.5,62.5]", ("Point", INSIDE), True),
        ("equals", "Polygon", SQUARE, ("Polygon", [[[18, 62], [18, 63], [17, 63], [17, 62], [18, 62]]]), True),
        ("intersects", "LineString", "[[16,62.5],[17.6,62.5]]", ("Point", INSIDE), True),
    ],
)
def test_geo_relations(
    relation: GeoRelation, geometry: str, coordinates: str, target: tuple[str, Any], expected: bool
) -> None:
    query = parse_geo(relation, geometry, coordinates, None, expand, LIMITS)
    place = instance("GeoProperty", value={"type": target[0], "coordinates": target[1]})
    assert geo_matches(query, entity({LOCATION: [place]})) is expected


def test_near_is_a_distance_in_metres() -> None:
    place = entity({LOCATION: [instance("GeoProperty", value={"type": "Point", "coordinates": [0, 0.001]})]})
    for georel, expected in [
        ("near;maxDistance==112", True),
        ("near;maxDistance==111", False),
        ("near;minDistance==111", True),
        ("near;minDistance==112", False),
    ]:
        assert geo_matches(parse_geo(georel, "Point", "[0,0]", None, expand, LIMITS), place) is expected
        street = parse_geo(georel, "LineString", "[[-0.01,0],[0.01,0]]", None, expand, LIMITS)
        assert geo_matches(street, place) is expected


@pytest.mark.parametrize("georel", ["disjoint", "near;minDistance==1"])
def test_no_relation_holds_for_an_entity_without_a_valid_place(georel: str) -> None:
    query = parse_geo(georel, "Point", "[0,0]", None, expand, LIMITS)
    assert not geo_matches(query, entity())
    assert not geo_matches(query, entity({LOCATION: [value({"type": "Point", "coordinates": [5, 5]})]}))
    assert not geo_matches(query, entity({LOCATION: [instance("GeoProperty", value={"type": "Point"})]}))


def test_any_instance_of_the_place_will_do() -> None:
    query = parse_geo("within", "Polygon", SQUARE, None, expand, LIMITS)
    places = [
        instance("GeoProperty", value={"type": "Point", "coordinates": at}, datasetId=f"urn:d:{at[0]}")
        for at in (OUTSIDE, INSIDE)
    ]
    assert geo_matches(query, entity({LOCATION: places}))


def test_ids_and_attributes() -> None:
    assert id_matches(EntityQuery(ids=("urn:e:1", "urn:e:2")), entity())
    assert not id_matches(EntityQuery(ids=("urn:e:2",)), entity())
    assert id_matches(EntityQuery(id_pattern="e:[0-9]$"), entity())
    assert not id_matches(EntityQuery(ids=("urn:e:1",), id_pattern="^e"), entity())
    assert attributes_match(("b", "a"), entity({"a": [value(1)]}))
    assert not attributes_match(("b",), entity({"a": [value(1)]}))


def test_all_conditions_must_hold() -> None:
    query = EntityQuery(types=HasType("Room"), q=parse_q("a>1", expand, LIMITS), attributes=("a",))
    assert matches(query, entity({"a": [value(2)]}))
    assert not matches(query, entity({"a": [value(1)]}))
    assert not matches(query, entity({"a": [value(2)]}, type=["Hall"]))
    assert matches(EntityQuery(), entity())
