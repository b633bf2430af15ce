"""The tie between a virtual sensor's entity and its place, over any changes of either."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.clock import Stamp, iso
from broker.devices.model import VirtualSensor
from broker.devices.placing import CONTAINED, OBSERVES, SPACE_OF, TIES, follow_place, objects
from broker.ngsild.model import DEFAULT_VOCAB, Entity

MOMENT = 1_790_000_000_000_000
STAMP = Stamp(MOMENT, iso(MOMENT), 7)
ENTITY = "urn:e"


def sensor(place: str | None, kind: str = "IndoorEnvironmentObserved", entity: str = ENTITY) -> VirtualSensor:
    return VirtualSensor(id="s", name="s", entity=entity, entity_type=DEFAULT_VOCAB + kind, outputs=(), place=place)


def held(**ties: Any) -> Entity:
    names = {"contained": CONTAINED, "space": SPACE_OF, "observes": OBSERVES}
    attrs: Any = {names[name]: [{"type": "Relationship", "object": to}] for name, to in ties.items()}
    attrs[DEFAULT_VOCAB + "name"] = [{"type": "Property", "value": "e"}]
    return {"id": ENTITY, "type": ["T"], "attrs": attrs, "createdAt": "", "modifiedAt": ""}


def ties_of(entity: Entity | None) -> dict[str, list[str]]:
    names = {CONTAINED: "contained", SPACE_OF: "space", OBSERVES: "observes"}
    attrs = entity["attrs"] if entity is not None else {}
    return {names[name]: list(objects(attrs[name][0])) for name in TIES if name in attrs}


@pytest.mark.parametrize(
    ("before", "now", "entity", "kind", "expected"),
    [
        (None, "urn:p", None, "IndoorEnvironmentObserved", {"observes": ["urn:p"]}),
        (None, "urn:p", None, "WasteContainer", {"contained": ["urn:p"]}),
        (None, "urn:p", held(space="urn:p"), "BuildingSpace", {"space": ["urn:p"]}),
        (None, "urn:p", held(contained="urn:q"), "WasteContainer", {"contained": ["urn:p"]}),
        ("urn:p", "urn:q", held(space="urn:p"), "BuildingSpace", {"space": ["urn:q"]}),
        ("urn:p", "urn:q", held(space=["urn:p", "urn:x"]), "BuildingSpace", {"space": ["urn:x", "urn:q"]}),
        ("urn:p", None, held(observes="urn:p", contained="urn:x"), "XObserved", {"contained": ["urn:x"]}),
        ("urn:p", "urn:q", held(observes="urn:moved"), "XObserved", {"observes": ["urn:q"]}),
        ("urn:p", ENTITY, held(contained="urn:p"), "Room", {}),
        (None, None, held(contained="urn:p"), "Room", {"contained": ["urn:p"]}),
        (ENTITY, ENTITY, held(space="urn:p"), "Room", {"space": ["urn:p"]}),
    ],
)
def test_the_entity_is_tied_to_the_place_and_to_nothing_that_was_its_place(
    before: str | None, now: str | None, entity: Entity | None, kind: str, expected: dict[str, list[str]]
) -> None:
    was = sensor(before, kind) if before is not None else None
    change, history = follow_place(entity, sensor(now, kind), was, STAMP)
    after = change.after if change is not None else entity
    assert ties_of(after) == expected
    assert (change is None) == (ties_of(entity) == expected)
    assert len(history) == (len(change.attributes) if change is not None else 0)
    if entity is not None and after is not None:
        assert after["attrs"][DEFAULT_VOCAB + "name"] is entity["attrs"][DEFAULT_VOCAB + "name"]


def test_what_the_former_entity_is_tied_to_stays() -> None:
    change, _ = follow_place(
        held(contained="urn:p"), sensor("urn:q", "Bin"), sensor("urn:p", "Bin", "urn:other"), STAMP
    )
    assert change is not None
    assert ties_of(change.after) == {"contained": ["urn:q"]}


places = st.one_of(st.none(), st.sampled_from([ENTITY, "urn:p", "urn:q", "urn:r"]))


@given(
    st.lists(places, min_size=1, max_size=6),
    st.fixed_dictionaries(
        {},
        optional={
            name: st.lists(st.sampled_from(["urn:p", "urn:q", "urn:x"]), min_size=1, max_size=2, unique=True)
            for name in ("contained", "space", "observes")
        },
    ),
    st.booleans(),
)
def test_after_any_moves_the_entity_is_at_the_last_place_and_at_none_left(
    moves: list[str | None], ties: dict[str, list[str]], absent: bool
) -> None:
    entity: Entity | None = None if absent else held(**ties)
    before: VirtualSensor | None = None
    for place in moves:
        now = sensor(place)
        change, _ = follow_place(entity, now, before, STAMP)
        entity = change.after if change is not None else entity
        again, _ = follow_place(entity, now, now, STAMP)
        assert again is None, "said again, nothing changes"
        found = {to for targets in ties_of(entity).values() for to in targets}
        if place not in (None, ENTITY):
            assert place in found
        left = before.place if before is not None else None
        if left not in (None, ENTITY, place):
            assert left not in found
        before = now
