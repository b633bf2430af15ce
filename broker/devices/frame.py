"""What the model of an entity's type wants beside the values: when it was observed (`dateObserved`), and by which devices
(`refDevice`). Pure.

Both follow the current values, in the names of the @context that the type's name was given in. When a value was observed
is in its own history: this has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from broker.clock import Micros, Stamp, iso, parse_iso
from broker.devices.defaults import EntityModel, entity_models
from broker.jsonld.own import PUBLISHED, published_terms
from broker.ngsild.model import DEFAULT_VOCAB, Attributes, Instance, Iri, default_instance, value_of

OBSERVED_BY: Iri = DEFAULT_VOCAB + "observedBy"


@dataclass(frozen=True, slots=True)
class Frame:
    """The attributes of one type; None: its model has none."""

    observed: Iri | None
    observed_from: Iri | None
    device: Iri | None

    @property
    def attributes(self) -> tuple[Iri, ...]:
        """All that there are."""
        return tuple(name for name in (self.observed, self.observed_from, self.device) if name is not None)


def frame_of(types: Sequence[Iri]) -> Frame | None:
    """The frame of an entity of these types, by the first that is known; None when none is."""
    frames = _frames()
    for one in types:
        if one in frames:
            return frames[one]
    return None


def framed(
    attrs: Attributes, types: Sequence[Iri], stamp: Stamp, newest: Micros | None = None
) -> dict[Iri, Instance | None]:
    """What of the frame is to be changed when these are the values; None: it goes.

    `newest`: when the newest of the values that are new was observed; None: all are looked at.
    """
    frame = frame_of(types)
    if frame is None:
        return {}
    changed: dict[Iri, Instance | None] = {}
    if frame.observed is not None:
        before = moment(default_instance(attrs.get(frame.observed, [])))
        at = _newest(attrs) if newest is None else newest if before is None else max(newest, before)
        if at != before:
            changed[frame.observed] = _moment(at)
            if frame.observed_from is not None:
                since = before if before is not None and at is not None and before < at else at
                changed[frame.observed_from] = _moment(since)
    if frame.device is not None:
        devices = sorted(set(_devices(attrs)))
        wanted = devices[0] if len(devices) == 1 else devices
        current = default_instance(attrs.get(frame.device, []))
        if wanted and (current is None or value_of(current) != wanted):
            changed[frame.device] = {"type": "Relationship", "object": wanted}
        elif not wanted and current is not None:
            changed[frame.device] = None
    return {name: _kept(attrs, name, made, stamp) for name, made in changed.items()}


def moment(instance: Instance | None) -> Micros | None:
    """The time that a Property says, as a DateTime or as text; None when it says none."""
    value = value_of(instance) if instance is not None else None
    text = value.get("@value") if isinstance(value, dict) else value
    return parse_iso(text) if isinstance(text, str) else None


def _moment(at: Micros | None) -> Instance | None:
    return {"type": "Property", "value": {"@type": "DateTime", "@value": iso(at)}} if at is not None else None


def _kept(attrs: Attributes, name: Iri, made: Instance | None, stamp: Stamp) -> Instance | None:
    if made is None:
        return None
    current = default_instance(attrs.get(name, []))
    created = current.get("createdAt", stamp.text) if current is not None else stamp.text
    return {**made, "createdAt": created, "modifiedAt": stamp.text}


def _observed(attrs: Attributes) -> Iterator[tuple[Instance, Instance]]:
    """The values that devices observed, with what says which device."""
    for instances in attrs.values():
        for instance in instances:
            by = instance.get("attrs", {}).get(OBSERVED_BY)
            if by and "datasetId" not in instance:
                yield instance, by[0]


def _newest(attrs: Attributes) -> Micros | None:
    times = (parse_iso(instance.get("observedAt", "")) for instance, _ in _observed(attrs))
    return max((at for at in times if at is not None), default=None)


def _devices(attrs: Attributes) -> Iterator[str]:
    for _, by in _observed(attrs):
        device = by.get("object")
        if isinstance(device, str):
            yield device


@cache
def _frames() -> dict[Iri, Frame]:
    frames: dict[Iri, Frame] = {}
    for context in reversed(PUBLISHED):
        terms = published_terms(context)
        frames |= {terms[name]: _frame(entity, terms) for name, entity in entity_models().items()}
    return frames


def _frame(entity: EntityModel, terms: dict[str, Iri]) -> Frame:
    return Frame(*(terms[name] if name else None for name in (entity.observed, entity.observed_from, entity.device)))
