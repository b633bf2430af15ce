"""orderBy: what it may say, and which of two entities comes first (ETSI GS CIM 009 v1.9.1, 4.23)."""

from __future__ import annotations

import random
from typing import Any

import pytest

from broker.config import Limits
from broker.errors import BadRequestData, TooComplexQuery
from broker.ngsild.model import Entity
from broker.query.ast import OrderTerm, Path
from broker.query.collation import collation
from broker.query.order import parse_order, sort_key
from tests.support.stores import VOCAB, geo, iri, prop

LIMITS = Limits()


def entity(number: int, **attributes: Any) -> Entity:
    attrs: Any = {
        iri(name): [value if isinstance(value, dict) and "type" in value else prop(value)]
        for name, value in attributes.items()
    }
    return {
        "id": f"urn:x:{number}",
        "type": ["T"],
        "attrs": attrs,
        "createdAt": f"2026-01-0{number}T00:00:00Z",
        "modifiedAt": "2026-01-09T00:00:00Z",
    }


def ordered(
    entities: list[Entity], text: str, reference: dict[str, Any] | None = None, name: str | None = None
) -> list[str]:
    terms = parse_order(text, reference, iri, LIMITS)
    shuffled = random.Random(5).sample(entities, len(entities))
    return [each["id"].rpartition(":")[2] for each in sorted(shuffled, key=sort_key(terms, name))]


def test_terms_name_members_attributes_and_values_in_them() -> None:
    terms = parse_order("id,createdAt;desc,name,address[city],name.observedAt;asc", None, iri, LIMITS)
    assert terms == (
        OrderTerm(Path("id")),
        OrderTerm(Path("createdAt"), descending=True),
        OrderTerm(Path(VOCAB + "name")),
        OrderTerm(Path(VOCAB + "address", (), ("city",))),
        OrderTerm(Path(VOCAB + "name", ("observedAt",))),
    )


@pytest.mark.parametrize("text", ["", ",name", "name,", "name;up", "name;dist-asc", "a b"])
def test_what_is_no_order_is_refused(text: str) -> None:
    with pytest.raises(BadRequestData, match="orderBy"):
        parse_order(text, None, iri, LIMITS)


def test_an_order_has_so_many_terms_and_no_more() -> None:
    with pytest.raises(TooComplexQuery):
        parse_order(",".join(["name"] * 17), None, iri, LIMITS)


def test_kinds_come_in_the_standards_order_and_what_is_missing_comes_last_both_ways() -> None:
    values: list[Any] = [5, "text", {"a": 1}, [1], True, "12:00:00Z", "2026-01-01", "2026-01-01T00:00:00Z", None]
    entities = [entity(number, v=prop(value)) for number, value in enumerate(values, 1)] + [
        {**entity(1), "id": "urn:x:missing"}
    ]
    assert ordered(entities, "v") == ["1", "2", "3", "4", "5", "6", "7", "8", "9", "missing"]
    assert ordered(entities, "v;desc") == ["8", "7", "6", "5", "4", "3", "2", "1", "9", "missing"]


def test_later_terms_decide_where_earlier_ones_do_not() -> None:
    entities = [entity(1, name="b", age=1), entity(2, name="a", age=1), entity(3, name="a", age=2)]
    assert ordered(entities, "name,age;desc") == ["3", "2", "1"]
    assert ordered(entities, "age,id;desc") == ["2", "1", "3"]
    assert ordered(entities, "createdAt;desc") == ["3", "2", "1"]


def test_the_default_instance_is_the_one_that_counts() -> None:
    one = entity(1)
    one["attrs"][iri("v")] = [prop(9, datasetId="urn:d"), prop(1)]
    assert ordered([one, entity(2, v=5)], "v") == ["1", "2"]


def test_by_distance_places_come_first_and_others_by_value() -> None:
    here = {"type": "Point", "coordinates": [17.3, 62.4]}
    entities = [
        entity(1, location=geo({"type": "Point", "coordinates": [18.0, 59.3]})),
        entity(2, location=geo({"type": "Point", "coordinates": [17.3, 62.5]})),
        entity(3, location=prop("somewhere")),
    ]
    assert ordered(entities, "location;dist-asc", here) == ["2", "1", "3"]
    assert ordered(entities, "location;dist-desc", here) == ["1", "2", "3"]


def test_texts_are_in_the_order_of_letters_then_accents_then_case() -> None:
    texts = ["Örebro", "Åre", "zebra", "Arvika", "ärla", "a b", "a1", "ab", "AB", "resume", "résumé"]
    assert sorted(texts, key=collation(None)) == [
        "a b", "a1", "ab", "AB", "Åre", "ärla", "Arvika", "Örebro", "resume", "résumé", "zebra",
    ]  # fmt: skip
    assert sorted(texts, key=collation("sv-SE")) == [
        "a b", "a1", "ab", "AB", "Arvika", "resume", "résumé", "zebra", "Åre", "ärla", "Örebro",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [("de-u-co-phonebk", "Ärger", "Afrika"), ("da", "Zoo", "Ærø"), ("nb-NO", "ærlig", "ørn"), ("fi", "zulu", "ääni")],
)
def test_languages_have_letters_of_their_own(name: str, first: str, second: str) -> None:
    assert sorted([second, first], key=collation(name)) == [first, second]


def test_a_weak_collation_tells_no_case_apart() -> None:
    key = collation("und-u-ks-level2")
    assert key("Mercedes") == key("mercedes")
    assert collation("und-u-ks-level1")("resume") == collation("und-u-ks-level1")("résumé")
    assert collation("und-x-icu")("A") != collation(None)("a")


@pytest.mark.parametrize("name", ["", "bogus name", "und-u-ks-level9", "x" * 99])
def test_what_is_no_collation_is_refused(name: str) -> None:
    with pytest.raises(BadRequestData, match="collation"):
        collation(name)
