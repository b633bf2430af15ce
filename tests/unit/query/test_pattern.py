from __future__ import annotations

import pytest

from broker.config import Limits
from broker.errors import BadRequestData, TooComplexQuery
from broker.query.pattern import check_pattern, finder


def test_a_pattern_is_found_anywhere_unless_anchored() -> None:
    assert finder("oo")("Room")
    assert not finder("^oo")("Room")
    assert finder("^R.*m$")("Room")
    assert finder("å$")("på")
    assert finder("[[:digit:]]{3}")("Room 214")


def test_a_pattern_that_explodes_elsewhere_answers_at_once() -> None:
    assert not finder("^(a+)+$")("a" * 100_000 + "b")
    assert not finder("^(a|a)*$")("a" * 100_000 + "b")


@pytest.mark.parametrize("pattern", ["(", "[a", "a{5001}", "(?=a)", r"(a)\1", "*", "((a{100}){100}){100}"])
def test_what_is_no_pattern_is_refused_with_the_parameter_and_the_reason(pattern: str) -> None:
    with pytest.raises(BadRequestData) as error:
        check_pattern(pattern, "idPattern", Limits())
    assert "'idPattern' is not valid: " in error.value.detail
    assert pattern in error.value.detail


def test_a_pattern_longer_than_the_limit_is_too_complex() -> None:
    with pytest.raises(TooComplexQuery, match=r"'idPattern' has 513 characters.*limits\.pattern_characters"):
        check_pattern("a" * 513, "idPattern", Limits())


@pytest.mark.parametrize("pattern", ["(x{100}){9}" * 20, r"[\pL\pN]{1000}", r"[\pL\pN]{64}"])
def test_a_short_pattern_that_compiles_to_much_is_too_complex(pattern: str) -> None:
    with pytest.raises(TooComplexQuery, match="'idPattern' is too large"):
        check_pattern(pattern, "idPattern", Limits())
