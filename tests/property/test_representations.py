"""Whatever a user writes as a value comes back unchanged, in every lossless representation."""

from __future__ import annotations

from typing import Any, get_args

import orjson
from hypothesis import assume, given
from hypothesis import strategies as st

from broker.errors import BadRequestData, ResourceNotFound
from broker.jsonio import parse_json
from broker.ngsild.geometry import looks_like_geometry
from broker.ngsild.merge import create, merge, partial_update, replace_attribute, update
from broker.ngsild.model import NGSI_LD_NULL, value_of
from broker.ngsild.parse import parse_attribute, parse_entity, parse_fragment
from broker.ngsild.render import Form, Representation, render_entity
from tests.unit.jsonld.contexts import CORE, context

T0 = "2026-11-21T00:00:00.000Z"
MINE = context({"ex": "https://example.org/", "mine": "ex:mine", "Point": "ex:NotAPoint"})

# Keys that mean something to NGSI-LD are mixed in on purpose.
keys = st.text(max_size=8) | st.sampled_from(
    ["a.b", "$set", "", "type", "value", "object", "@type", "@value", "coordinates", "datasetId", "json", "dataset"]
)
members = st.sampled_from(
    [
        "languageMap",
        "vocab",
        "valueList",
        "objectList",
        "objectType",
        "unitCode",
        "observedAt",
        "scope",
        "@context",
        "a",
    ]
)
keywords = st.sampled_from(["@vocab", "@base", "@version", "@language", "@type", "@import", "@propagate"])
scalars = (
    st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["Property", "Point", "2026-11-21T00:00:00Z", "21.0", "true", ""])
)
inner = st.recursive(
    scalars | st.none(),
    lambda more: st.lists(more, max_size=4) | st.dictionaries(keys, more, max_size=4),
    max_leaves=12,
)
values = inner.filter(lambda value: value is not None)
objects = st.dictionaries(st.sampled_from(["k", "id", "@x"]), values, max_size=2).flatmap(
    lambda one: st.sampled_from([one, [one], []])
)
texts = st.text(min_size=1, max_size=12).filter(lambda text: text != NGSI_LD_NULL)
languages = st.sampled_from(["sv", "en-GB", "@none", "zh-Hant"])
uris = st.sampled_from(["urn:ngsi-ld:Device:1", "https://example.org/ö", "urn:x:2"])
times = st.sampled_from([T0, "2026-02-28T23:59:59.123456Z", "1999-01-01T00:00:00Z"])
names = st.sampled_from(["a", "temperature", "ex:b", "mine", "https://other.example/x", "title", "flöde"])


def attribute(kind: str, **members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.just(kind), **members}, optional={"observedAt": times})


single = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("Property"), "value": values},
        optional={"unitCode": st.just("CEL"), "observedAt": times, "valueType": st.sampled_from(["Integer", "ex:T"])},
    ),
    attribute("Relationship", object=uris | st.lists(uris, min_size=1, max_size=3)),
    attribute("GeoProperty", value=st.just({"type": "Point", "coordinates": [17.3, 62.4]})),
    attribute("LanguageProperty", languageMap=st.dictionaries(languages, texts, min_size=1)),
    attribute("VocabProperty", vocab=texts | st.lists(texts, min_size=1, max_size=3)),
    attribute("JsonProperty", json=objects),
    attribute("ListProperty", valueList=st.lists(inner, max_size=4)),
    attribute("ListRelationship", objectList=st.lists(st.fixed_dictionaries({"object": uris}), max_size=3)),
)


@st.composite
def attributes(draw: st.DrawFn, depth: int = 2) -> Any:
    instances = draw(st.lists(single, min_size=1, max_size=3))
    for number, instance in enumerate(instances):
        if number or draw(st.booleans()):
            instance["datasetId"] = f"urn:d:{number}"
        if depth > 1 and draw(st.booleans()):
            instance[draw(names)] = draw(attributes(depth=depth - 1))
    return instances[0] if len(instances) == 1 else instances


entities = st.fixed_dictionaries(
    {"id": uris, "type": st.sampled_from(["Room", ["Room", "ex:Hall"]])},
    optional={"scope": st.sampled_from(["/A", ["/A/B", "/C"]])},
).flatmap(lambda head: st.dictionaries(names, attributes(), max_size=4).map(lambda attrs: {**head, **attrs}))


def canonical(document: Any) -> Any:
    return orjson.loads(orjson.dumps(document))


def exactly(one: Any, other: Any) -> bool:
    """Equal, and of the same JSON types: True is not 1, 1 is not 1.0."""
    return orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)


