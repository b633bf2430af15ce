"""Conditions on linked entities become conditions on relationships (ETSI GS CIM 009 v1.9.1, 4.9)."""

from __future__ import annotations

import pytest

from broker.config import Limits
from broker.errors import BadRequestData, TooComplexQuery
from broker.query.ast import And, Comparison, EntityQuery, Exists, HasType, Linked, Or, Path
from broker.query.linked import without_links
from broker.query.match import matches
from broker.query.q import parse_q
from tests.support.stores import VOCAB, iri

LIMITS = Limits()


def parsed(text: str) -> object:
    return parse_q(text, iri, LIMITS, linked=True)


def test_braces_hold_what_is_asked_of_the_linked_entity() -> None:
    humid = Comparison(Path(VOCAB + "humidity"), "==", (40,))
    assert parsed("sensor{humidity}==40") == Linked(VOCAB + "sensor", (), humid)
    assert parsed("sensor{Device:humidity}==40") == Linked(VOCAB + "sensor", (VOCAB + "Device",), humid)
    assert parsed("a{B,C:d{e.observedAt}};f") == And(
        (
            Linked(
                VOCAB + "a",
                (VOCAB + "B", VOCAB + "C"),
                Linked(VOCAB + "d", (), Exists(Path(VOCAB + "e", ("observedAt",)))),
            ),
            Exists(Path(VOCAB + "f")),
        )
    )


@pytest.mark.parametrize("text", ["a{b", "a{b==1}", "a{}", "a.b{c}", "a{b}}", "a{b:}"])
def test_broken_braces_are_refused(text: str) -> None:
    with pytest.raises(BadRequestData, match="'q'"):
        parsed(text)


def test_links_are_followed_so_far_and_no_farther() -> None:
    with pytest.raises(TooComplexQuery, match="relationships"):
        parsed("a{" * 9 + "b" + "}" * 9)


def test_where_nobody_can_look_linked_entities_up_they_are_refused() -> None:
    with pytest.raises(BadRequestData, match="linked entities"):
        parse_q("a{b}==1", iri, LIMITS)


async def test_ids_of_those_that_meet_the_condition_stand_in_for_it() -> None:
    asked: list[EntityQuery] = []

    async def find(query: EntityQuery) -> list[str]:
        asked.append(query)
        return ["urn:x:1", "urn:x:2"]

    query = EntityQuery(q=parse_q("a{T:b{c}}>1|d", iri, LIMITS, linked=True), now=7)
    found = await without_links(query, find, 10)
    assert found.q == Or((Comparison(Path(VOCAB + "a"), "==", ("urn:x:1", "urn:x:2")), Exists(Path(VOCAB + "d"))))
    inner, outer = asked
    assert inner.q == Comparison(Path(VOCAB + "c"), ">", (1,)) and inner.types is None and inner.now == 7
    assert outer.types == HasType(VOCAB + "T") and outer.q == Comparison(
        Path(VOCAB + "b"), "==", ("urn:x:1", "urn:x:2")
    )


async def test_nothing_that_meets_the_condition_selects_nothing() -> None:
    async def find(query: EntityQuery) -> list[str]:
        return []

    found = await without_links(EntityQuery(q=parse_q("a{b}", iri, LIMITS, linked=True)), find, 10)
    entity = {"id": "urn:x:1", "type": [], "attrs": {iri("a"): []}, "createdAt": "", "modifiedAt": ""}
    assert not matches(found, entity)  # type: ignore[arg-type]


async def test_too_many_that_meet_the_condition_are_refused() -> None:
    async def find(query: EntityQuery) -> list[str]:
        return [f"urn:x:{number}" for number in range(query.limit)]

    with pytest.raises(TooComplexQuery, match="more than 10"):
        await without_links(EntityQuery(q=parse_q("a{b}", iri, LIMITS, linked=True)), find, 10)
