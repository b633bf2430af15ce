"""What clients send: queries in URLs and bodies, @contexts, entities, formulas."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import bson
import orjson
from hypothesis import strategies as st

from broker.clock import Micros, iso, parse_iso, parse_network_time
from broker.config import Limits
from broker.devices.processing.formula import Expression, FormulaError
from broker.errors import BadRequestData, BrokerError, InvalidRequest, TooComplexQuery, TooManyResults
from broker.jsonio import parse_json
from broker.jsonld.link import parse_context_link
from broker.ngsild.merge import create
from broker.ngsild.parse import parse_entity, parse_fragment
from broker.ngsild.projection import parse_projection
from broker.ngsild.render import render_entity
from broker.ngsild.temporal import parse_evolution
from broker.query import mongo, sql
from broker.query.body import read_query
from broker.query.builder import entity_query
from broker.query.geo import parse_geo
from broker.query.match import compile_query
from broker.query.order import parse_order, sort_key
from broker.query.pattern import check_pattern, finder
from broker.query.q import parse_q
from broker.query.scope import parse_scope
from broker.query.temporal import parse_temporal
from broker.query.types import parse_types
from tests.fuzz.inputs import NAMES, TIMES, any_texts, edited, edited_json, edited_text, texts, values
from tests.fuzz.target import Target
from tests.unit.jsonld.contexts import CORE, Web

LIMITS: Final = Limits()
BAD: Final = (BadRequestData, TooComplexQuery, TooManyResults, InvalidRequest)
QS: Final = [
    'temperature>20;(name~="^a.*"|humidity[en]!="x",1..2);b.c.d[e.f]==2026-03-02T08:15:42Z',
    "a{Room:b{c}};d;e==urn:x:1,urn:x:2;f==true|g=false",
    "observedAt>=2026-01-01T00:00:00Z;a.observedAt<08:00:00Z;scope==/a",
    'a=="\\u00e5\\"",-1.5e3..1e308;x!~=[^;|]*',
    *("((((a))))", "a[*]==1", "ngsi-ld:a.b", "a.unitCode==CEL"),
]
Q_PIECES: Final = [
    *("(", ")", ";", "|", ",", "..", "==", "!=", ">", ">=", "<", "<=", "~=", "!~=", "[", "]", "{", "}", ":", ".", '"'),
    *("\\", "a", "b", "1", "-1.5e3", "1e999", "true", '"x"', "urn:x:1", "[*]", "(a+)+$", "x{1000}", "[[:alpha:]]", "*"),
    *("((((((((((" * 4, "a|" * 60, "2026-01-01", "08:15:42Z", "2026-03-02T08:15:42Z", "99999999999999999999999999"),
]
qs = edited_text(QS, Q_PIECES)
SAMPLE: Final[Any] = {
    "id": "urn:ngsi-ld:Room:1", "type": "Room", "scope": ["/a/b"],
    "temperature": {"type": "Property", "value": 21.5, "unitCode": "CEL", "observedAt": "2026-03-02T08:15:42Z", "datasetId": "urn:d:1"},
    "name": {"type": "LanguageProperty", "languageMap": {"sv": "rum", "en": ["room", "hall"]}},
    "isIn": {"type": "Relationship", "object": "urn:ngsi-ld:Building:1", "objectType": "Building"},
    "location": {"type": "GeoProperty", "value": {"type": "Polygon", "coordinates": [[[17, 62], [18, 62], [18, 63], [17, 62]]]}},
    "raw": {"type": "JsonProperty", "json": {"a": [1, {"b.c": None}]}},
    "list": {"type": "ListProperty", "valueList": [1, "x", None]}, "lists": {"type": "ListRelationship", "objectList": [{"object": "urn:x:1"}]},
    "kind": {"type": "VocabProperty", "vocab": "office"}, "many": [{"value": 1, "datasetId": "urn:d:1"}, {"value": True}],
    "@context": ["https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld", {"a": "https://x.example/a"}],
}  # fmt: skip
EVOLUTION: Final[Any] = {
    "id": "urn:ngsi-ld:Room:1", "type": "Room",
    "temperature": [{"type": "Property", "value": 21.5, "observedAt": "2026-03-02T08:15:42Z"}, {"value": 1, "observedAt": "2026-03-02T08:16:42Z"}],
}  # fmt: skip
AT: Final = "2026-03-02T08:16:00.000Z"
ENTITY: Final = create(parse_entity({k: v for k, v in SAMPLE.items() if k != "@context"}, CORE), AT).entity


class _Names:
    """A store that knows every second name."""

    def number(self, text: str) -> int | None:
        return len(text) if len(text) % 2 else None

    def has_kind(self, name: int, kind: int) -> bool:
        return bool((name + kind) % 2)


def _compiled(query: Any) -> None:
    """For both stores, and for the entity in memory."""
    bson.encode({"filter": mongo.compile_query(query).filter})
    for condition in sql.conditions(query, _Names()):
        for value in (*condition.params, *condition.select_params):
            assert type(value) in (int, float, str, bytes, type(None), bool)
            assert not isinstance(value, int) or -(1 << 63) <= value < 1 << 63
            if isinstance(value, str):
                value.encode()
    compile_query(query)(ENTITY)


def read_parameters(given: dict[str, str]) -> None:
    query = entity_query(given, CORE.expand, LIMITS, linked=False)
    _compiled(query)
    if query.order:
        sort_key(query.order)(ENTITY)


GEOMETRIES: Final = [
    ("Point", "[18.07,64.62]"),
    ("Polygon", "[[[17,62],[18,62],[18,63],[17,62]]]"),
    ("MultiPolygon", "[[[[17,62],[18,62],[18,63],[17,62]]],[[[27,62],[28,62],[28,63],[27,62]]]]"),
    ("LineString", "[[17,62],[18,62]]"),
    ("MultiPoint", "[[17,62],[18,62,4]]"),
    ("MultiLineString", "[[[17,62],[18,62]]]"),
]
GEORELS: Final = [
    "near;maxDistance==2000",
    "near;minDistance==1e3",
    "within",
    "contains",
    "overlaps",
    "intersects",
    "equals",
    "disjoint",
]
_GEO: Final = ["[", "]", ",", "-", "1e999", "180", "-90.0000001", "null", '"x"', "17", "62", "{}", "NaN", "1e-320"]
georels = edited_text(GEORELS, ["near", ";", "maxDistance==", "minDistance==", "0", "1e999", "-1", "1e308", "within"])
coordinates = edited_text([text for _, text in GEOMETRIES], _GEO)
geometries = st.sampled_from([kind for kind, _ in GEOMETRIES]) | st.just("GeometryCollection") | texts
TYPES: Final = [
    "Building|House",
    "(Home;Vehicle),Motorhome",
    "urn:x:Room",
    "*",
    "https://uri.etsi.org/ngsi-ld/default-context/A",
]
SCOPES: Final = ["/Madrid/+/ParqueNorte", "(/A/#;/B),/C", "#", "/å/b"]
SELECTING: Final = ["(", ")", ";", ",", "|", "#", "+", "/", "A", "*", ":", "((((((((((" * 4, "A," * 200]
type_texts, scope_texts = edited_text(TYPES, SELECTING), edited_text(SCOPES, SELECTING)
ORDERS: Final = ["temperature;asc,name[sv];desc", "location;dist-asc", "a.b[c.d],e", "id;desc", "modifiedAt"]
orders = edited_text(ORDERS, [";", ",", "asc", "desc", "dist-asc", "dist-desc", "[", "]", ".", "a", "location"])
PATTERNS: Final = ["^urn:ngsi-ld:Room:[0-9]+$", "(a+)+$", "[[:alpha:]]{2,5}", "(?i)å|ä", "\\p{L}*\\d"]
patterns = edited_text(
    PATTERNS, ["(", ")", "[", "]", "{1,1000}", "*", "+", "?", "|", "\\", "\\C", "(?P<n>", "(?!a)", ".", "^", "$"]
)
RIGHT: Final[list[dict[str, str]]] = [
    {"type": "Room", "q": QS[0], "scopeQ": "/a/#", "limit": "5", "offset": "2"},
    {
        "attrs": "temperature,name",
        "id": "urn:ngsi-ld:Room:1",
        "idPattern": PATTERNS[0],
        "datasetId": "urn:d:1,@none",
        "count": "true",
    },
    {
        "georel": GEORELS[0],
        "geometry": "Point",
        "coordinates": "[18.07,64.62]",
        "geoproperty": "location",
        "local": "true",
    },
    {"type": "*", "local": "true", "orderBy": ORDERS[0], "collation": "sv"},
    {"type": TYPES[1], "orderBy": ORDERS[1], "orderFrom": "[18.07,64.62]", "orderGeometry": "Point"},
    {"q": QS[1].partition(";")[2], "expandValues": "e", "jsonKeys": "b"},
]
ANY: Final = {
    "id": texts, "idPattern": patterns, "type": type_texts, "attrs": texts | st.just("a,b"), "q": qs, "georel": georels, "geometry": geometries,
    "coordinates": coordinates, "geoproperty": texts, "scopeQ": scope_texts, "datasetId": texts, "orderBy": orders,
    "collation": texts | st.just("sv-SE"), "orderFrom": coordinates, "orderGeometry": geometries, "limit": texts | st.integers(-2, 2000).map(str),
    "offset": texts | st.integers(-2, 2**70).map(str), "count": texts | st.just("true"), "local": texts | st.just("true"), "expandValues": texts,
    "jsonKeys": texts,
}  # fmt: skip
one_wrong = st.sampled_from(sorted(ANY)).flatmap(lambda name: st.tuples(st.just(name), ANY[name]))
parameters = st.builds(
    lambda right, wrong: right | dict(wrong), st.sampled_from(RIGHT), st.lists(one_wrong, max_size=2)
)
BODIES: Final = [
    orjson.dumps(
        {
            "type": "Query", "entities": [{"type": "Room", "id": ["urn:x:1"], "idPattern": "^urn"}], "attrs": ["a"], "q": "a==1", "pick": ["a"],
            "omit": ["b"], "geoQ": {"geometry": "Point", "coordinates": [18, 64], "georel": "near;maxDistance==5", "geoproperty": "location"},
            "scopeQ": "/a/#", "datasetId": ["urn:d:1"], "ordering": {"orderBy": ["a;desc"], "geometry": "Point", "coordinates": [1, 2]},
            "lang": "sv", "join": "flat", "joinLevel": 2, "containedBy": ["urn:x:2"], "expandValues": "a", "jsonKeys": "b", "entityMap": True,
        }
    )
]  # fmt: skip
CONTEXTS: Final = [
    orjson.dumps({"@context": ["https://contexts.example/a.jsonld", {"a": {"@id": "https://x.example/a", "@type": "@vocab", "@container": "@set"}}]}),
    orjson.dumps({"@context": {"@vocab": "https://x.example/", "p": "https://p.example/", "b": "p:b", "c": {"@reverse": "p:c"}, "d": None}}),
    orjson.dumps({"@context": {"@version": 1.1, "@base": None, "@protected": True, "t": {"@id": "p:t", "@context": {"u": "p:u"}, "@prefix": True}, "p": "https://p.example/"}}),
]  # fmt: skip
LINKS: Final = [
    '<https://x.example/c.jsonld>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"',
    '<https://x.example/a>; rel=next, <https://x.example/b>; rel="http://www.w3.org/ns/json-ld#context"',
]
FORMULAS: Final = [
    "(a - b) * 100 / max(c, 1)",
    "a if b > 2 and not c else -d ** 0.5",
    "round(log(a) + sqrt(b), 2)",
    "a // 3 % 2 == 1",
]
_MATHS: Final = [
    *(
        "(",
        ")",
        "**",
        "*",
        "/",
        "//",
        "%",
        "+",
        "-",
        ",",
        "a",
        "b",
        "9" * 40,
        "1e308",
        "max",
        "log",
        "sqrt",
        "round",
        "exp",
        "if",
    ),
    *(
        " else ",
        "__import__('os')",
        "().__class__",
        "lambda: 1",
        "[1]*9",
        "'a'*9",
        "(" * 60,
        "not ",
        " and ",
        "==",
        "<",
        "f(",
        "**9" * 6,
    ),
]


def parse_body(body: bytes) -> None:
    document = parse_json(body, max_depth=LIMITS.json_depth)
    given, selectors = read_query(document, CORE.expand, LIMITS)
    _compiled(entity_query(given, CORE.expand, LIMITS, selectors=selectors))


def parse_document(body: bytes, *, parse: Callable[[Any], Any]) -> None:
    """A body, by the same way as a request's."""
    document = parse_json(body, max_depth=LIMITS.json_depth)
    if isinstance(document, dict):
        document.pop("@context", None)
    orjson.dumps(parse(document), default=repr)


