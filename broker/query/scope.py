"""The parser of scope queries: `/Madrid/+/ParqueNorte`, `(/A/#;/B),/C` (ETSI GS CIM 009 v1.9.1, 4.19).

    Leaf  = ["/"] Level *("/" Level) ["/" "#"] / ["/"] "#"
    Level = "+" / 1*(any character but / , ; | ( ) + # and white space)

The grammar around it is that of `broker.query.selection`. Levels are taken more widely than the clause's letters, numbers
and '_', so that every scope that was stored can be asked for.
"""

from __future__ import annotations

import re

from broker.config import Limits
from broker.query.ast import AllScopes, AnyScope, ScopeIs, ScopeQuery
from broker.query.selection import Selection

_LEAF = re.compile(r"/?(?:(?:\+|[^\s/+#]+)(?:/(?:\+|[^\s/+#]+))*(?:/#)?|#)")


def parse_scope(text: str, limits: Limits) -> ScopeQuery:
    """The scope query. Raises BadRequestData, TooComplexQuery."""
    return _SELECTION.parse(text, limits)


def _leaf(text: str) -> ScopeQuery:
    if not _LEAF.fullmatch(text):
        raise ValueError("a scope as in /Madrid/Gardens, with '+' for one level and '/#' at the end for all below")
    return ScopeIs(tuple(text.removeprefix("/").split("/")))


_SELECTION = Selection[ScopeQuery]("scopeQ", _leaf, AllScopes, AnyScope, bare=True)
