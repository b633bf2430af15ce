"""Nothing the user writes is changed on the way."""

from __future__ import annotations

import secrets
from typing import Any

import orjson
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from broker.ngsild.model import Entity
from broker.query.ast import EntityQuery, Exists, Path
from broker.stores.base import ChangeSet, StoredEntity, TenantStore
from tests.support.stores import MOMENT, entity, history_row, iri, prop, put, record

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
keys = texts | st.sampled_from(["$set", "a.b", "$", ".", "", "_id", "__proto__", "\0", "a\0b"])
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | st.sampled_from(["", "\0", "a\0b", "$ref"])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)
names = keys.map(lambda key: "https://example.org/" + key)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(attributes=st.dictionaries(names, values, max_size=4), nested=values)
@example(attributes={"https://example.org/a": [True, 1, 1.0, -0.0, 2**64 - 1, -(2**63), 0.1, 5e-324]}, nested=[[[]]])
@example(attributes={"https://example.org/$a.b": {"$gt": {"a.b": "\0", "": None}}}, nested={"": False})
async def test_any_json_value_comes_back_as_it_was_written(
    tenant: TenantStore, attributes: dict[str, Any], nested: Any
) -> None:
    def same(got: Any, wanted: Any) -> bool:
        # Equality alone would take True for 1 and 1 for 1.0.
        return bool(orjson.dumps(got) == orjson.dumps(wanted))

    name = f"urn:e:{secrets.token_hex(8)}"
    made: Entity = entity(name)
    for attribute, value in attributes.items():
        made["attrs"][attribute] = [prop(value, attrs={iri("$sub.a"): [prop(nested)]})]
    row = history_row(name, "a", 0, 1, nested)
    await tenant.commit(
        ChangeSet(entities=[put(made, 1)], history=[row], records=[record("device", name, body={"a": nested})])
    )
    stored = await tenant.entity(name)
    assert stored is not None and same(stored.entity, made)
    assert same((await tenant.query(EntityQuery(ids=(name,)))).entities, [made])
    for attribute in attributes:
        found = await tenant.query(EntityQuery(ids=(name,), q=Exists(Path(attribute))))
        assert same(found.entities, [made])
    assert same([kept.instance for kept in await tenant.history(name, since=MOMENT)], [row.instance])
    kept_record = await tenant.record("device", name)
    assert kept_record is not None and same(kept_record.body, {"a": nested})
    emptied = entity(name)
    await tenant.commit(ChangeSet(entities=[put(emptied, 2, expected=1)]))
    assert await tenant.entity(name) == StoredEntity(emptied, 2)
