"""Commands of batch and purge, as pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from broker.clock import Stamp, iso
from broker.entities.batch import Batch, Element, UpsertEntity
from broker.entities.commands import CreateEntity, DeleteEntity
from broker.entities.purge import PurgeEntities
from broker.errors import AlreadyExists, BrokerError, InternalError, ResourceNotFound
from broker.ngsild.fragment import Fragment
from broker.ngsild.model import Entity
from broker.stores.base import Needs, Snapshot, StoredEntity
from broker.stores.command import Command, Effects, View

AT = 1_700_000_000_000_000
STAMP = Stamp(AT, iso(AT), AT)
WARMTH, NAME = "https://x.example/warmth", "https://x.example/name"


def fragment(entity_id: str, value: int) -> Fragment:
    return Fragment(entity_id, ["https://x.example/Room"], {WARMTH: [{"type": "Property", "value": value}]})


def create(entity_id: str, value: int) -> Element:
    return Element(entity_id, CreateEntity(fragment(entity_id, value)))


def upsert(entity_id: str, value: int) -> Element:
    return Element(entity_id, UpsertEntity(fragment(entity_id, value)))


def delete(entity_id: str) -> Element:
    return Element(entity_id, DeleteEntity(entity_id))


def view(*entities: Entity) -> View:
    return View(Snapshot({entity["id"]: StoredEntity(entity, 1) for entity in entities}), lambda: "id")


def entity(entity_id: str, **attributes: int) -> Entity:
    at = iso(AT - 1_000_000)
    return {
        "id": entity_id,
        "type": ["https://x.example/Room"],
        "createdAt": at,
        "modifiedAt": at,
        "attrs": {
            f"https://x.example/{name}": [{"type": "Property", "value": value, "createdAt": at, "modifiedAt": at}]
            for name, value in attributes.items()
        },
    }


def shown(results: list[Any]) -> list[str]:
    return [type(result).__name__ for result in results]


@dataclass(frozen=True)
class _Broken:
    def apply(self, view: View, stamp: Stamp) -> Effects[None]:
        raise ZeroDivisionError


def test_an_element_that_is_refused_leaves_the_others_alone() -> None:
    made = Batch([create("urn:x:1", 1), create("urn:x:2", 1), delete("urn:x:3")]).apply(view(entity("urn:x:2")), STAMP)
    assert shown(made.result) == ["NoneType", "AlreadyExists", "ResourceNotFound"]
    assert [change.entity_id for change in made.changes] == ["urn:x:1"]
    assert [row.entity_id for row in made.history] == ["urn:x:1"]


def test_an_element_that_fails_by_a_fault_of_ours_leaves_the_others_alone() -> None:
    made = Batch([Element("urn:x:1", _Broken()), create("urn:x:2", 1)]).apply(view(), STAMP)
    assert isinstance(made.result[0], InternalError)
    assert [change.entity_id for change in made.changes] == ["urn:x:2"]


def test_elements_of_one_entity_see_what_those_before_them_did() -> None:
    elements = [create("urn:x:1", 1), create("urn:x:1", 2), delete("urn:x:1"), delete("urn:x:1"), upsert("urn:x:1", 3)]
    seen = view()
    made = Batch(elements).apply(seen, STAMP)
    assert shown(made.result) == ["NoneType", "AlreadyExists", "NoneType", "ResourceNotFound", "NoneType"]
    assert [change.trigger for change in made.changes] == ["entityCreated", "entityDeleted", "entityCreated"]
    assert seen.entity("urn:x:1") is None, "what a command does is the writer's to absorb"


@given(st.lists(st.tuples(st.sampled_from(("create", "upsert", "delete")), st.integers(0, 3), st.integers(0, 9))))
def test_a_batch_does_what_its_elements_do_one_after_the_other(steps: list[tuple[str, int, int]]) -> None:
    elements = [
        delete(f"urn:x:{number}")
        if what == "delete"
        else {"create": create, "upsert": upsert}[what](f"urn:x:{number}", value)
        for what, number, value in steps
    ]
    before = [entity("urn:x:0", warmth=0), entity("urn:x:1", name=1)]
    together = view(*before)
    made = Batch(elements).apply(together, STAMP)
    together.absorb(made, STAMP)

    alone = view(*before)
    results: list[str] = []
    for element in elements:
        try:
            effects = element.command.apply(alone, STAMP)
        except BrokerError as error:
            results.append(type(error).__name__)
        else:
            alone.absorb(effects, STAMP)
            results.append(type(effects.result).__name__)
    assert shown(made.result) == results
    assert together.entity_writes() == alone.entity_writes()


def test_what_was_refused_says_why() -> None:
    made = Batch([create("urn:x:1", 1), delete("urn:x:2")]).apply(view(entity("urn:x:1")), STAMP)
    assert type(made.result[0]) is AlreadyExists
    assert "urn:x:1" in made.result[0].detail
    assert type(made.result[1]) is ResourceNotFound
    assert "urn:x:2" in made.result[1].detail


def needed(command: Command[Any]) -> Needs:
    return command.needs(Snapshot())


def test_a_batch_and_a_purge_need_the_entities_they_name() -> None:
    assert needed(Batch([create("urn:x:1", 1), delete("urn:x:2"), delete("urn:x:2")])).entities == {
        "urn:x:1",
        "urn:x:2",
    }
    assert needed(PurgeEntities(("urn:x:1", "urn:x:2"), lambda _: True)).entities == {"urn:x:1", "urn:x:2"}


def test_purge_leaves_what_is_selected_no_more_or_gone() -> None:
    def warm(found: Entity) -> bool:
        return WARMTH in found["attrs"]

    made = PurgeEntities(("urn:x:1", "urn:x:2", "urn:x:3"), warm).apply(
        view(entity("urn:x:1", warmth=1), entity("urn:x:2", name=1)), STAMP
    )
    assert made.result == 1
    assert [(change.entity_id, change.after) for change in made.changes] == [("urn:x:1", None)]


def test_purge_of_attributes_is_one_change_an_entity_and_none_where_nothing_goes() -> None:
    there = (entity("urn:x:1", warmth=1, name=1, other=1), entity("urn:x:2", name=1))
    made = PurgeEntities(("urn:x:1", "urn:x:2"), lambda _: True, keep=frozenset({NAME})).apply(view(*there), STAMP)
    (change,) = made.changes
    assert change.attributes == {WARMTH: "attributeDeleted", "https://x.example/other": "attributeDeleted"}
    assert change.after is not None
    assert set(change.after["attrs"]) == {NAME}
    assert [row.instance for row in made.history] == [None, None]
