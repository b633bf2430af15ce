"""From the rows of an import to entities: ids, what is within what, attributes. Pure.

An id of the file that is no URI becomes `urn:ngsi-ld:TYPE:ID`; names never have a part in it. A parent that is no URI is
an id of the same file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from broker.devices.placing import CONTAINED, OBSERVES, SPACE_OF
from broker.errors import BadRequestData
from broker.ngsild.fragment import Fragment
from broker.ngsild.model import DEFAULT_VOCAB, Entity, Instance, Iri
from broker.ngsild.names import Names, is_name, is_uri
from broker.ngsild.parse import Rules, parse_fragment
from broker.places.containment import Vocabulary
from broker.places.given import Given, Options, Problem

BUILDING: Iri = DEFAULT_VOCAB + "Building"
SPACES = frozenset({DEFAULT_VOCAB + "BuildingSpace", DEFAULT_VOCAB + "Room"})


@dataclass(frozen=True, slots=True)
class Place:
    """One place to be written."""

    row: int
    fragment: Fragment
    parent: str | None
    """Id of what it is within, where the row says it."""

    @property
    def id(self) -> str:
        """Its entity's id."""
        assert self.fragment.id is not None
        return self.fragment.id


@dataclass(slots=True)
class Plan:
    """What rows ask for."""

    places: list[Place] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def ids(self) -> set[str]:
        """The entities that it is about: places and what they are within."""
        return {place.id for place in self.places} | {place.parent for place in self.places if place.parent is not None}


def plan(rows: Sequence[Given], options: Options, names: Names, rules: Rules) -> Plan:
    """The places of the rows that are right; the problems of all others, each with all of its own."""
    made = Plan()
    urns = [_urn(given, options) for given in rows]
    by_id: dict[str, list[str]] = {}
    first: dict[str, int] = {}
    for given, urn in zip(rows, urns, strict=True):
        if urn is None:
            continue
        if urn in first:
            given.wrong("id", f"Row {first[urn]} has the same id, '{urn}'.")
        first.setdefault(urn, given.row)
        by_id.setdefault(given.id, []).append(urn)
    parents = {urn or "": _parent(given, by_id) for given, urn in zip(rows, urns, strict=True) if given.parent}
    parents.pop("", None)
    round_about = _circles(parents)
    for given, urn in zip(rows, urns, strict=True):
        if urn in round_about:
            given.wrong("parent", "Following the parents leads back to this place.")
        fragment = _fragment(given, urn, options, names, rules)
        made.problems += given.problems
        if not given.problems and fragment is not None:
            made.places.append(Place(given.row, fragment, parents.get(urn or "")))
    return made


def settle(
    planned: Plan, there: Mapping[str, Entity], words: Vocabulary, relationship: Iri | None
) -> tuple[list[Place], list[Problem]]:
    """The places with the relationships to their parents, and warnings. `there` has what is there of `planned.ids()`."""
    types = {place.id: place.fragment.types for place in planned.places}
    settled: list[Place] = []
    warnings: list[Problem] = []
    for place in planned.places:
        parent = place.parent
        if parent is None:
            settled.append(place)
            continue
        held = there.get(parent)
        if parent not in types and held is None:
            text = f"The parent '{parent}' is neither in this file nor there yet."
            warnings.append(Problem(place.row, place.id, "parent", text))
        parent_types = types.get(parent, []) + (held["type"] if held is not None else [])
        name = relationship or _tie(place, there.get(place.id), parent_types, words)
        tie: Instance = {"type": "Relationship", "object": parent}
        attrs = {**place.fragment.attrs, name: [tie]}
        settled.append(replace(place, fragment=replace(place.fragment, attrs=attrs)))
    return settled, warnings


def _tie(place: Place, held: Entity | None, parent_types: Sequence[Iri], words: Vocabulary) -> Iri:
    """The relationship to the parent: the one that the entity has, else the one that suits both types."""
    if held is not None:
        for name in words.relationships:
            if name in held["attrs"]:
                return name
    types = place.fragment.types
    name = CONTAINED
    if not SPACES.isdisjoint(types) and (BUILDING in parent_types or not parent_types):
        name = SPACE_OF
    elif any(each.endswith("Observed") for each in types):
        name = OBSERVES
    return name if name in words.relationships or not words.relationships else words.relationships[0]


def _urn(given: Given, options: Options) -> str | None:
    given.type = given.type or options.type or ""
    if not given.type:
        given.wrong("type", "The row has no type, and the request says none.")
    if not given.id:
        if not any(problem.member == "id" for problem in given.problems):
            given.wrong("id", "The row has no id; names are none.")
        return None
    if is_uri(given.id):
        return given.id
    if not is_name(given.type) or ":" in given.type:
        if given.type:
            given.wrong("id", f"The id '{given.id[:100]}' must be a URI where the type is none of our names.")
        return None
    return f"urn:ngsi-ld:{given.type}:{quote(given.id, safe='-._~')}"


def _parent(given: Given, by_id: Mapping[str, Sequence[str]]) -> str:
    """The URN of a row's parent; its id as it is where there is none."""
    meant = by_id.get(given.parent, ())
    if len(meant) == 1 or (meant and is_uri(given.parent)):
        return meant[0]
    if meant:
        shown = " or ".join(f"'{urn}'" for urn in meant[:3])
        given.wrong("parent", f"The parent '{given.parent[:100]}' may be {shown}: give its whole id.")
    elif not is_uri(given.parent):
        given.wrong("parent", f"The parent '{given.parent[:100]}' is no id of this file; of others, give the whole id.")
    return given.parent


def _circles(parents: Mapping[str, str]) -> set[str]:
    """The ids from which the parents lead back to where they began."""
    found: set[str] = set()
    seen: set[str] = set()
    for start in parents:
        way: dict[str, None] = {}
        at: str | None = start
        while at is not None and at not in seen and at not in way:
            way[at] = None
            at = parents.get(at)
        if at in way:
            ids = list(way)
            found.update(ids[ids.index(at) :])
        seen.update(way)
    return found


def _fragment(given: Given, urn: str | None, options: Options, names: Names, rules: Rules) -> Fragment | None:
    """The entity of a row; None with a problem for each attribute that is not right."""
    if options.relationship is not None and given.parent and options.relationship in given.attributes:
        given.wrong(options.relationship, "The parent is given twice, as 'parent' and by its relationship.")
    document: dict[str, Any] = {**given.attributes, "id": urn or "urn:unknown", "type": given.type or "Unknown"}
    try:
        return parse_fragment(document, names, rules)
    except BadRequestData as whole:
        before = len(given.problems)
        for member in ("type", *given.attributes):
            try:
                parse_fragment({member: document[member]}, names, rules)
            except BadRequestData as error:
                given.wrong(member, error.detail)
        if len(given.problems) == before:
            given.wrong(None, whole.detail)
        return None
