"""From the definitions of an @context to a table of terms. PyLD interprets the definitions; nothing is fetched here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pyld.context_resolver import ContextResolver as PyldResolver
from pyld.jsonld import JsonLdError, JsonLdProcessor

from broker.errors import BadRequestData
from broker.ngsild.model import Iri
from broker.ngsild.names import is_uri


@dataclass(frozen=True, slots=True)
class Terms:
    """What a sequence of definitions says."""

    iris: dict[str, Iri] = field(default_factory=dict)
    """Term -> IRI."""
    prefixes: dict[str, Iri] = field(default_factory=dict)
    """The terms that may stand before ':' in a compact IRI."""
    others: dict[str, str] = field(default_factory=dict)
    """Term -> what it stands for, of those that name nothing: a keyword, 'null', a reverse property, no absolute IRI."""


def compile_terms(definitions: list[dict[str, Any]], label: str) -> Terms:
    """The terms of `definitions`, which apply one after the other. Raises BadRequestData; `label` names them in errors."""
    if not definitions:
        return Terms()
    options = {"processingMode": "json-ld-1.1", "base": "", "documentLoader": _no_network}
    # A resolver of its own keeps the processor's caches out of it: they are shared and not thread-safe.
    options["contextResolver"] = PyldResolver({}, _no_network)
    processor = JsonLdProcessor()
    try:
        empty = processor.process_context(None, None, options)
        mappings = processor.process_context(empty, definitions, options)["mappings"]
    except JsonLdError as error:
        raise BadRequestData(f"{label} is not valid JSON-LD: {_reason(error)}") from None
    except (TypeError, ValueError, AttributeError, KeyError, RecursionError):
        raise BadRequestData(f"{label} is not valid JSON-LD.") from None
    terms = Terms()
    for term, mapping in mappings.items():
        if term.startswith("@"):
            continue
        iri = mapping.get("@id") if mapping else None
        if iri is None:
            terms.others[term] = "null"
        elif iri.startswith("@"):
            terms.others[term] = f"'{iri}'"
        elif mapping.get("reverse"):
            terms.others[term] = f"the reverse of '{iri[:200]}'"
        elif not is_uri(iri):
            terms.others[term] = f"'{iri[:200]}', which is no absolute IRI"
        else:
            terms.iris[term] = iri
            if mapping.get("_prefix"):
                terms.prefixes[term] = iri
    return terms


def _no_network(url: str, _: Any) -> dict[str, Any]:
    raise JsonLdError(f"'{url}' was not loaded", "jsonld.LoadDocumentError", code="loading document failed")


def _reason(error: JsonLdError) -> str:
    message = str(error.args[0] if error.args else error).splitlines()[0]
    return message.removeprefix("Invalid JSON-LD syntax; ")[:300]
