"""A few inputs of each target, always the same. The long run: `make fuzz MINUTES=60`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from tests.fuzz.target import Tally, Target, attempt
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_whatever_comes_it_is_read_or_refused(target: Target) -> None:
    tally = Tally()

    @settings(max_examples=25 * target.weight, derandomize=True, database=None)
    @given(target.inputs)
    def each(one: Any) -> None:
        attempt(target, one, tally)

    each()
    assert tally.tried
