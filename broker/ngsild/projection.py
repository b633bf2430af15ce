"""Which members of an entity, and of the entities it links to, are shown (ETSI GS CIM 009 v1.9.1, 4.21).

Projection = Term *(("," / "|") Term)
Term       = Name ["{" Projection "}"]            ; in braces: what is shown of the entities that a relationship leads to
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from broker.errors import BadRequestData, TooComplexQuery
from broker.ngsild.model import Iri

MEMBERS: Final = frozenset({"id", "type", "scope"})
"""Members of an entity that are named by themselves, not expanded."""

DEEPEST: Final = 16
"""Braces within each other, levels."""

_NAME = re.compile(r"[^,|{}\s]+")


@dataclass(frozen=True, slots=True)
class Projection:
    """Names of attributes (IRIs) and of 'id', 'type', 'scope'; for relationships maybe what it is of linked entities."""

    names: frozenset[str]
    """All that are named, those with braces too."""
    linked: Mapping[Iri, Projection] = field(default_factory=dict)

    @property
    def plain(self) -> frozenset[str]:
        """Those that are named without braces."""
        return self.names - self.linked.keys()

    @property
    def depth(self) -> int:
        """How many relationships it follows one after the other."""
        return max((1 + inner.depth for inner in self.linked.values()), default=0)


def parse_projection(text: str, parameter: str, expand: Callable[[str], Iri], most: int) -> Projection:
    """The projection that the parameter (`pick` or `omit`) asks for. Raises BadRequestData, TooComplexQuery."""
    reader = _Reader(text, parameter, expand, most)
    found = reader.projection(0)
    if reader.at < len(text):
        raise reader.expected("',' or the end")
    return found


class _Reader:
    def __init__(self, text: str, parameter: str, expand: Callable[[str], Iri], most: int) -> None:
        self.text, self.parameter, self.expand, self.most = text, parameter, expand, most
        self.at = 0
        self.count = 0

    def expected(self, what: str) -> BadRequestData:
        rest = self.text[self.at : self.at + 20]
        got = f"'{rest}'" if rest else "the end"
        return BadRequestData(f"'{self.parameter}' must have {what} at position {self.at + 1}, got {got}.")

    def take(self, marks: str) -> bool:
        if self.at < len(self.text) and self.text[self.at] in marks:
            self.at += 1
            return True
        return False

    def projection(self, depth: int) -> Projection:
        if depth > DEEPEST:
            raise TooComplexQuery(f"'{self.parameter}' has braces nested deeper than {DEEPEST} levels.")
        names: set[str] = set()
        linked: dict[Iri, Projection] = {}
        while True:
            found = _NAME.match(self.text, self.at)
            if found is None:
                raise self.expected("a name")
            self.at = found.end()
            self.count += 1
            if self.count > self.most:
                raise TooComplexQuery(f"'{self.parameter}' has more than {self.most} names.")
            name = found[0] if found[0] in MEMBERS else self.expand(found[0])
            names.add(name)
            if self.take("{"):
                linked[name] = self.projection(depth + 1)
                if not self.take("}"):
                    raise self.expected("'}'")
            if not self.take(",|"):
                return Projection(frozenset(names), linked)
