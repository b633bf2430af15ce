"""Which subscriptions a change triggers (ETSI GS CIM 009 v1.9.1, 5.2.12, 5.8.6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.clock import SECOND, iso
from broker.ngsild.change import AttributeTrigger, EntityChange
from broker.ngsild.model import Entity
from broker.stores.base import Record
from broker.subscriptions.index import SubscriptionIndex, _triggered
from tests.unit.subscriptions.support import NOW, created, deleted, entity, iri, parsed, record, updated

ROOM = entity(temperature=21, co2=400)
WARMER = updated(ROOM, temperature="attributeUpdated")


def matched(change: EntityChange, now: int = NOW, **members: Any) -> bool:
    return SubscriptionIndex([record("urn:x:1", **members)]).match(change, now) == ["urn:x:1"]


@pytest.mark.parametrize(
    ("entities", "expected"),
    [
        ([{"type": "Room"}], True),
        ([{"type": "Hall"}], False),
        ([{"type": "*"}], True),
        ([{"type": "Hall"}, {"type": "Room"}], True),
        ([{"type": "Hall,Room"}], True),
        ([{"type": "(Hall;Room)"}], False),
        ([{"type": "Room", "id": "urn:x:Room:1"}], True),
        ([{"type": "Room", "id": "urn:x:Room:2"}], False),
        ([{"type": "Hall", "id": "urn:x:Room:1"}], False),
        ([{"type": "Room", "id": ["urn:x:Room:2", "urn:x:Room:1"]}], True),
        ([{"type": "Room", "idPattern": "Room:1$"}], True),
        ([{"type": "Room", "idPattern": "Room:2$"}], False),
        ([{"type": "Room", "id": "urn:x:Room:1", "idPattern": "no"}], True),
    ],
)
def test_entities_are_selected_by_type_id_and_pattern(entities: list[dict[str, Any]], expected: bool) -> None:
    assert matched(WARMER, entities=entities) is expected


def test_all_of_several_types_must_be_there_where_they_are_joined() -> None:
    both = updated(entity(["Room", "Office"], temperature=1), temperature="attributeUpdated")
    assert matched(both, entities=[{"type": "(Office;Room)"}])
    assert not matched(both, entities=[{"type": "(Office;Hall)"}])


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"watchedAttributes": ["temperature"]}, True),
        ({"watchedAttributes": ["co2"]}, False),
        ({"watchedAttributes": ["co2", "temperature"]}, True),
        ({"watchedAttributes": ["temperature"], "entities": None}, True),
        ({"q": "temperature>20"}, True),
        ({"q": "temperature>21"}, False),
        ({"scopeQ": "/a"}, False),
        ({"isActive": False}, False),
        ({"notificationTrigger": ["attributeCreated"]}, False),
        ({"notificationTrigger": ["entityUpdated"]}, True),
    ],
)
def test_attributes_conditions_and_triggers_decide(members: dict[str, Any], expected: bool) -> None:
    assert matched(WARMER, **members) is expected


def test_an_expired_one_matches_no_more() -> None:
    assert matched(WARMER, NOW, expiresAt=iso(NOW + SECOND))
    assert not matched(WARMER, NOW + SECOND, expiresAt=iso(NOW + SECOND))


TRIGGERS = [
    "attributeCreated",
    "attributeUpdated",
    "attributeDeleted",
    "entityCreated",
    "entityUpdated",
    "entityDeleted",
]


@pytest.mark.parametrize(
    ("change", "triggers"),
    [
        (created(ROOM), {None, "attributeCreated", "entityCreated", "entityUpdated"}),
        (WARMER, {None, "attributeUpdated", "entityUpdated"}),
        (updated(ROOM, temperature="attributeCreated"), {None, "attributeCreated", "entityUpdated"}),
        (updated(entity(co2=1), temperature="attributeDeleted"), {"attributeDeleted", "entityUpdated"}),
        # Its attributes go with it.
        (deleted(ROOM), {"entityDeleted", "attributeDeleted", "entityUpdated"}),
    ],
)
@pytest.mark.parametrize("watched", [None, ["temperature"]])
def test_each_kind_of_change_has_its_triggers(
    change: EntityChange, triggers: set[str | None], watched: list[str] | None
) -> None:
    found = {
        trigger
        for trigger in [None, *TRIGGERS]
        if matched(change, watchedAttributes=watched, notificationTrigger=[trigger] if trigger else None)
    }
    assert found == triggers


def test_only_watched_attributes_count_at_creation_and_deletion() -> None:
    for change, trigger in ((created(ROOM), "entityCreated"), (deleted(ROOM), "entityDeleted")):
        assert not matched(change, watchedAttributes=["humidity"], notificationTrigger=[trigger])


def test_an_entity_without_attributes_is_noticed_too() -> None:
    bare = entity()
    assert matched(created(bare), notificationTrigger=["entityCreated"])
    assert matched(deleted(bare), notificationTrigger=["entityDeleted"])
    assert not matched(created(bare))


def test_what_is_put_counts_and_what_is_removed_does_not() -> None:
    index = SubscriptionIndex([record("urn:x:2"), record("urn:x:1")])
    assert index.match(WARMER, NOW) == ["urn:x:1", "urn:x:2"]
    index.put(record("urn:x:1", entities=[{"type": "Hall"}]))
    assert index.match(WARMER, NOW) == ["urn:x:2"]
    index.remove("urn:x:2")
    index.remove("urn:x:2")
    assert index.match(WARMER, NOW) == []
    index.put(record("urn:x:4"))
    index.replace([record("urn:x:3")])
    assert index.match(WARMER, NOW) == ["urn:x:3"]
    assert len(index) == 1


def test_one_that_cannot_be_read_does_not_keep_the_others_from_working() -> None:
    broken = Record("subscription", "urn:x:0", {**parsed(), "document": {"type": "Subscription", "future": 1}}, 1)
    strange = Record("subscription", "urn:x:00", {"id": "urn:x:00"}, 1)
    assert SubscriptionIndex([broken, strange, record("urn:x:1")]).match(WARMER, NOW) == ["urn:x:1"]


def test_subscriptions_of_other_types_ids_and_attributes_are_not_even_looked_at() -> None:
    index = SubscriptionIndex(
        [
            *(record(f"urn:x:t{n}", entities=[{"type": f"Kind{n}"}], q="temperature>0") for n in range(300)),
            *(record(f"urn:x:i{n}", entities=[{"type": "Room", "id": f"urn:x:Room:{n + 2}"}]) for n in range(300)),
            *(record(f"urn:x:a{n}", watchedAttributes=[f"attribute{n}"]) for n in range(300)),
            # The same type, and another …
            *(record(f"urn:x:v{n}", q=f"temperature=={n + 100}") for n in range(300)),  # value
            *(record(f"urn:x:b{n}", q=f"temperature>{n + 100}") for n in range(300)),  # bound
            *(record(f"urn:x:q{n}", q=f"other{n}!=1") for n in range(300)),  # attribute in q
            *(
                record(f"urn:x:p{n}", entities=[{"type": "Room", "idPattern": f"^urn:x:Room:2{n}"}]) for n in range(300)
            ),  # beginning of the id
            *(record(f"urn:x:p{n}", entities=[{"type": "Room", "idPattern": f"Hall:{n}$"}]) for n in range(300)),
            *(record(f"urn:x:s{n}", scopeQ=f"/city/{n}/#") for n in range(300)),  # scope
            *(record(f"urn:x:g{n}", geoQ=near(17 + n / 100, 62)) for n in range(300)),  # place
            record("urn:x:match"),
        ]
    )
    tested: list[str] = []

    def noting(name: str) -> Callable[[Entity], bool]:
        def matches(_: Entity) -> bool:
            tested.append(name)
            return True

        return matches

    for name, subscription in index._subscriptions.items():
        for selector in subscription.selectors:
            object.__setattr__(selector, "matches", noting(name))
    assert index.match(WARMER, NOW) == ["urn:x:match"]
    assert tested == ["urn:x:match"]


def near(longitude: float, latitude: float, metres: int = 400) -> dict[str, Any]:
    return {
        "georel": f"near;maxDistance=={metres}",
        "geometry": "Point",
        "coordinates": [longitude, latitude],
    }


kinds = st.sampled_from(["A", "B", "C"])
names = st.sampled_from(["a", "b", "c"])
ids = st.sampled_from(["urn:x:1", "urn:x:2", "urn:x:12", "urn:y+1"])
selectors = st.fixed_dictionaries(
    {"type": st.sampled_from(["A", "B", "A,B", "(A;B)", "(A;B),C", "*"])},
    optional={
        "id": ids,
        "idPattern": st.sampled_from(
            [
                "1$",
                "2$",
                "^urn:x",
                "^urn:x:1?2",
                "x:1",
                ".*x:12",
                "urn:y\\+1",
                "^urn:y.1",
                "x:1|y",
                "^urn:x:1+2",
                ":1*2",
            ]
        ),
    },
)
values = st.sampled_from([0, 1, 1.5, 2, True, "x", "y", "2026-01-01T00:00:00Z", ["x", 2], {"deep": 1}])
terms = st.sampled_from(
    [
        *("a>1", "a>=1.5", "b<2", 'a<="x"', "a==1", "a==1.0", 'b=="x"', 'a=="x","y"', "a==1..2", "a!=1", "a==true"),
        *("c", "a[deep]==1", "b.observedAt>2026-01-01T00:00:00Z", "a~=x", 'modifiedAt>"2026-01-01T00:00:00Z"'),
        *('b=="2026-01-01T00:00:00.000Z"', "b>2025-01-01T00:00:00Z", "a==2..1"),
    ]
)
queries = st.recursive(
    terms, lambda inner: st.builds("({}{}{})".format, inner, st.sampled_from([";", "|"]), inner), max_leaves=4
)
scopes = st.sampled_from(["/a", "/a/b", "/a/b/c", "/b", "a/"])
coordinates = st.sampled_from(
    [[17.0, 62.0], [17.001, 62.0], [17.2, 62.1], [-179.999, 0.0], [179.999, 0.0], [0.0, 89.99]]
)
boxes = st.sampled_from(
    [
        [[[w, s], [e, s], [e, n], [w, n], [w, s]]]
        for w, s, e, n in [(16.9, 61.9, 17.1, 62.05), (-170.0, -80.0, 170.0, 80.0)]
    ]
)
geometries = st.builds(lambda at: {"type": "Point", "coordinates": at}, coordinates) | st.builds(
    lambda rings: {"type": "Polygon", "coordinates": rings}, boxes
)
areas = st.builds(
    near, st.sampled_from([17.0, 179.999, 0.0]), st.sampled_from([62.0, 0.0, 89.9]), st.integers(1, 30_000)
) | (
    st.builds(
        lambda georel, geometry: {
            "georel": georel,
            "geometry": geometry["type"],
            "coordinates": geometry["coordinates"],
            "geoproperty": "place",
        },
        st.sampled_from(["within", "contains", "intersects", "disjoint", "overlaps", "equals", "near;minDistance==1"]),
        geometries,
    )
)
subscriptions = st.fixed_dictionaries(
    {"entities": st.lists(selectors, min_size=1, max_size=2)},
    optional={
        "watchedAttributes": st.lists(names, min_size=1, max_size=2),
        "notificationTrigger": st.lists(st.sampled_from(TRIGGERS), min_size=1, max_size=2),
        "q": queries,
        "scopeQ": st.sampled_from(["/a", "/a/#", "/a/+/c", "/#", "/b,/a/b", "(/a/#;/b)", "/+/b"]),
        "geoQ": areas.map(lambda geo: {**geo, "geoproperty": "place"}),
    },
)


@st.composite
def entities(draw: st.DrawFn) -> Entity:
    one = entity(
        draw(st.lists(kinds, min_size=1, max_size=2, unique=True)),
        draw(ids),
        **draw(st.dictionaries(names, values, min_size=1)),
    )
    given = draw(st.lists(scopes, max_size=2))
    if given:
        one["scope"] = given
    place = draw(st.none() | geometries)
    if place is not None:
        one["attrs"][iri("place")] = [
            {"type": "GeoProperty", "value": place, "createdAt": one["createdAt"], "modifiedAt": one["modifiedAt"]}
        ]
    return one


@st.composite
def changes(draw: st.DrawFn) -> EntityChange:
    one = draw(entities())
    how = draw(st.sampled_from(["created", "deleted", "updated"]))
    if how != "updated":
        return created(one) if how == "created" else deleted(one)
    triggers: list[AttributeTrigger] = ["attributeCreated", "attributeUpdated", "attributeDeleted"]
    return updated(one, **draw(st.dictionaries(names, st.sampled_from(triggers), min_size=1)))


@settings(max_examples=400)
@given(st.lists(subscriptions, max_size=6), st.lists(changes(), min_size=1, max_size=4), st.data())
def test_the_index_finds_what_looking_at_each_alone_finds(
    documents: list[dict[str, Any]], happened: list[EntityChange], data: st.DataObject
) -> None:
    records = [record(f"urn:x:s{n}", **members) for n, members in enumerate(documents)]
    index = SubscriptionIndex(records)
    for change in happened:
        assert index.match(change, NOW) == _without_index(index, change)
    for gone in data.draw(st.lists(st.sampled_from(records), unique_by=lambda one: one.id)) if records else []:
        index.remove(gone.id)
        assert index.match(happened[0], NOW) == _without_index(index, happened[0])
    index.replace([])
    assert not index._buckets


def _without_index(index: SubscriptionIndex, change: EntityChange) -> list[str]:
    """Every subscription tested."""
    return sorted(
        one.id
        for one in index._subscriptions.values()
        if one.status(NOW) == "active"
        and _triggered(one, change)
        and any(selector.matches(change.entity) for selector in one.selectors)
    )