def _entity(document: Any) -> Any:
    entity = create(parse_entity(document, CORE), AT).entity
    assert entity is not None
    return render_entity(entity, CORE)


def read_context(given: tuple[bytes, Any]) -> None:
    """An @context in a body, that names another which is anything."""

    async def resolved() -> None:
        document = orjson.loads(given[0])
        value = document.get("@context") if isinstance(document, dict) else document
        resolver = Web({"https://contexts.example/a.jsonld": {"@context": given[1]}}).resolver()
        context = await resolver.resolve(value)
        for name in ("a", "b", "t", "p:x", "temperature", *NAMES[:6]):
            try:
                iri = context.expand(name)
            except BadRequestData:
                continue
            assert context.expand(context.compact(iri)) == iri

    try:
        asyncio.run(resolved())
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(str(error)) from None


def read_geo(given: tuple[str, str, str, str | None]) -> None:
    georel, geometry, there, attribute = given
    parse_geo(georel, geometry, there, attribute, CORE.expand, LIMITS)


def search(given: tuple[str, str]) -> None:
    check_pattern(given[0], "q", LIMITS)
    finder(given[0])(given[1] * 100)


def formula(given: tuple[str, dict[str, Any]]) -> None:
    expression = Expression(given[0])
    values_ = list(given[1].values()) or [1]
    found = expression.value({name: values_[n % len(values_)] for n, name in enumerate(expression.names)})
    assert found is None or abs(found) <= 1.8e308


