"""The query language as data. One AST for all: the matcher evaluates it, the compilers turn it into SQL and MongoDB filters.

Names in it are expanded (IRIs): parsers take a function that expands terms. Source: ETSI GS CIM 009 v1.9.1, 4.9
(q), 4.10 (geo), 4.17 (type selection), 4.19 (scope).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from broker.clock import Micros
from broker.ngsild.model import LOCATION, Iri

# --- q (4.9) ----------------------------------------------------------------------------------------------------------

Scalar = str | int | float | bool
Operator = Literal["==", "!=", ">", ">=", "<", "<=", "~=", "!~="]


@dataclass(frozen=True, slots=True)
class Path:
    """Which value a term speaks of: `attr.sub1.sub2[member1.member2]`.

    `attribute` and `subattributes` are expanded; `members` (between brackets: a path into a compound value) are as the
    user wrote them. Members like observedAt, unitCode, modifiedAt, datasetId at the end of `subattributes` stand there
    unexpanded, by their own names.
    """

    attribute: Iri
    subattributes: tuple[Iri, ...] = ()
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Range:
    """`1..5`: both ends included."""

    low: Scalar
    high: Scalar


@dataclass(frozen=True, slots=True)
class Comparison:
    """`path op value`; several values (a value list, `,`) stand for any of them. For ~= and !~= the value is a pattern."""

    path: Path
    operator: Operator
    values: tuple[Scalar | Range, ...]


@dataclass(frozen=True, slots=True)
class Exists:
    """A path alone: there is such a value."""

    path: Path


@dataclass(frozen=True, slots=True)
class And:
    """`;`"""

    terms: tuple[Q, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """`|`"""

    terms: tuple[Q, ...]


@dataclass(frozen=True, slots=True)
class Linked:
    """`relationship{Type:term}`: an entity that the relationship points to has one of `types` (none: any) and meets `q`.

    Neither the matcher nor a store looks into other entities: `broker.query.linked` turns it into a comparison first.
    """

    relationship: Iri
    types: tuple[Iri, ...]
    q: Q


Q = Comparison | Exists | And | Or | Linked

# --- type selection (4.17) --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HasType:
    """One type, expanded."""

    type: Iri


@dataclass(frozen=True, slots=True)
class AllTypes:
    """`;`: all of them."""

    terms: tuple[TypeSelection, ...]


@dataclass(frozen=True, slots=True)
class AnyType:
    """`,` or `|`: any of them."""

    terms: tuple[TypeSelection, ...]


TypeSelection = HasType | AllTypes | AnyType

# --- geo (4.10) -------------------------------------------------------------------------------------------------------

GeoRelation = Literal["near", "within", "contains", "overlaps", "intersects", "equals", "disjoint"]


@dataclass(frozen=True, slots=True)
class GeoQuery:
    """`georel`, `geometry`, `coordinates`, `geoproperty`. Distances are metres, along the earth's surface."""

    relation: GeoRelation
    geometry: dict[str, Any]
    """A GeoJSON geometry (RFC 7946), validated."""
    geoproperty: Iri = LOCATION
    max_distance: float | None = None
    min_distance: float | None = None


# --- scope (4.19) -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ScopeIs:
    """One scope pattern: segments, where '+' is any one segment and '#' (last) any number of further ones."""

    segments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AllScopes:
    """`;`"""

    terms: tuple[ScopeQuery, ...]


@dataclass(frozen=True, slots=True)
class AnyScope:
    """`,` or `|`"""

    terms: tuple[ScopeQuery, ...]


ScopeQuery = ScopeIs | AllScopes | AnyScope

# --- order (4.23) ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OrderTerm:
    """One of the values that entities are ordered by; `broker.query.order` says which of two comes first.

    `path` may also name the entity's own id, type, scope, createdAt, modifiedAt and expiresAt, alone and unexpanded.
    Entities without the value come last in either direction.
    """

    path: Path
    descending: bool = False
    reference: dict[str, Any] | None = None
    """By distance from this GeoJSON geometry, metres; None: by value."""


# --- the whole --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EntitySelector:
    """One element of a Query's `entities` (5.2.33): all given conditions must hold."""

    ids: tuple[str, ...] = ()
    id_pattern: str | None = None
    types: TypeSelection | None = None


@dataclass(frozen=True, slots=True)
class Excluded:
    """Entities that are as if they were not there: those with these ids, and those whose ids begin so."""

    ids: frozenset[str] = frozenset()
    prefix: str = ""
    """ASCII; '' for none."""

    def has(self, entity_id: str) -> bool:
        """Whether the entity is one of them."""
        return entity_id in self.ids or (self.prefix != "" and entity_id.startswith(self.prefix))

    @property
    def behind_prefix(self) -> str:
        """The first text that is behind all that begin with the prefix."""
        return self.prefix[:-1] + chr(ord(self.prefix[-1]) + 1)


@dataclass(frozen=True, slots=True)
class EntityQuery:
    """What selects entities (5.7.2). All given conditions must hold; None or empty means no condition."""

    ids: tuple[str, ...] = ()
    """Any of these ids."""
    id_pattern: str | None = None
    """A regular expression that must be found in the id."""
    types: TypeSelection | None = None
    attributes: tuple[Iri, ...] = ()
    """Has at least one of these attributes."""
    selectors: tuple[EntitySelector, ...] = ()
    """Any of these must hold too; one alone stands in ids, id_pattern and types instead."""
    q: Q | None = None
    geo: GeoQuery | None = None
    scope: ScopeQuery | None = None
    datasets: tuple[str, ...] = ()
    order: tuple[OrderTerm, ...] = ()
    """What the entities are ordered by, the weightiest first, then by creation; empty: by creation alone."""
    collation: str | None = None
    """How texts are ordered (`broker.query.collation`); None: as the root collation has it."""
    limit: int = 20
    offset: int = 0
    count: bool = False
    after: str | None = None
    """Where the page begins: the `next` of the page before it, instead of `offset` (`broker.stores.base.Page`)."""
    excluded: Excluded | None = None
    """Not these."""
    now: Micros | None = None
    """Entities whose own expiresAt is not after this moment are not selected (4.22); None: all are."""
