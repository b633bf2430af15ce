"""One @context, compiled: terms to IRIs and back by dictionary lookups.

The core @context stands last and is never overridden (ETSI GS CIM 009 v1.9.1, 4.4, 5.5.7).
"""

from __future__ import annotations

from typing import Any

from broker.errors import BadRequestData
from broker.jsonld.compile import Terms
from broker.jsonld.core import CORE_URL
from broker.ngsild.model import DEFAULT_VOCAB, Iri
from broker.ngsild.names import is_name, is_uri

# Names looked up once are remembered; a client that makes up names without end starts the memory anew.
_REMEMBERED = 20_000

# Written out, these IRIs would come back as the entity's own id and type.
_MEMBERS = frozenset({DEFAULT_VOCAB + "id", DEFAULT_VOCAB + "type"})


class Context:
    """A user's @context (or none) with the core @context. Satisfies `broker.ngsild.names.Names`."""

    def __init__(self, user: Terms, core: Terms, value: Any = None, *, names_core: bool = False) -> None:
        """`value` is the user's @context as sent, without the core @context; None: the core @context alone.

        `names_core`: a document that it leads to has the core @context in it, which then need not be said again.
        """
        self.value: Any = CORE_URL if value is None else value if names_core else _with_core(value)
        """What a body's '@context' must say for this one."""
        self.url: str | None = _only_url(value)
        """The URL for a Link header, or None when it takes more than one URL to say it."""
        overridden = core.iris.keys() | core.others.keys()
        mine = {term: iri for term, iri in user.iris.items() if term not in overridden}
        self._terms: dict[str, Iri] = {**mine, **core.iris}
        # What stands for no name.
        self._others = {term: what for term, what in user.others.items() if term not in overridden}
        self._prefixes = {
            **{term: iri for term, iri in user.prefixes.items() if term not in overridden},
            **core.prefixes,
        }
        self._names: dict[Iri, str] = {}
        for iris in (mine, core.iris):
            # The shortest term wins, then the first in order (JSON-LD 1.1 API, 4.3); the core's win over the user's.
            for term, iri in sorted(iris.items(), key=lambda item: (len(item[0]), item[0]), reverse=True):
                self._names[iri] = term
        self._expanded: dict[str, Iri] = dict(self._terms)
        self._expanded_values: dict[str, Iri] = {}
        self._compacted: dict[Iri, str] = dict(self._names)

    def expand(self, term: str) -> Iri:
        """The IRI of a name: a term, a compact IRI, an IRI; an unknown term is in the default vocabulary.

        Raises BadRequestData when it is none of them (4.6.2), or a term that the @context maps to a keyword or to nothing.
        """
        found = self._expanded.get(term)
        if found is None:
            found = self._expand(term)
            _remember(self._expanded, term, found, self._terms)
        return found

    def expand_value(self, text: str) -> Iri:
        """The IRI of a vocabulary value: as `expand`, but any text is allowed (4.5.20)."""
        found = self._expanded_values.get(text)
        if found is None:
            found = self._terms.get(text) or self._expand_compact(text) or DEFAULT_VOCAB + text
            _remember(self._expanded_values, text, found, {})
        return found

    def compact(self, iri: Iri) -> str:
        """The name of an IRI: its term, its name in the default vocabulary, a compact IRI, or the IRI itself."""
        found = self._compacted.get(iri)
        if found is None:
            found = self._compact(iri)
            _remember(self._compacted, iri, found, self._names)
        return found

    def _expand(self, term: str) -> Iri:
        other = self._others.get(term)
        if other is not None:
            raise BadRequestData(f"The name '{term[:100]}' is not usable here: the @context has it stand for {other}.")
        found = self._expand_compact(term)
        if found is not None and is_uri(found):
            if found in _MEMBERS:
                raise BadRequestData(
                    f"The name '{term[:100]}' is not usable: its short form is a member of every entity."
                )
            return found
        if not is_name(term) or ":" in term:
            raise BadRequestData(
                f"The name '{term[:100]}' is not valid: a name is a letter followed by letters, digits and '_', "
                "or a URI."
            )
        return DEFAULT_VOCAB + term

    def _expand_compact(self, text: str) -> Iri | None:
        prefix, colon, rest = text.partition(":")
        if not colon:
            return None
        if not rest.startswith("//") and prefix in self._prefixes:
            return self._prefixes[prefix] + rest
        return text

    def _compact(self, iri: Iri) -> str:
        if iri.startswith(DEFAULT_VOCAB):
            name = iri[len(DEFAULT_VOCAB) :]
            if name and name not in self._terms and name not in self._others and ":" not in name:
                return name
        best = iri
        for prefix, start in self._prefixes.items():
            if iri.startswith(start) and len(iri) > len(start):
                name = f"{prefix}:{iri[len(start) :]}"
                if (
                    not iri.startswith(start + "//")
                    and name not in self._terms
                    and name not in self._others
                    and (len(name), name) < (len(best), best)
                ):
                    best = name
        return best


def _remember(memory: dict[str, str], key: str, value: str, start: dict[str, str]) -> None:
    if len(memory) >= _REMEMBERED + len(start):
        memory.clear()
        memory.update(start)
    memory[key] = value


def _only_url(value: Any) -> str | None:
    if value is None:
        return CORE_URL
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, str) else None


def _with_core(value: Any) -> list[Any]:
    return [*value, CORE_URL] if isinstance(value, list) else [value, CORE_URL]