def moment(text: str) -> None:
    for read in (parse_iso, parse_network_time):
        at: Micros | None = read(text)
        if at is not None:
            assert abs(at) < 1 << 60
    at = parse_iso(text)
    if at is not None:
        assert parse_iso(iso(at)) == at


def _evolution(document: Any) -> Any:
    return parse_evolution(document, CORE)


def _fragment(document: Any) -> Any:
    return parse_fragment(document, CORE)


TARGETS: Final = [
    Target("q", qs, lambda text: parse_q(text, CORE.expand, LIMITS), BAD, 4),
    Target("q of linked entities", qs, lambda text: parse_q(text, CORE.expand, LIMITS, linked=True), BAD, 2),
    Target("query parameters", parameters, read_parameters, BAD, 4),
    Target("query bodies", edited_json(BODIES) | edited(BODIES), parse_body, BAD, 2),
    Target("types", type_texts, lambda text: parse_types(text, CORE.expand, LIMITS), BAD),
    Target("scopes", scope_texts, lambda text: parse_scope(text, LIMITS), BAD),
    Target(
        "geo queries",
        st.tuples(georels, geometries, coordinates, st.none() | texts),
        read_geo,
        BAD,
        2,
    ),
    Target("orders", orders, lambda text: parse_order(text, None, CORE.expand, LIMITS), BAD),
    Target(
        "regular expressions",
        st.tuples(patterns, texts),
        search,
        BAD,
        2,
    ),
    Target(
        "projections",
        edited_text(["a,b{c,d{e}}", "id,type"], ["{", "}", ",", "a", "{" * 60]),
        lambda text: parse_projection(text, "pick", CORE.expand, 100),
        BAD,
    ),
    Target(
        "temporal queries",
        st.fixed_dictionaries({}, optional={
            "timerel": st.sampled_from(["before", "after", "between"]) | texts, "timeAt": texts, "endTimeAt": texts,
            "timeproperty": st.sampled_from(["observedAt", "createdAt"]) | texts, "lastN": texts | st.integers(-2, 2**70).map(str),
        }),
        parse_temporal,
        BAD,
    ),
    Target(
        "@contexts",
        st.tuples(edited_json(CONTEXTS) | edited(CONTEXTS), values | st.sampled_from(CONTEXTS).map(lambda it: json.loads(it)["@context"])),
        read_context,
        (BrokerError,),
        2,
    ),
    Target("Link headers", st.lists(edited_text(LINKS, list('<>;,="\\ ')), max_size=2), parse_context_link, BAD),
    Target("entities", edited_json([orjson.dumps(SAMPLE)]) | edited([orjson.dumps(SAMPLE)]), partial(parse_document, parse=_entity), BAD, 3),
    Target("fragments", edited_json([orjson.dumps(SAMPLE)]), partial(parse_document, parse=_fragment), BAD),
    Target("temporal evolutions", edited_json([orjson.dumps(EVOLUTION)]), partial(parse_document, parse=_evolution), BAD),
    Target(
        "formulas",
        st.tuples(edited_text(FORMULAS, _MATHS), st.dictionaries(st.sampled_from("abcd"), st.floats() | st.integers() | st.booleans() | any_texts)),
        formula,
        (FormulaError,),
        2,
    ),
    Target("times", st.sampled_from(TIMES) | edited_text(TIMES, [*"0123456789", ":", "Z", "+", "-", "T", "٣"]), moment, ()),
]  # fmt: skip
