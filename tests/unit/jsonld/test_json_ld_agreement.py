"""Our term tables and PyLD, asked the same questions about random contexts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyld.context_resolver import ContextResolver as PyldResolver
from pyld.jsonld import JsonLdError, JsonLdProcessor

from broker.errors import BadRequestData
from broker.jsonld.compile import compile_terms
from broker.jsonld.context import Context
from broker.jsonld.core import core_definitions
from broker.jsonld.documents import inline_parts
from broker.ngsild.names import is_uri
from tests.unit.jsonld.contexts import CORE_TERMS

NAMES = ["a", "b", "cc", "temp", "ex", "p", "location", "type", "name"]
names = st.sampled_from(NAMES)
compact = st.builds("{}:{}".format, names, names)
iris = st.sampled_from(["https://a.example/", "https://a.example/b#", "urn:x:y", "https://a.example/temp"])
keywords = st.sampled_from(["@id", "@type", "@value", "@reserved"])
targets = st.one_of(names, compact, iris, keywords, st.none())
types = st.sampled_from(["@id", "@vocab", "@json", "https://t.example/", "ex:kind"])
expanded_definitions = st.fixed_dictionaries(
    {},
    optional={
        "@id": targets,
        "@type": types,
        "@container": st.sampled_from(["@list", "@set", "@language", "@index"]),
        "@prefix": st.booleans(),
        "@language": st.sampled_from(["sv", None]),
    },
)
reverse = st.fixed_dictionaries({"@reverse": targets})
definitions = st.one_of(targets, targets, expanded_definitions, reverse)
objects = st.builds(
    lambda terms, vocab: terms | vocab,
    st.dictionaries(st.one_of(names, names, compact), definitions, max_size=6),
    st.fixed_dictionaries({}, optional={"@vocab": st.sampled_from(["https://v.example/", "ex:", None])}),
)
contexts = st.lists(objects, min_size=1, max_size=3)
asked = st.one_of(names, compact, iris, st.sampled_from(["unknown", "https://other.example/x"]))


class Twin:
    """JSON-LD's own answers, by PyLD: the user's definitions, then the core's."""

    def __init__(self, user: list[dict[str, Any]]) -> None:
        def no_network(url: str, _: Any) -> dict[str, Any]:
            raise JsonLdError(url, "jsonld.LoadDocumentError")

        options = {"processingMode": "json-ld-1.1", "base": "", "documentLoader": no_network}
        options["contextResolver"] = PyldResolver({}, no_network)
        self._processor = JsonLdProcessor()
        empty = self._processor.process_context(None, None, options)
        # The core's prefixes are nobody's to use: what NGSI-LD has no term for, it writes in full (5.5.7).
        self._active = self._processor.process_context(empty, [*user, core_definitions()], options)

    def expand(self, name: str) -> str | None:
        found: str | None = self._processor._expand_iri(self._active, name, vocab=True)
        mapping = self._active["mappings"].get(name)
        return None if mapping is not None and mapping["reverse"] else found


def both(parts: list[dict[str, Any]]) -> tuple[Context, Twin] | None:
    """Ours and theirs, or None when both refuse."""
    user, _ = inline_parts(parts)
    try:
        ours = Context(compile_terms(user, "The '@context'"), CORE_TERMS, parts)
    except BadRequestData:
        with pytest.raises((JsonLdError, TypeError, KeyError)):
            Twin(user)
        return None
    return ours, Twin(user)


@given(contexts, asked)
def test_names_expand_as_json_ld_says(parts: list[dict[str, Any]], name: str) -> None:
    pair = both(parts)
    if pair is None:
        return
    ours, theirs = pair
    expected = theirs.expand(name)
    try:
        found = ours.expand(name)
    except BadRequestData:
        # What JSON-LD drops, takes for a keyword or cannot make an IRI of, names no attribute.
        assert expected is None or expected.startswith("@") or not is_uri(expected)
        return
    if name in ("type", "id"):
        return  # never names of attributes: callers know these members
    assert found == expected


@example([{}], "https://a.example/temp", [{"temp": "https://a.example/", "temp:temp": None}])
@given(contexts, asked, contexts)
def test_what_is_compacted_expands_to_the_same(
    parts: list[dict[str, Any]], name: str, others: list[dict[str, Any]]
) -> None:
    writer, reader = both(parts), both(others)
    if writer is None or reader is None:
        return
    try:
        iri = writer[0].expand(name)
    except BadRequestData:
        return
    short = reader[0].compact(iri)
    if short == iri and iri.partition(":")[0] in NAMES:
        return  # an IRI whose scheme is the reader's prefix: JSON-LD has no way to write it
    assert reader[0].expand(short) == iri
    if short not in ("type", "id"):
        assert reader[1].expand(short) == iri


plain = st.dictionaries(names, st.one_of(iris, compact), max_size=6)


@given(st.lists(plain, min_size=1, max_size=2), asked)
def test_terms_are_chosen_as_json_ld_chooses_them(parts: list[dict[str, Any]], name: str) -> None:
    pair = both(parts)
    if pair is None:
        return
    ours, theirs = pair
    iri = theirs.expand(name)
    if iri is None or iri.startswith("@") or not is_uri(iri):
        return
    try:
        chosen = theirs._processor._compact_iri(theirs._active, iri, value={"@id": "urn:x"}, vocab=True)
    except JsonLdError:
        return
    if chosen.partition(":")[0] in ("ngsi-ld", "geojson"):
        assert ours.compact(iri) in (iri, chosen)
    else:
        assert ours.compact(iri) == chosen
