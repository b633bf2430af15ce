"""Where a page begins, as opaque text that a client hands back: base64url of JSON, checked as input is.

It holds values that the store compares with, as parameters only: a forged one finds the wrong page, nothing else.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from hashlib import blake2b
from typing import Any, Final

import orjson

from broker.errors import BadRequestData
from broker.query.ast import EntityQuery

LONGEST: Final = 4096
"""Characters of a position that is read."""
LONGEST_VALUE: Final = 1024
"""Characters of a text in a position; an order with longer ones has no positions there."""

Position = tuple[Any, ...]


def write_position(query: EntityQuery, position: Position) -> str:
    """The position behind the entity with these values, in the order of `query`."""
    return urlsafe_b64encode(orjson.dumps([_order(query), *position])).rstrip(b"=").decode()


def read_position(query: EntityQuery, kinds: tuple[tuple[type, ...], ...]) -> Position | None:
    """The values of `query.after`, each of one of its kinds; None without it. Raises BadRequestData."""
    text = query.after
    if text is None:
        return None
    try:
        if len(text) > LONGEST:
            raise ValueError(text)
        order, *values = orjson.loads(urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)))
        if order != _order(query) or len(values) != len(kinds):
            raise ValueError(text)
        if not all(type(value) in allowed for value, allowed in zip(values, kinds, strict=True)):
            raise ValueError(text)
    except (ValueError, TypeError, Error):
        raise BadRequestData(
            "The position to go on from is not one that this broker gave for this query: take the 'next' link as it is, "
            f"got '{text[:60]}'."
        ) from None
    return tuple(values)


def _order(query: EntityQuery) -> str:
    if not query.order:
        return ""
    return blake2b(repr((query.order, query.collation)).encode(), digest_size=6).hexdigest()
