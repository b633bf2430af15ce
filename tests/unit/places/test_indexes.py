"""What is within places is found along the index of values, and nothing else is looked at."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from broker.places.containment import Vocabulary, directly_within
from broker.stores.sqlite.plan import Search
from tests.support.stores import MOMENT, entities_of, entity, iri, make_store, relationship

WORDS = Vocabulary((iri("in"), iri("of")), frozenset())


async def test_what_is_within_places_is_found_along_the_index_of_values(tmp_path: Path) -> None:
    path = tmp_path / "places.db"
    store = make_store(f"sqlite:///{path}")
    await store.open()
    tenant = await store.tenant()
    made = [
        entity(f"urn:e:{n}", "Room", attrs={iri("in" if n % 3 else "of"): [relationship(f"urn:b:{n % 100}")]})
        for n in range(5_000)
    ]
    await tenant.commit(entities_of(*made))
    for places in (("urn:b:7",), tuple(f"urn:b:{n}" for n in range(30))):
        query = directly_within(places, WORDS, MOMENT)
        page = await tenant.query(query)
        assert page.total == len(page.entities) == 50 * len(places)
        connection = sqlite3.connect(path)
        search = Search(connection, query)
        search.look_closer()
        few = search.few()
        assert few is not None, "few enough to be gathered from the index"
        assert few.exact, "nothing is left to be matched"
        statement, params = few.bodies(0)
        steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", params)]
        connection.close()
        assert any("value USING PRIMARY KEY (name=? AND kind=? AND v=?" in step for step in steps), steps
        assert not any(step.startswith("SCAN") for step in steps), steps
    await store.close()
