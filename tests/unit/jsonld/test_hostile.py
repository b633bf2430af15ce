"""Whatever stands at '@context': a context, or an error that says why not; never anything else, and never for long."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import BadRequestData, BrokerError
from broker.jsonld.documents import TERMS
from tests.unit.jsonld.contexts import Web

A = "https://contexts.example/a.jsonld"

KEYS = [
    *("@base", "@container", "@context", "@direction", "@id", "@import", "@index", "@language", "@nest", "@prefix"),
    *("@propagate", "@protected", "@reverse", "@type", "@version", "@vocab", "@odd", "a", "b", "a:b", "", ":", "a/b"),
]
TEXTS = [*KEYS, A, "http://[", "//", "https://x.example/", "urn:x:", "_:b", "1.1", "rtl", "@list", "@set", "sv"]
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.just(1.1), st.sampled_from(TEXTS), st.text(max_size=3)
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(values, values)
def test_any_value_gives_a_context_or_says_why_not(value: Any, remote: Any) -> None:
    async def run() -> None:
        resolver = Web({A: {"@context": remote}}).resolver()
        for given_value in (value, [value], [A, value], A):
            try:
                context = await resolver.resolve(given_value)
            except BrokerError as error:
                assert error.status in (400, 504)
                continue
            for name in ("a", "b", "temp"):
                try:
                    iri = context.expand(name)
                except BadRequestData:
                    continue
                assert context.expand(context.compact(iri)) == iri
        with contextlib.suppress(BadRequestData):
            resolver.check(value)

    asyncio.run(run())


def test_a_chain_of_terms_without_end_is_refused() -> None:
    chain = {f"t{n}": f"t{n + 1}" for n in range(5000)}
    with pytest.raises(BadRequestData, match="not valid JSON-LD"):
        asyncio.run(Web().resolver().resolve(chain))


async def test_too_many_terms_are_refused() -> None:
    many = {f"t{n}": f"https://x.example/{n}" for n in range(TERMS + 1)}
    resolver = Web({A: {"@context": many}}).resolver()
    for value in (many, A):
        with pytest.raises(BadRequestData, match="more than the limit"):
            await resolver.resolve(value)
    with pytest.raises(BadRequestData, match="more than the limit"):
        resolver.check(many)
