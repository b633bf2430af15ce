"""The writer's commands on device commands: queue, begin to send, settle, expire, cancel, forget. See `actuation.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from broker.clock import Micros, Stamp, iso
from broker.codecs.downlink import CommandTemplate, encode, script_data
from broker.devices import actuation
from broker.devices.actuation import DeviceCommand
from broker.devices.model import Device, DeviceModel
from broker.devices.registry import as_binding, as_device, as_model, as_state, to_body
from broker.errors import BadRequestData, BrokerError, OperationNotSupported, PreconditionFailed, ResourceNotFound
from broker.stores.base import Needs, Record, RecordWrite, Snapshot
from broker.stores.command import Effects, View

COAP = "coap"
"""Source of devices that fetch their commands themselves."""


def as_command(record: Record) -> DeviceCommand:
    """The command of a record of kind 'device_command'."""
    return msgspec.convert(record.body, DeviceCommand)


def write(command: DeviceCommand, version: int, present: Record | None) -> RecordWrite:
    """The write of a command's next state."""
    expected = present.version if present is not None else 0
    return RecordWrite("device_command", command.id, to_body(command), version, expected, actuation.keys(command))


@dataclass(frozen=True, slots=True)
class ToEncode:
    """What a model's script is to encode, which no command of the writer does: it is applied again with the `Encoded`."""

    model: DeviceModel
    version: int
    """Of the model's record."""
    data: dict[str, Any]
    f_port: int
    """The command's, which a script's answer outweighs."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """What a script has made of it, or why it has not."""

    of: ToEncode
    f_port: int = 0
    payload: bytes = b""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class QueueCommand:
    """Queue a command to a virtual sensor. Result: it, or what is to be encoded first.

    What is bound now says whether the command makes sense.
    """

    id: str
    virtual_sensor: str
    command: str
    parameters: Mapping[str, Any]
    expires_at: Micros
    by: str
    most: int
    """Open commands of one virtual sensor, count."""
    encoded: Encoded | None = None

    def needs(self, seen: Snapshot) -> Needs:
        """The virtual sensor, what is bound to it, and what waits for it."""
        needs = _bound_needs(self.virtual_sensor, seen)
        needs.records.add(("virtual_sensor", self.virtual_sensor))
        needs.found.add(("device_command", f"open:{self.virtual_sensor}"))
        return needs

    def apply(self, view: View, stamp: Stamp) -> Effects[DeviceCommand | ToEncode]:
        """One record. Raises ResourceNotFound, BadRequestData, OperationNotSupported (too many wait)."""
        if view.record("virtual_sensor", self.virtual_sensor) is None:
            raise ResourceNotFound(f"There is no virtual sensor '{self.virtual_sensor}'.")
        if self.expires_at <= stamp.now:
            raise BadRequestData(f"'expiresInSeconds' must be more than 0; {iso(self.expires_at)} has passed.")
        if len(view.found("device_command", f"open:{self.virtual_sensor}")) >= self.most:
            raise OperationNotSupported(
                f"'{self.virtual_sensor}' has {self.most} open commands (actuation.queued_per_sensor); "
                "wait until some have ended, or cancel them."
            )
        command = DeviceCommand(
            id=self.id,
            virtual_sensor=self.virtual_sensor,
            command=self.command,
            parameters=dict(self.parameters),
            by=self.by,
            queued_at=stamp.now,
            expires_at=self.expires_at,
        )
        bound = _bound(view, self.virtual_sensor, stamp.now)
        if bound is None:
            command = actuation.waiting(command, _unbound(self.virtual_sensor))
        else:
            made = _encode(bound, self.command, self.parameters, self.encoded)
            if isinstance(made, ToEncode):
                return Effects(made)
        return Effects(command, records=[write(command, stamp.version, None)])


@dataclass(frozen=True, slots=True)
class Begun:
    """A command that was tried, and where its device was last heard. Hand it over when it is `sending`."""

    command: DeviceCommand
    broker: str = ""
    topic: str = ""
    to_encode: ToEncode | None = None
    """Nothing was done yet: this is to be encoded first."""


@dataclass(frozen=True, slots=True)
class BeginSending:
    """Encode a queued command for the device that is bound now, and write down that it is being handed over.

    `networks` says whether commands can be sent through a (source, MQTT broker): '' or what it waits for; None when they
    never can. `fetched_by`: the device that has come to fetch it, and gets it in the answer. `encoded`: what the model's
    script has made of it, where it was asked for.
    Result: the command as it is now; None when it is not there. A fetched one is `sent` with that.
    """

    id: str
    networks: Callable[[str, str], str | None]
    fetched_by: str | None = None
    encoded: Encoded | None = None

    def needs(self, seen: Snapshot) -> Needs:
        """The command, its virtual sensor's device, and where that was last heard."""
        needs = Needs(records={("device_command", self.id)})
        record = seen.records.get(("device_command", self.id))
        if record is not None:
            needs.add(_bound_needs(record.body["virtualSensor"], seen))
        return needs

    def apply(self, view: View, stamp: Stamp) -> Effects[Begun | None]:
        """One record, unless nothing changes."""
        present = view.record("device_command", self.id)
        if present is None:
            return Effects(None)
        command = as_command(present)
        if command.status != "queued":
            return Effects(Begun(command))
        begun = self._next(view, command, stamp)
        effects: Effects[Begun | None] = Effects(begun)
        if begun.command != command:
            effects.records.append(write(begun.command, stamp.version, present))
        return effects

    def _next(self, view: View, command: DeviceCommand, stamp: Stamp) -> Begun:
        late = actuation.expired(command, stamp.now)
        if late is not command:
            return Begun(late)
        bound = _bound(view, command.virtual_sensor, stamp.now)
        if bound is None:
            return Begun(actuation.waiting(command, _unbound(command.virtual_sensor)))
        device, model, _ = bound
        state = as_state(view.record("device_state", device.id))
        if state.source is None:
            return Begun(actuation.waiting(command, f"Device {device.id} has not been heard yet."))
        if state.source == COAP and self.fetched_by != device.id:
            return Begun(actuation.waiting(command, f"Device {device.id} fetches it with its next message."))
        reason = self.networks(state.source, state.broker or "") if state.source != COAP else ""
        if reason is None:
            said = f"Device {device.id} was last heard over '{state.source}', through which no commands can be sent."
            return Begun(actuation.failed(command, said, stamp.now))
        if reason:
            return Begun(actuation.waiting(command, reason))
        try:
            made = _encode(bound, command.command, command.parameters, self.encoded)
        except BrokerError as error:
            return Begun(actuation.failed(command, error.detail, stamp.now))
        if isinstance(made, ToEncode):
            return Begun(command, to_encode=made)
        f_port, confirmed, payload = made
        begun = actuation.sending(
            command,
            device=device.id,
            model=model.id,
            network=state.source,
            f_port=f_port,
            confirmed=confirmed,
            payload=payload,
        )
        if state.source == COAP:
            return Begun(actuation.sent(begun, stamp.now, transmitted=True))
        return Begun(begun, state.broker or "", state.topic or "")


