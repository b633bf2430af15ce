from __future__ import annotations

import pytest

from broker.config import Limits
from broker.errors import BadRequestData, TooComplexQuery
from broker.query.ast import AllScopes, AllTypes, AnyScope, AnyType, HasType, ScopeIs, ScopeQuery, TypeSelection
from broker.query.scope import parse_scope
from broker.query.types import parse_types
from tests.unit.query.printing import VOCAB

LIMITS = Limits()


def expand(term: str) -> str:
    return term if ":" in term else VOCAB + term


def has(name: str) -> TypeSelection:
    return HasType(expand(name))


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("Building", has("Building")),
        ("Building|House", AnyType((has("Building"), has("House")))),
        ("Building,House", AnyType((has("Building"), has("House")))),
        ("(Home;Vehicle)", AllTypes((has("Home"), has("Vehicle")))),
        ("(Home;Vehicle),Motorhome", AnyType((AllTypes((has("Home"), has("Vehicle"))), has("Motorhome")))),
        ("(A;(B|C))", AllTypes((has("A"), AnyType((has("B"), has("C")))))),
        ("https://e.org/x#T", has("https://e.org/x#T")),
    ],
)
def test_types_are_selected_as_in_the_clause(text: str, meaning: TypeSelection) -> None:
    assert parse_types(text, expand, LIMITS) == meaning


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("/Madrid", ScopeIs(("Madrid",))),
        ("/Madrid/Gardens/#", ScopeIs(("Madrid", "Gardens", "#"))),
        ("/Madrid/+/ParqueNorte", ScopeIs(("Madrid", "+", "ParqueNorte"))),
        ("/#", ScopeIs(("#",))),
        (
            "(/Madrid/Districts;/CompanyA)|CompanyB",
            AnyScope((AllScopes((ScopeIs(("Madrid", "Districts")), ScopeIs(("CompanyA",)))), ScopeIs(("CompanyB",)))),
        ),
    ],
)
def test_scopes_are_selected_as_in_the_clause(text: str, meaning: ScopeQuery) -> None:
    assert parse_scope(text, LIMITS) == meaning


@pytest.mark.parametrize("text", ["", "a,", "a;b", "(a", "(a;b", "a)", 'a"', "a b", "(a;)b", "()"])
def test_a_broken_type_selection_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadRequestData, match="'type' must have"):
        parse_types(text, expand, LIMITS)


@pytest.mark.parametrize("text", ["", "/", "/a/#/b", "/a//b", "/a b", "/a;", "/a+", "(/a"])
def test_a_broken_scope_query_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadRequestData, match="'scopeQ' must have"):
        parse_scope(text, LIMITS)


@pytest.mark.parametrize("text", ["a" * 9000, ",".join("a" * 101), "(" * 5000 + "a"])
def test_a_selection_beyond_the_limits_is_too_complex(text: str) -> None:
    with pytest.raises(TooComplexQuery, match="'type'"):
        parse_types(text, expand, LIMITS)
