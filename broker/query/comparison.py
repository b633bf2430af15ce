"""One comparison of q as a function on targets; the rules are in the table of `broker.query.match`."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from broker.ngsild.model import Entity
from broker.query.ast import Comparison, Range, Scalar
from broker.query.pattern import finder
from broker.query.targets import targets
from broker.query.values import comparable

Matcher = Callable[[Entity], bool]
Test = Callable[[Any], bool]

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def compile_comparison(term: Comparison) -> Matcher:
    """The comparison as a function on an entity."""
    path = term.path
    if term.operator in ("~=", "!~="):
        return _pattern(term)
    if term.operator in ("==", "!="):
        test = _any_of([_equal(value) for value in term.values])
        if term.operator == "==":
            return lambda entity: any(test(scalar) for scalars, _ in targets(path, entity) for scalar in scalars)
        return lambda entity: any(not any(map(test, scalars)) for scalars, _ in targets(path, entity))
    ordered = _any_of([_ordered(term.operator, value) for value in term.values])
    return lambda entity: any(
        ordered(scalar) for scalars, related in targets(path, entity) if not related for scalar in scalars
    )


def _any_of(tests: list[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    return lambda scalar: any(test(scalar) for test in tests)


def _equal(value: Scalar | Range) -> Test:
    if isinstance(value, Range):
        low, high = comparable(value.low), comparable(value.high)
        if low is None or high is None or low[0] != high[0] or low[0] == "boolean":
            return _never
        kind, least, most = low[0], low[1], high[1]

        def between(scalar: Any) -> bool:
            found = comparable(scalar)
            return found is not None and found[0] == kind and least <= found[1] <= most

        return between
    wanted = comparable(value)
    return lambda scalar: comparable(scalar) == wanted


def _ordered(sign: str, value: Scalar | Range) -> Test:
    wanted = None if isinstance(value, Range) else comparable(value)
    if wanted is None or wanted[0] == "boolean":
        return _never
    kind, bound = wanted
    holds = _ORDER[sign]

    def test(scalar: Any) -> bool:
        found = comparable(scalar)
        return found is not None and found[0] == kind and holds(found[1], bound)

    return test


def _never(_: Any) -> bool:
    return False


def _pattern(term: Comparison) -> Matcher:
    path, found = term.path, finder(str(term.values[0]))
    if term.operator == "~=":
        return lambda entity: any(
            isinstance(scalar, str) and found(scalar)
            for scalars, related in targets(path, entity)
            if not related
            for scalar in scalars
        )

    def unmatched(entity: Entity) -> bool:
        for scalars, related in targets(path, entity):
            texts = [scalar for scalar in scalars if isinstance(scalar, str)]
            if texts and not related and not any(map(found, texts)):
                return True
        return False

    return unmatched
