"""Links to the next and the previous page (ETSI GS CIM 009 v1.9.1, 5.5.9 and 6.3.10; RFC 8288).

Far from the start the next page is named by where it begins, beside its offset, so that the thousandth costs what the
first one costs; near it, the offset says as much.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

COUNT_HEADER = "NGSILD-Results-Count"
"""How many there are in all, when the request asks with `count=true` (6.3.13)."""

NEAR = 1000
"""Elements that a store passes over in no time, count."""

_UNESCAPED = ":/@,*$'()!"
"""Allowed in a query as they are (RFC 3986, 3.4), and easier to read so."""


def page_links(
    path: str,
    given: Mapping[str, str],
    *,
    limit: int,
    offset: int,
    more: bool,
    media_type: str,
    after: str | None = None,
) -> list[str]:
    """The Link headers of one page: `more` says that another follows, `after` where it begins. A page of nothing has none.

    Each link holds all parameters of the request, in alphabetical order, so that it can be followed as it is.
    """
    if limit == 0:
        return []
    links = []
    if offset > 0:
        links.append(_link(path, given, limit, max(0, offset - limit), None, "prev", media_type))
    if more:
        links.append(_link(path, given, limit, offset + limit, after, "next", media_type))
    return links


def _link(
    path: str, given: Mapping[str, str], limit: int, offset: int, after: str | None, relation: str, media_type: str
) -> str:
    target = {**given, "limit": str(limit), "offset": str(offset)}
    target.pop("after", None)
    if after is not None and offset > NEAR:
        target["after"] = after
    query = urlencode(sorted(target.items()), safe=_UNESCAPED, quote_via=quote)
    return f'<{path}?{query}>;rel="{relation}";type="{media_type}"'