@given(entities)
def test_normalized_round_trips_exactly(document: Any) -> None:
    entity = create(parse_entity(document, MINE), T0).entity
    assert exactly(render_entity(entity, MINE), document)


@given(entities)
def test_concise_loses_nothing(document: Any) -> None:
    entity = create(parse_entity(document, MINE), T0).entity
    concise = render_entity(entity, MINE, Form("concise"))
    assert exactly(create(parse_entity(concise, MINE), T0).entity, entity)


@given(entities)
def test_another_context_reads_the_same_entity(document: Any) -> None:
    entity = create(parse_entity(document, MINE), T0).entity
    assert exactly(create(parse_entity(render_entity(entity, CORE), CORE), T0).entity, entity)


@given(values)
def test_any_value_comes_back_from_json_text(value: Any) -> None:
    body = orjson.dumps({"id": "urn:x:1", "type": "T", "a": {"type": "Property", "value": value}})
    entity = create(parse_entity(parse_json(body, max_depth=64), CORE), T0).entity
    assert exactly(render_entity(entity, CORE)["a"]["value"], value)
    assert exactly(render_entity(entity, CORE, Form("simplified"))["a"], value)


@given(values)
def test_a_simplified_value_is_read_as_it_is(value: Any) -> None:
    assume(not looks_like_geometry(value))
    # These three, and 'dataset', are how the simplified representation says a type or several instances.
    assume(
        not (isinstance(value, dict) and len(value) == 1 and value.keys() & {"languageMap", "vocab", "json", "dataset"})
    )
    (instance,) = parse_fragment({"a": value}, CORE, simplified=True).attrs[CORE.expand("a")]
    assert exactly(instance["value"], value)


@given(entities, entities)
def test_update_and_merge_leave_what_is_not_named_alone(document: Any, change: Any) -> None:
    entity = create(parse_entity(document, MINE), T0).entity
    before = canonical(entity)
    fragment = parse_fragment(change, MINE, nulls="deep")
    for done in (update(entity, fragment, "T1"), merge(entity, fragment, "T1")):
        assert exactly(entity, before)
        for name in entity["attrs"].keys() - fragment.attrs.keys():
            assert done.entity["attrs"][name] is entity["attrs"][name]
        assert done.attributes.keys() == fragment.attrs.keys()
        for name, given_instances in fragment.attrs.items():
            datasets = {held.get("datasetId") for held in done.entity["attrs"][name]}
            assert {held.get("datasetId") for held in given_instances} <= datasets


anything = st.recursive(
    scalars | st.none() | st.just(NGSI_LD_NULL),
    lambda more: st.lists(more, max_size=3) | st.dictionaries(keys | members, more, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(keys | members | names, anything, max_size=5), st.booleans())
def test_whatever_is_sent_is_understood_or_refused(document: dict[str, Any], simplified: bool) -> None:
    held = create(parse_entity({"id": "urn:x:1", "type": "T", "a": {"b": 1}, "temperature": 5}, MINE), T0).entity
    try:
        fragment = parse_fragment(document, MINE, nulls="deep", simplified=simplified)
    except BadRequestData:
        return
    for done in (update(held, fragment, T0), merge(held, fragment, T0, observed_at=T0, lang="sv")):
        assert "urn:ngsi-ld:null" not in [
            value_of(instance) for instances in done.entity["attrs"].values() for instance in instances
        ]
        for representation in get_args(Representation):
            orjson.dumps(render_entity(done.entity, MINE, Form(representation, languages=("sv",))))


@given(anything)
def test_whatever_is_sent_for_one_attribute_is_understood_or_refused(document: Any) -> None:
    held = create(parse_entity({"id": "urn:x:1", "type": "T", "a": {"value": {"b": 1}, "c": 1}}, MINE), T0).entity
    for whole in (False, True):
        try:
            instance = parse_attribute("a", document, MINE, whole=whole)
            rule = replace_attribute if whole else partial_update
            done = rule(held, MINE.expand("a"), instance, T0)
        except (BadRequestData, ResourceNotFound):
            continue
        orjson.dumps(render_entity(done.entity, MINE))


@given(st.dictionaries(keys | names | keywords, anything, max_size=4))
def test_whatever_is_sent_as_a_context_is_compiled_or_refused(definitions: dict[str, Any]) -> None:
    try:
        compiled = context(definitions)
    except BadRequestData:
        return
    assert compiled.expand("location") == "https://uri.etsi.org/ngsi-ld/location"