@dataclass(frozen=True, slots=True)
class Change:
    """Apply a rule of `actuation.py` to one command. Result: it as it is now, None when it is not there.

    The rule may raise BrokerError to refuse.
    """

    id: str
    rule: Callable[[DeviceCommand, Micros], DeviceCommand]

    def needs(self, seen: Snapshot) -> Needs:
        """The command."""
        return Needs(records={("device_command", self.id)})

    def apply(self, view: View, stamp: Stamp) -> Effects[DeviceCommand | None]:
        """One record, unless nothing changes."""
        present = view.record("device_command", self.id)
        if present is None:
            return Effects(None)
        command = as_command(present)
        following = self.rule(command, stamp.now)
        effects: Effects[DeviceCommand | None] = Effects(following)
        if following != command:
            effects.records.append(write(following, stamp.version, present))
        return effects


@dataclass(frozen=True, slots=True)
class ForgetCommands:
    """Delete commands that ended before `before`. Result: how many."""

    ids: Sequence[str]
    before: Micros

    def needs(self, seen: Snapshot) -> Needs:
        """The commands."""
        return Needs(records={("device_command", each) for each in self.ids})

    def apply(self, view: View, stamp: Stamp) -> Effects[int]:
        """Deletions of those that have ended."""
        effects: Effects[int] = Effects(0)
        for each in self.ids:
            present = view.record("device_command", each)
            if present is None:
                continue
            ended = as_command(present).ended_at
            if ended is not None and ended < self.before:
                effects.records.append(
                    RecordWrite("device_command", each, None, stamp.version, present.version, present.keys)
                )
        effects.result = len(effects.records)
        return effects


def cancelling(by: str) -> Callable[[DeviceCommand, Micros], DeviceCommand]:
    """The rule that cancels a command, or says why it cannot be."""

    def rule(command: DeviceCommand, at: Micros) -> DeviceCommand:
        why = actuation.may_cancel(command)
        if why:
            raise PreconditionFailed(f"The command '{command.id}' cannot be cancelled. {why}")
        return actuation.cancelled(command, by, at)

    return rule


def _bound_needs(sensor_id: str, seen: Snapshot) -> Needs:
    """A virtual sensor's bindings, their devices, models and states."""
    needs = Needs(found={("binding", f"sensor:{sensor_id}")})
    for record in seen.found.get(("binding", f"sensor:{sensor_id}"), ()):
        device_id = as_binding(record).device
        needs.records |= {("device", device_id), ("device_state", device_id)}
        device = seen.records.get(("device", device_id))
        if device is not None:
            needs.records.add(("device_model", as_device(device).model))
    return needs


_Bound = tuple[Device, DeviceModel, int]
"""A device, its model and the version of that."""


def _bound(view: View, sensor_id: str, at: Micros) -> _Bound | None:
    """The device that is the virtual sensor at `at`."""
    for record in view.found("binding", f"sensor:{sensor_id}"):
        binding = as_binding(record)
        device = view.record("device", binding.device)
        if not binding.covers(at) or device is None:
            continue
        model = view.record("device_model", as_device(device).model)
        if model is not None:
            return as_device(device), as_model(model), model.version
    return None


def _unbound(sensor_id: str) -> str:
    return f"No device is '{sensor_id}' now."


def _encode(
    bound: _Bound, name: str, parameters: Mapping[str, Any], encoded: Encoded | None
) -> tuple[int | None, bool, bytes] | ToEncode:
    """(fPort, confirmed, payload) of a command for the device that is bound; or what its model's script is to do first.

    Raises BadRequestData.
    """
    device, model, version = bound
    template = _template(model, device, name)
    if not template.encoder:
        return template.f_port, template.confirmed, encode(name, template, parameters)
    wanted = ToEncode(model, version, script_data(name, template, parameters), template.f_port or 1)
    if encoded is None or encoded.of != wanted:
        return wanted
    if encoded.problem:
        raise BadRequestData(f"'{name}' cannot be encoded by model '{model.id}': {encoded.problem}")
    return encoded.f_port if model.network == "lorawan" else None, template.confirmed, encoded.payload


def _template(model: DeviceModel, device: Device, name: str) -> CommandTemplate:
    template = model.commands.get(name)
    if template is None:
        known = ", ".join(sorted(model.commands)) or "none"
        raise BadRequestData(
            f"Device {device.id} is of the model '{model.id}', which has no command '{name[:60]}'; it has: {known}."
        )
    return template
