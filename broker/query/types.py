"""The parser of type selection: `Building|House`, `(Home;Vehicle),Motorhome` (ETSI GS CIM 009 v1.9.1, 4.17).

The grammar is that of `broker.query.selection`; a leaf is a type's name or URI. A URI with any of `,;|()` inside cannot
be written here; the clause recommends short names.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from broker.config import Limits
from broker.query.ast import AllTypes, AnyType, HasType, TypeSelection
from broker.query.literals import is_uri
from broker.query.selection import Selection

_NAME = re.compile(r"[^\W\d_][\w:-]*")


def parse_types(text: str, expand: Callable[[str], str], limits: Limits) -> TypeSelection:
    """The selection, with names expanded. Raises BadRequestData, TooComplexQuery."""

    def leaf(name: str) -> TypeSelection:
        if not _NAME.fullmatch(name) and not is_uri(name):
            raise ValueError("an entity type's name or URI")
        return HasType(expand(name))

    return Selection[TypeSelection]("type", leaf, AllTypes, AnyType).parse(text, limits)
