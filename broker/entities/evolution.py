"""Create or update the temporal evolution of an entity (ETSI GS CIM 009 v1.9.1, 5.6.11).

Instances become history, and nothing else changes: the current entity stays as it is, and nobody is notified. What is
known of an evolution beyond its current entity is a record of kind 'evolution', found by each type as 'type:IRI':

    {"type": ["https://…/Room"], "createdAt": "…Z"}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from broker.clock import Stamp, parse_iso
from broker.entities.commands import history_row
from broker.errors import BadRequestData
from broker.ngsild.expired import has_expired
from broker.ngsild.fragment import deleted_instance, is_null
from broker.ngsild.mergepatch import settled
from broker.ngsild.model import Instance, Iri
from broker.ngsild.temporal import EvolutionFragment
from broker.stores.base import HISTORY_ONLY, HistoryRow, Needs, RecordWrite, Snapshot
from broker.stores.command import Effects, View


def type_key(entity_type: Iri) -> str:
    """What finds the records of evolutions that have the type."""
    return f"type:{entity_type}"


@dataclass(frozen=True, slots=True)
class UpsertEvolution:
    """The result is whether the evolution is new: neither it nor a current entity of its id was known.

    Raises BadRequestData when it is new and has no type.
    """

    fragment: EvolutionFragment

    def needs(self, seen: Snapshot) -> Needs:
        """The current entity, and what is known beyond it."""
        return Needs(entities={self.fragment.id}, records={("evolution", self.fragment.id)})

    def apply(self, view: View, stamp: Stamp) -> Effects[bool]:
        """History rows, and the record where it has something to say."""
        entity = view.entity(self.fragment.id)
        if entity is not None and has_expired(entity, stamp.now):
            entity = None
        record = view.record("evolution", self.fragment.id)
        recorded: list[Iri] = record.body["type"] if record is not None else []
        new = entity is None and record is None
        if new and not self.fragment.types:
            raise BadRequestData(f"The temporal evolution of '{self.fragment.id}' is new: it must have a 'type'.")
        known = {*recorded, *(entity["type"] if entity is not None else ())}
        more = [name for name in self.fragment.types if name not in known]
        effects = Effects(new, history=[self._row(name, given, stamp) for name, given in self.fragment.instances])
        if more:
            body: dict[str, Any] = {
                "type": [*recorded, *more],
                "createdAt": record.body["createdAt"] if record is not None else stamp.text,
            }
            expected = record.version if record is not None else 0
            keys = tuple(map(type_key, body["type"]))
            effects.records = [RecordWrite("evolution", self.fragment.id, body, stamp.version, expected, keys)]
        return effects

    def _row(self, name: Iri, given: Instance, stamp: Stamp) -> HistoryRow:
        dataset = given.get("datasetId", "")
        if not is_null(given):
            return history_row(self.fragment.id, name, dataset, settled(given, stamp.text), stamp, {HISTORY_ONLY: True})
        at = given.get("deletedAt") or given.get("observedAt") or stamp.text
        made = {**deleted_instance(given, at), "createdAt": stamp.text, "modifiedAt": stamp.text}
        if "observedAt" in given:
            made["observedAt"] = given["observedAt"]
        observed = parse_iso(given.get("observedAt", at))
        assert observed is not None
        return HistoryRow(
            self.fragment.id,
            name,
            dataset,
            observed,
            stamp.now,
            stamp.version,
            cast("Instance", made),
            lineage={HISTORY_ONLY: True},
        )
