"""A swap is undone, or takes effect. Pure.

Undo        as if a swap or an unbinding had not been
TakeEffect  the moment of a planned swap has come: the devices' entities follow
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from broker.clock import Stamp, iso
from broker.devices.alarms.swap import cure, health_needs
from broker.devices.follow import bindings_of, device_needs, follow
from broker.devices.model import Binding, SwapRecord
from broker.devices.registry import as_binding, as_swap
from broker.devices.swap_parts import (
    binding_write,
    named,
    refuse_overlap,
    sensor_needs,
    swap_write,
    taken_back,
)
from broker.devices.take_back import reattribution, take_back_needs
from broker.errors import Conflict, ResourceNotFound
from broker.stores.base import Needs, Snapshot
from broker.stores.command import Alone, Effects, View


@dataclass(frozen=True, slots=True)
class Undone:
    """What undoing did: the swap as it is recorded now, and the binding that holds again."""

    record: SwapRecord
    reopened: Binding | None


@dataclass(frozen=True)
class Undo(Alone):
    """As if a swap or an unbinding had not been: its binding never held, and the one it closed holds again.

    Only the last one of a virtual sensor can be undone; then the one before it. A device that the swap registered stays
    registered.
    """

    swap_id: str
    by: str = ""
    why: str = ""

    def needs(self, seen: Snapshot) -> Needs:
        """The swap, its bindings, both devices; what is left of the virtual sensor's values."""
        needs = Needs(records={("swap", self.swap_id)})
        record = seen.records.get(("swap", self.swap_id))
        if record is None:
            return needs
        swap = as_swap(record)
        needs.add(sensor_needs(swap.virtual_sensor, seen))
        for device in (swap.device, swap.replaced):
            if device is not None:
                needs.add(device_needs(device, None, seen))
                needs.records.add(("reattribution", device))
        opened = named(seen.found.get(("binding", f"sensor:{swap.virtual_sensor}"), ()), swap.opened)
        if opened is not None:
            needs.add(take_back_needs(seen, opened[0], opened[0].valid_from))
        return needs

    def apply(self, view: View, stamp: Stamp) -> Effects[Undone]:
        """Bindings as they were before it, and the record that says so."""
        record = view.record("swap", self.swap_id)
        if record is None:
            raise ResourceNotFound(f"There is no swap '{self.swap_id}'.")
        swap = as_swap(record)
        if swap.undone_at is not None:
            raise Conflict(f"The swap '{swap.id}' was undone already, at {iso(swap.undone_at)}.")
        bindings = view.found("binding", f"sensor:{swap.virtual_sensor}")
        opened, closed = named(bindings, swap.opened), named(bindings, swap.closed)
        self._refuse(view, swap, [as_binding(one) for one in bindings], closed[0] if closed is not None else None)
        undone = replace(swap, planned=False, undone_at=stamp.now, undone_by=self.by, undone_why=self.why)
        changed: list[Binding] = []
        effects = Effects(Undone(undone, None), records=[swap_write(undone, stamp, record.version)])
        if opened is not None:
            never = replace(opened[0], valid_to=opened[0].valid_from)
            changed.append(never)
            effects.records.append(binding_write(never, stamp, opened[1]))
            taken_back(effects, view, stamp, opened[0], swap.at)
        if closed is not None:
            again = replace(closed[0], valid_to=None, end_readings={})
            changed.append(again)
            effects.records.append(binding_write(again, stamp, closed[1]))
            effects.result = Undone(undone, again)
            reattribution(effects, view, stamp, again.device, swap.at)
        if not swap.planned:
            cure(effects, view, stamp, swap.virtual_sensor, because="swap" if closed is not None else "unbound")
        for device_id in {one.device for one in changed}:
            follow(effects, view, stamp, device_id, bindings=changed)
        return effects

    def _refuse(self, view: View, swap: SwapRecord, bindings: list[Binding], closed: Binding | None) -> None:
        """Nothing may have come after it."""
        for binding in bindings:
            later = binding.valid_from > swap.at or (binding.valid_from == swap.at and binding.id != swap.opened)
            ended = binding.id == swap.opened and binding.valid_to is not None
            if not binding.empty and (later or ended):
                raise Conflict(
                    f"'{swap.virtual_sensor}' was changed after the swap '{swap.id}': undo the later one first."
                )
        if closed is not None:
            for binding in bindings_of(view, closed.device):
                if binding.id not in (closed.id, swap.opened):
                    refuse_overlap(binding, closed.device, closed.channel, swap.at)


@dataclass(frozen=True, slots=True)
class TakeEffect:
    """The moment of a planned swap has come: both devices' entities follow. Result: whether there was something to do."""

    swap_id: str

    def needs(self, seen: Snapshot) -> Needs:
        """The swap and both devices."""
        needs = Needs(records={("swap", self.swap_id)})
        record = seen.records.get(("swap", self.swap_id))
        if record is not None:
            swap = as_swap(record)
            needs.add(health_needs(swap.virtual_sensor, seen))
            for device in (swap.device, swap.replaced):
                if device is not None:
                    needs.add(device_needs(device, None, seen))
        return needs

    def apply(self, view: View, stamp: Stamp) -> Effects[bool]:
        """The entities, and that it is not planned any more."""
        record = view.record("swap", self.swap_id)
        if record is None or not (swap := as_swap(record)).planned or swap.at > stamp.now:
            return Effects(False)
        effects = Effects(True, records=[swap_write(replace(swap, planned=False), stamp, record.version)])
        cure(effects, view, stamp, swap.virtual_sensor, because="swap" if swap.device is not None else "unbound")
        for device in {swap.device, swap.replaced} - {None}:
            assert device is not None
            follow(effects, view, stamp, device)
        return effects
