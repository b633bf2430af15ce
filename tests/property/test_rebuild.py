"""What is rebuilt from the history is what was: any sequence of commands, against the changes they made."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.clock import Clock
from broker.entities.commands import CreateEntity, DeleteEntity, append_attributes, delete_attribute, replace_entity
from broker.errors import BrokerError
from broker.history.rebuild import Rebuilder, changes_of
from broker.ngsild.change import EntityChange
from broker.ngsild.fragment import Fragment
from broker.ngsild.model import Entity
from broker.stores.base import ChangeSet, Needs, Snapshot
from broker.stores.command import Command, View
from tests.support.stores import MOMENT, iri, make_store, prop

IDS = ("urn:e:1", "urn:e:2")
NAMES = ("a", "b")
values = st.integers(0, 3)
datasets = st.sampled_from(["", "urn:d:1"])
steps = st.lists(
    st.tuples(
        st.sampled_from(["create", "append", "delete attribute", "delete", "replace"]),
        st.sampled_from(IDS),
        st.sampled_from(NAMES),
        values,
        datasets,
    ),
    min_size=1,
    max_size=20,
)


def fragment(entity_id: str, name: str, value: int, dataset: str) -> Fragment:
    instance = prop(value, **({"datasetId": dataset} if dataset else {}))
    bare: Any = {key: held for key, held in instance.items() if key not in ("createdAt", "modifiedAt")}
    return Fragment(id=entity_id, types=[iri("Counter")], attrs={iri(name): [bare]})


def command(kind: str, entity_id: str, name: str, value: int, dataset: str) -> Command[Any]:
    made = fragment(entity_id, name, value, dataset)
    match kind:
        case "create":
            return CreateEntity(made)
        case "append":
            return append_attributes(entity_id, made, overwrite=True)
        case "delete attribute":
            return delete_attribute(entity_id, iri(name), dataset_id=None, delete_all=True)
        case "replace":
            return replace_entity(entity_id, made)
        case _:
            return DeleteEntity(entity_id)


def plain(change: EntityChange) -> tuple[Any, ...]:
    return change.entity_id, _shown(change.after), dict(change.attributes), change.after is None


def _shown(entity: Entity | None) -> Any:
    if entity is None:
        return None
    attrs = {name: sorted(some, key=lambda one: one.get("datasetId", "")) for name, some in entity["attrs"].items()}
    return entity["type"], attrs, entity["modifiedAt"]


@given(steps, st.integers(0, 14))
@settings(max_examples=120, deadline=None)
def test_changes_are_rebuilt_as_they_were(made: list[tuple[str, str, str, int, str]], first: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_check(Path(folder), made, first))


async def _check(folder: Path, made: list[tuple[str, str, str, int, str]], first: int) -> None:
    ticks = iter(range(MOMENT, MOMENT + 10_000_000, 1000))
    clock = Clock(lambda: next(ticks))
    store = make_store(f"sqlite:///{folder}/k.db")
    await store.open()
    tenant = await store.tenant()
    changes: list[tuple[int, EntityChange]] = []
    try:
        for step in made:
            one = command(*step)
            snapshot = await tenant.load(_needs(one.needs))
            view, stamp = View(snapshot, clock.new_id), clock.stamp()
            held = view.entity(step[1])
            if step[0] == "delete" and held is not None and not held["attrs"]:
                continue  # nothing would say what it was: that much the history does not hold
            try:
                effects = one.apply(view, stamp)
            except BrokerError:  # it is there already, or is not there
                continue
            view.absorb(effects, stamp)
            changes += [(stamp.version, change) for change in effects.changes]
            await tenant.commit(ChangeSet(entities=view.entity_writes(), history=effects.history))
        since = changes[min(first, len(changes) - 1)][0] if changes else 0
        rebuilder = Rebuilder(tenant)
        found = []
        for rows in changes_of(await tenant.history_between(since, 1 << 62, 1000)):
            change = await rebuilder.change(rows)
            if change is not None:
                found.append(plain(change))
        assert found == [plain(change) for version, change in changes if version >= since and _left_a_trace(change)]
    finally:
        await store.close()


def _needs(needs: Callable[[Snapshot], Needs]) -> Needs:
    return needs(Snapshot())


def _left_a_trace(change: EntityChange) -> bool:
    """An entity that has no attribute leaves none."""
    return bool(change.attributes)
