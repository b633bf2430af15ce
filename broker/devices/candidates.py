"""Who could be the next device of a virtual sensor: those in quarantine, the likeliest first, each with the reasons. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from broker.clock import SECOND, Micros, iso
from broker.devices.model import DeviceState
from broker.stores.base import UplinkRow

FRESH: Micros = 24 * 3600 * SECOND
"""A device that was first heard so shortly after another went silent may well stand in its place."""


class Heard(Struct, frozen=True):
    """A device in quarantine: its newest uplinks, newest first, and how many there are in all."""

    device: str
    count: int
    first: Micros
    last: Micros
    rows: Sequence[UplinkRow]
    model: str | None
    """Of a device that is registered and bound to nothing."""


class Candidate(Struct, frozen=True, rename="camel"):
    """One suggestion."""

    device: str
    score: int
    """Only to compare with the others."""
    reasons: tuple[str, ...]
    count: int
    first: Micros
    last: Micros
    model: str | None


def candidates(
    heard: Sequence[Heard], *, replaced: str | None, model: str | None, state: DeviceState | None, profile: str | None
) -> list[Candidate]:
    """Those heard, the likeliest first.

    `replaced` is the device that the virtual sensor is now, with its model, its state and the name that the network has
    for its profile; None where there is none.
    """
    made = [_candidate(one, model, state, profile) for one in heard if one.device != replaced]
    return sorted(made, key=lambda one: (-one.score, -one.last, one.device))


def _candidate(one: Heard, model: str | None, state: DeviceState | None, profile: str | None) -> Candidate:
    reasons = [f"seen {one.count} {'time' if one.count == 1 else 'times'}{_during(one.last - one.first)}"]
    score = min(one.count, 5)
    metas = [row.meta for row in one.rows]
    if one.model is not None and one.model == model:
        reasons.append(f"same model, {model}")
        score += 20
    elif profile is not None and any(meta.get("deviceProfile") == profile for meta in metas):
        reasons.append(f"same device profile, {profile}")
        score += 15
    gateway = state.gateway if state is not None else None
    if gateway is not None and any(_gateway(meta) == gateway for meta in metas):
        reasons.append(f"same gateway, {gateway}")
        score += 15
    silent = state.last_seen if state is not None else None
    if silent is not None and one.first > silent:
        reasons.append(f"first heard after the sensor went silent at {iso(silent)}")
        score += 20 if one.first - silent <= FRESH else 8
    return Candidate(one.device, score, tuple(reasons), one.count, one.first, one.last, one.model)


def _gateway(meta: dict[str, Any]) -> object:
    return (meta.get("radio") or {}).get("gateway_id")


def _during(span: Micros) -> str:
    minutes = round(span / (60 * SECOND))
    if minutes < 1:
        return ""
    if minutes < 120:
        return f" in {minutes} minutes"
    hours = round(minutes / 60)
    return f" in {hours} hours" if hours < 48 else f" in {round(hours / 24)} days"
