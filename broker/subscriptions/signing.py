"""Secrets that a subscription's notifications are signed with: write-only, and two at a time while one follows another.

They stand in the subscription's record beside its document, as {"signing": [{"secret": …, "since": …, "until": …}]}, times in
microseconds: so no reader of the subscription meets them, and they go with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from broker.clock import SECOND, Micros, Stamp, iso
from broker.errors import BadRequestData, ResourceNotFound
from broker.stores.base import Needs, RecordWrite, Snapshot
from broker.stores.command import Effects, View
from broker.subscriptions.receivers.model import RECEIVER

SECRET_BYTES: Final = (16, 256)
"""The shortest and the longest secret."""
KEEP_HOURS: Final = 24 * 90
"""How long the secret before may go on, at most."""


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret."""

    secret: str = field(repr=False)
    since: Micros
    until: Micros | None = None
    """When it ends; None: it does not."""

    def holds(self, now: Micros) -> bool:
        """Whether notifications are signed with it."""
        return self.until is None or now < self.until

    def shown(self) -> dict[str, str]:
        """What is told of it: not the secret."""
        return {"since": iso(self.since), **({"until": iso(self.until)} if self.until is not None else {})}


def read_secrets(body: dict[str, Any]) -> tuple[Secret, ...]:
    """Those of a subscription's record, the newest first."""
    return tuple(Secret(one["secret"], one["since"], one.get("until")) for one in body.get("signing", ()))


def valid_secrets(secrets: Iterable[Secret], now: Micros) -> tuple[str, ...]:
    """Those that hold now, the newest first."""
    return tuple(one.secret for one in secrets if one.holds(now))


def check_secret(secret: Any) -> str:
    """A secret that may be used. Raises BadRequestData, which does not repeat it."""
    shortest, longest = SECRET_BYTES
    if not isinstance(secret, str) or not shortest <= len(secret.encode("utf-8", "surrogatepass")) <= longest:
        raise BadRequestData(f"'secret' must be a string of {shortest} to {longest} bytes.")
    if not secret.isprintable():
        raise BadRequestData("'secret' must have no control characters.")
    return secret


@dataclass(frozen=True, slots=True)
class SetSecret:
    """Sign with `secret` from now on; the one before goes on for `keep` microseconds. None: sign no more."""

    subscription_id: str
    secret: str | None = field(repr=False)
    keep: Micros = 0

    def needs(self, seen: Snapshot) -> Needs:
        """The subscription."""
        return Needs(records={("subscription", self.subscription_id)})

    def apply(self, view: View, stamp: Stamp) -> Effects[tuple[Secret, ...]]:
        """The next state of its record; the result are the secrets that hold. Raises ResourceNotFound."""
        record = view.record("subscription", self.subscription_id)
        if record is None or RECEIVER in record.body:
            raise ResourceNotFound(f"There is no subscription '{self.subscription_id[:200]}'.")
        secrets: tuple[Secret, ...] = ()
        if self.secret is not None:
            before = [one for one in read_secrets(record.body) if one.holds(stamp.now) and one.secret != self.secret]
            kept = tuple(Secret(one.secret, one.since, stamp.now + self.keep) for one in before[:1] if self.keep)
            secrets = (Secret(self.secret, stamp.now), *kept)
        body = {name: value for name, value in record.body.items() if name != "signing"}
        if secrets:
            body["signing"] = [
                {"secret": one.secret, "since": one.since, **({"until": one.until} if one.until is not None else {})}
                for one in secrets
            ]
        write = RecordWrite("subscription", record.id, body, stamp.version, record.version, record.keys)
        return Effects(secrets, records=[write])


def hours(value: Any, name: str) -> Micros:
    """A number of hours up to KEEP_HOURS."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= KEEP_HOURS:
        raise BadRequestData(f"'{name}' must be a number of hours from 0 to {KEEP_HOURS}.")
    return int(value * 3600 * SECOND)
