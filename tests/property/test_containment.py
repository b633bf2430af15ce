"""What is within what, for any relationships between any entities, on both stores: all of it, once, and an end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.places.behind import Behind
from broker.places.containment import Contained, Vocabulary, ancestors, contained
from broker.places.overview import Said, summed, tree
from broker.stores.base import TenantStore
from tests.support.mongo import mongo_uri, mongo_url
from tests.support.stores import MOMENT, entities_of, entity, iri, make_store, relationship
from tests.unit.jsonld.contexts import CORE

__all__ = ["mongo_uri", "mongo_url"]

TIES = (iri("inBuilding"), iri("inPlace"), iri("of"))
WORDS = Vocabulary(TIES, frozenset({iri("Place")}))
SAID = Said(CORE, WORDS, MOMENT)
PREFIX = count()
"""Each example has entities of its own in the one store."""

IDS = range(8)
graphs = st.dictionaries(
    st.sampled_from(IDS),
    st.dictionaries(
        st.sampled_from(TIES), st.lists(st.sampled_from([*IDS, 99]), min_size=1, max_size=3, unique=True), max_size=3
    ),
    max_size=8,
)
"""Entity -> relationship -> what it leads to: itself, others, and 99, which is not there."""


@pytest.fixture(params=["sqlite", "mongo"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TenantStore]:
    mongo = request.param == "mongo"
    opened = make_store(request.getfixturevalue("mongo_url") if mongo else f"sqlite:///{tmp_path}/containment.db")
    await opened.open()
    yield await opened.tenant()
    await opened.close()


async def put(store: TenantStore, graph: dict[int, dict[str, list[int]]]) -> str:
    """The graph's entities; gives what their ids begin with."""
    prefix = f"urn:{next(PREFIX)}:"
    made = [
        entity(
            f"{prefix}{n}",
            "Place" if n % 2 else "Thing",
            attrs={tie: [relationship([f"{prefix}{to}" for to in targets])] for tie, targets in ties.items()},
        )
        for n, ties in graph.items()
    ]
    for each in made:
        each["type"].append(prefix)
    await store.commit(entities_of(*made))
    return prefix


def levels_below(graph: dict[int, dict[str, list[int]]], root: int) -> dict[int, int]:
    """All that is within `root`, by the definition, with how far below it is."""
    found: dict[int, int] = {}
    level, depth = {root}, 0
    while level:
        depth += 1
        level = {
            n
            for n, ties in graph.items()
            if n != root and n not in found and not level.isdisjoint(to for targets in ties.values() for to in targets)
        }
        found |= dict.fromkeys(level, depth)
    return found


def branches(shown: list[dict[str, Any]]) -> Iterator[str]:
    for one in shown:
        yield one["id"]
        yield from branches(one["contains"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graphs, st.sampled_from([*IDS, 99]), st.integers(1, 10), st.integers(1, 10))
async def test_each_entity_within_a_place_is_found_once(
    store: TenantStore, graph: dict[int, dict[str, list[int]]], root: int, most: int, levels: int
) -> None:
    prefix = await put(store, graph)
    expected = {f"{prefix}{n}": level for n, level in levels_below(graph, root).items()}
    found = await contained(store, f"{prefix}{root}", WORDS, levels=20, most=100, now=MOMENT)
    assert {name: node.level for name, node in found.nodes.items()} == expected
    assert found.complete
    _check_ways(found)

    cut = await contained(store, f"{prefix}{root}", WORDS, levels=levels, most=most, now=MOMENT)
    assert len(cut.nodes) <= most
    assert all(cut.nodes[name].level == expected[name] <= levels for name in cut.nodes)
    assert cut.complete == (len(cut.nodes) == len(expected))
    _check_ways(cut)


def _check_ways(found: Contained) -> None:
    """Each leads up to the root in as many steps as it says, and sums and tree have each once."""
    for name, node in found.nodes.items():
        parents = {to: via for via, to in WORDS.parents(node.entity)}
        assert parents[node.parent] == node.via
        above = found.nodes.get(node.parent)
        assert (above.level if above is not None else 0) == node.level - 1
        assert name in found.children[node.parent]
    sums = summed(found, Behind(), WORDS, MOMENT)
    assert sums[found.root].entities == len(found.nodes)
    shown = list(branches(tree(found, SAID, 20, sums)))
    assert len(shown) == len(set(shown)) == sums[found.root].places
    assert {name for name, node in found.nodes.items() if WORDS.is_place(node.entity)} <= set(shown)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graphs.filter(bool), st.data())
async def test_the_way_out_of_any_entity_ends(
    store: TenantStore, graph: dict[int, dict[str, list[int]]], data: st.DataObject
) -> None:
    prefix = await put(store, graph)
    start = await store.entity(f"{prefix}{data.draw(st.sampled_from(sorted(graph)))}")
    assert start is not None
    way = await ancestors(store, start.entity, WORDS, levels=20, now=MOMENT)
    ids = [start.entity["id"], *(one.id for one in reversed(way))]
    assert len(set(ids)) == len(ids)
    for inner, outer in zip([start.entity, *(one.entity for one in reversed(way))], reversed(way), strict=False):
        assert inner is not None
        assert (outer.via, outer.id) in WORDS.parents(inner)
    assert all(one.entity is not None for one in way[1:]), "only the outermost may be missing"


async def test_more_than_one_query_and_more_than_one_page(store: TenantStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.places.containment.PAGE", 7)
    monkeypatch.setattr("broker.places.containment.ASKED_AT_ONCE", 10)
    rooms = [entity(f"urn:r:{n}", "Place", attrs={TIES[0]: [relationship("urn:b")]}) for n in range(25)]
    things = [
        entity(f"urn:t:{n}", "Thing", attrs={TIES[2]: [relationship(room["id"])]}) for n, room in enumerate(rooms)
    ]
    await store.commit(entities_of(*rooms, *things))
    found = await contained(store, "urn:b", WORDS, levels=20, most=10_000, now=MOMENT)
    assert set(found.nodes) == {each["id"] for each in [*rooms, *things]}
    assert found.complete
