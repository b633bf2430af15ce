"""Current values that stem from what does not hold any more, and those that are there now for the first time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from broker.clock import Stamp, parse_iso
from broker.devices.located import located
from broker.devices.observe import instance_of, observe, same_observation
from broker.devices.processing.observation import Observation
from broker.devices.take_back import fallen_back
from broker.ngsild.model import Entity, Instance, Iri, default_instance
from broker.pipeline.intake import Uplink
from broker.pipeline.reprocess.compare import Differing
from broker.stores.base import HistoryRow, Latest, UplinkRow, plausible
from broker.stores.command import Effects, View


def correct_currents(
    effects: Effects[Any],
    view: View,
    stamp: Stamp,
    uplink: Uplink,
    kept: UplinkRow,
    differs: Sequence[Differing],
) -> None:
    """Current values that stem from what does not hold any more; and what would have been news, had it been understood."""
    news: dict[str, list[Observation]] = {}
    left: dict[str, dict[Iri, Instance | None]] = {}
    for one in differs:
        entity = view.entity(one.entity_id)
        instances = entity["attrs"].get(one.attribute, []) if entity is not None else []
        stem = next((row for row in one.before if is_current(instances, row)), None)
        if stem is not None:
            current = default_instance(instances)
            assert current is not None
            left.setdefault(one.entity_id, {})[one.attribute] = _instead(
                view, stamp, uplink, kept, stem, current, differs
            )
        elif not any(plausible(row) for row in one.before) and one.after:
            news.setdefault(one.entity_id, []).extend(one.after)
    after: dict[str, Entity | None] = {}
    for entity_id, values in left.items():
        entity = view.entity(entity_id)
        assert entity is not None
        effects.changes.append(fallen_back(entity, values, stamp))
        after[entity_id] = effects.changes[-1].after
    for entity_id, observed in news.items():
        entity = after[entity_id] if entity_id in after else view.entity(entity_id)
        sensor = observed[0].sensor
        change, rows = observe(
            entity,
            observed,
            device_id=uplink.device_id,
            uplink_id=kept.id,
            stamp=stamp,
            location=located(sensor, view.entity, stamp) if entity_id == sensor.entity else None,
        )
        if change is not None:
            effects.changes.append(change)
            effects.history += [row for row in rows if row.uplink_id is None]


def _instead(
    view: View,
    stamp: Stamp,
    uplink: Uplink,
    kept: UplinkRow,
    stem: HistoryRow,
    current: Instance,
    differs: Sequence[Differing],
) -> Instance | None:
    """The newest value that is left of an attribute whose current one does not hold."""
    observed = [
        one
        for place in differs
        if (place.entity_id, place.attribute) == (stem.entity_id, stem.attribute)
        for one in place.after
        if one.current
    ]
    newest = max(observed, key=lambda one: one.at, default=None)
    row = view.latest(left_without(stem))
    if row is not None and row.uplink_id == kept.id and any(row in place.before for place in differs):
        row = None
    if newest is not None and (row is None or newest.at >= row.observed_at):
        instance = instance_of(newest, uplink.device_id, stamp)
        instance["createdAt"] = current.get("createdAt", stamp.text)
        return instance
    return row.instance if row is not None else None


def left_without(row: HistoryRow) -> Latest:
    """What would be left without a row and what its binding brought after it."""
    return Latest(row.entity_id, row.attribute, row.binding_id or "", row.observed_at)


def is_current(instances: list[Instance], row: HistoryRow) -> bool:
    """Whether the current value is that of the row."""
    current = default_instance(instances)
    return (
        current is not None
        and row.instance is not None
        and row.observed_at == parse_iso(current.get("observedAt", ""))
        and same_observation(current, row.instance)
    )
