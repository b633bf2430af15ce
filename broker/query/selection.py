"""What type selection (4.17) and scope queries (4.19) share: alternatives, and conjunctions in parentheses.

    Selection = Option *(("," / "|") Option)
    Option    = Leaf / "(" Leaf *(";" Leaf) ")"      ; ETSI GS CIM 009 v1.9.1, 4.17 and 4.19

A group may also hold alternatives and further groups, as the clauses' common operators allow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from broker.config import Limits
from broker.errors import BadRequestData, TooComplexQuery

T = TypeVar("T")

_SPECIAL = frozenset(",|;()")
DEEPEST = 32
"""Parentheses within each other, levels."""


class Selection(Generic[T]):
    """A parser of one parameter: how its leaves are read, and how they are combined."""

    def __init__(
        self,
        name: str,
        leaf: Callable[[str], T],
        every: Callable[[tuple[T, ...]], T],
        either: Callable[[tuple[T, ...]], T],
        *,
        bare: bool = False,
    ) -> None:
        """`bare`: ';' may also join without parentheses around it; it then binds tighter than ','."""
        self.name = name
        self._leaf = leaf
        self._every = every
        self._either = either
        self._bare = bare

    def parse(self, text: str, limits: Limits) -> T:
        """The selection. Raises BadRequestData with position and text, TooComplexQuery beyond the limits."""
        if len(text) > limits.query_characters:
            raise TooComplexQuery(
                f"'{self.name}' has {len(text)} characters; "
                f"the limit (limits.query_characters) is {limits.query_characters}."
            )
        if sum(text.count(mark) for mark in ",|;") >= limits.query_terms:
            raise TooComplexQuery(f"'{self.name}' has more than {limits.query_terms} terms (limits.query_terms).")
        found, at = self._alternatives(text, 0, 0)
        if at < len(text):
            if text[at] == ";":
                raise BadRequestData(f"'{self.name}' must have parentheses around what ';' joins, got '{text}'.")
            raise self._expected("',', '|' or the end", text, at)
        return found

    def _alternatives(self, text: str, at: int, depth: int) -> tuple[T, int]:
        first, at = self._conjunction(text, at, depth)
        options = [first]
        while at < len(text) and text[at] in ",|":
            option, at = self._conjunction(text, at + 1, depth)
            options.append(option)
        return (first if len(options) == 1 else self._either(tuple(options))), at

    def _conjunction(self, text: str, at: int, depth: int) -> tuple[T, int]:
        first, at = self._option(text, at, depth)
        terms = [first]
        while (depth or self._bare) and at < len(text) and text[at] == ";":
            term, at = self._option(text, at + 1, depth)
            terms.append(term)
        return (first if len(terms) == 1 else self._every(tuple(terms))), at

    def _option(self, text: str, at: int, depth: int) -> tuple[T, int]:
        if text.startswith("(", at):
            if depth == DEEPEST:
                raise TooComplexQuery(f"'{self.name}' has parentheses nested deeper than {DEEPEST} levels.")
            found, end = self._alternatives(text, at + 1, depth + 1)
            if not text.startswith(")", end):
                raise self._expected("')'", text, end)
            return found, end + 1
        end = at
        while end < len(text) and text[end] not in _SPECIAL:
            end += 1
        try:
            return self._leaf(text[at:end]), end
        except ValueError as error:
            raise self._expected(str(error), text, at) from None

    def _expected(self, what: str, text: str, at: int) -> BadRequestData:
        rest = text[at : at + 20]
        got = f"'{rest}'" if rest else "the end"
        return BadRequestData(f"'{self.name}' must have {what} at position {at + 1}, got {got}.")
