"""Contexts for tests: no network, documents from a dict."""

from __future__ import annotations

from typing import Any

import orjson

from broker.clock import SECOND, Clock
from broker.config import Limits
from broker.jsonld.compile import Terms, compile_terms
from broker.jsonld.context import Context
from broker.jsonld.core import core_definitions
from broker.jsonld.resolver import ContextResolver
from broker.outbound import Fetched

CORE_TERMS = compile_terms([core_definitions()], "The core @context")
CORE = Context(Terms(), CORE_TERMS)


def context(definitions: dict[str, Any]) -> Context:
    return Context(compile_terms([definitions], "The '@context'"), CORE_TERMS, definitions)


class Web:
    """Documents by URL, and how often each was asked for. A document that is an exception is raised."""

    def __init__(self, documents: dict[str, Any] | None = None) -> None:
        self.documents = documents or {}
        self.asked: list[str] = []
        self.headers: dict[str, str] = {}
        self.now = 1_000 * SECOND

    async def fetch(self, url: str) -> Fetched:
        self.asked.append(url)
        found = self.documents.get(url, OSError("no such host"))
        if isinstance(found, Exception):
            raise found
        return Fetched(found if isinstance(found, bytes) else orjson.dumps(found), self.headers)

    def resolver(self, **limits: Any) -> ContextResolver:
        return ContextResolver(self.fetch, Clock(lambda: self.now), Limits(**limits))
