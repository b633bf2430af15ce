"""What an uplink's message says of a command that was sent: applied to the command in the uplink's own transaction. Pure."""

from __future__ import annotations

from broker.devices.actuation import DeviceCommand, told
from broker.devices.commanding import as_command, write
from broker.pipeline.intake import DownlinkEvent, Uplink, tag_of
from broker.stores.base import Needs, Record, RecordWrite
from broker.stores.command import View


def follow_needs(uplink: Uplink) -> Needs:
    """The command that the uplink speaks of, if it does."""
    event = uplink.downlink
    if event is None:
        return Needs()
    return Needs(records={("device_command", event.id)}, found={("device_command", f"open-device:{uplink.device_id}")})


def follow(view: View, uplink: Uplink) -> tuple[list[RecordWrite], str]:
    """The command's next state, and its status where that changed ('' where not)."""
    event = uplink.downlink
    found = _named(event, view, uplink) if event is not None else None
    if event is None or found is None:
        return [], ""
    present, command = found
    following = told(command, uplink.device_id, event.what, uplink.observed_at, event.reason)
    if following == command:
        return [], ""
    changed = following.status if following.status != command.status else ""
    return [write(following, present.version + 1, present)], changed


def _named(event: DownlinkEvent, view: View, uplink: Uplink) -> tuple[Record, DeviceCommand] | None:
    """The command that is meant, by its id or by its tag among those that the device has not answered yet."""
    present = view.record("device_command", event.id)
    if present is not None:
        return present, as_command(present)
    for record in view.found("device_command", f"open-device:{uplink.device_id}"):
        if tag_of(record.id) == event.id:
            return record, as_command(record)
    return None
