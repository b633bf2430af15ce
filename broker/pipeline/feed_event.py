"""One change as those who follow are told of it, and the id by which they go on behind it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from broker.clock import Micros
from broker.jsonio import loads
from broker.ngsild.change import AttributeTrigger, EntityTrigger
from broker.ngsild.model import Entity, Iri
from broker.stores.base import FeedRow, PositionGone

ID_CHARACTERS: Final = 2100


@dataclass(frozen=True)
class FeedEvent:
    """One change. Shared by all who are told of it: nothing in it may be changed."""

    position: str
    row: FeedRow

    @property
    def id(self) -> str:
        """What it can be gone on from by."""
        return event_id(self.position, self.row.at)

    @property
    def entity(self) -> Entity:
        """After the change; as it last was, if it was deleted."""
        entity: Entity = self._body["entity"]
        return entity

    @property
    def attributes(self) -> dict[Iri, AttributeTrigger]:
        """What changed."""
        attributes: dict[Iri, AttributeTrigger] = self._body["attributes"]
        return attributes

    @property
    def trigger(self) -> EntityTrigger:
        """What happened to the entity."""
        trigger: EntityTrigger = self._body["trigger"]
        return trigger

    @cached_property
    def _body(self) -> dict[str, Any]:
        body: dict[str, Any] = loads(self.row.body)
        return body


def event_id(position: str, at: Micros) -> str:
    """A position and its time, by which it is seen whether it is too old."""
    return f"{position}.{at:x}"


def read_id(text: str) -> tuple[str, Micros]:
    """(position, its time) of an event's id. Raises PositionGone for what is none."""
    position, _, at = text.rpartition(".")
    try:
        if len(text) > ID_CHARACTERS:
            raise ValueError(text)
        return position, int(at, 16)
    except ValueError:
        raise PositionGone(f"'{text[:60]}' is not an event's id.") from None
