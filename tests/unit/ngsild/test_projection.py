"""pick and omit, into linked entities too (ETSI GS CIM 009 v1.9.1, 4.21)."""

from __future__ import annotations

import pytest

from broker.errors import BadRequestData, TooComplexQuery
from broker.ngsild.projection import Projection, parse_projection
from tests.support.stores import VOCAB, iri


def parsed(text: str) -> Projection:
    return parse_projection(text, "pick", iri, 100)


def test_names_are_a_list_by_comma_or_pipe() -> None:
    assert parsed("id,temperature|scope").names == {"id", "scope", VOCAB + "temperature"}


def test_braces_say_what_is_shown_of_linked_entities() -> None:
    found = parsed("id,locatedAt{name,isIn{id}},size")
    located = VOCAB + "locatedAt"
    assert found.names == {"id", located, VOCAB + "size"}
    assert found.plain == {"id", VOCAB + "size"}
    assert found.linked[located].names == {VOCAB + "name", VOCAB + "isIn"}
    assert found.linked[located].linked[VOCAB + "isIn"] == Projection(frozenset({"id"}))
    assert found.depth == 2


@pytest.mark.parametrize("text", ["", ",", "a,", "a{", "a{}", "a{b", "a}", "a b", "{a}"])
def test_what_is_no_projection_is_refused(text: str) -> None:
    with pytest.raises(BadRequestData, match="'pick'"):
        parsed(text)


def test_a_projection_has_bounds() -> None:
    with pytest.raises(TooComplexQuery):
        parsed("a{" * 20 + "b" + "}" * 20)
    with pytest.raises(TooComplexQuery):
        parse_projection("a,b,c", "omit", iri, 2)
