"""A receiver's document, as types: who is told, how, and of what.

It is kept as a record of the kind 'subscription', with the key RECEIVER and an id that begins with PREFIX: so it is matched,
owed, retried, given up and replayed as any subscription is. Its body is

    {"id": "urn:knutpunkt:Receiver:drift", "receiver": {the document, without its id}, "terms": {"Room": "https://…/Room"},
     "createdAt": "…Z", "modifiedAt": "…Z", "granted": true}

`terms` are the types and the names in q as the core @context expands them; `granted` is there when it was made with the grant
of personal data.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

RECEIVER: Final = "receiver"
"""Key of their records."""
PREFIX: Final = "urn:knutpunkt:Receiver:"
"""How the ids of their records begin; nobody else's subscription does."""

Severity = Literal["informational", "low", "medium", "high", "critical"]
SEVERITIES: Final[tuple[Severity, ...]] = ("informational", "low", "medium", "high", "critical")
AlarmKind = Literal["silence", "battery", "radio", "frameLoss", "implausible", "threshold"]
Language = Literal["en", "sv"]


class Email(
    Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="email"
):
    """By e-mail, through the mail server of the settings."""

    to: tuple[str, ...]


class Teams(
    Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="teams"
):
    """As an Adaptive Card, to a Workflow "when a Teams webhook request is received" or an incoming webhook."""

    url: str


class Webhook(
    Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="webhook"
):
    """As JSON, to any URL."""

    url: str
    headers: dict[str, str] = {}
    template: Any = None
    """JSON whose texts have {title}, {text}, … in them (`templates.py`); None: all that there is to tell."""
    secret: str = ""
    """To sign with, as subscriptions are; '': it is not signed."""


class AlarmRule(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Which alarms are told."""

    severity: Severity = "medium"
    """From this on."""
    kinds: tuple[AlarmKind, ...] = ()
    """Empty: all."""
    places: tuple[str, ...] = ()
    """Only of what is, or is within, one of these entities; empty: everywhere."""
    types: tuple[str, ...] = ()
    """Only of entities of one of these types; empty: all."""
    ended: bool = True
    """Told also when it is over."""


class ThresholdRule(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """A condition on entities of a type that is told when it becomes true."""

    id: str
    type: str
    q: str
    """As in NGSI-LD (4.9)."""
    ended: bool = False
    """Told also when it is not true any more."""
    severity: Severity = "medium"
    places: tuple[str, ...] = ()
    text: str = ""
    """For people; '' says the condition and the values."""


class Receiver(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """One receiver."""

    name: str
    send: Email | Teams | Webhook
    active: bool = True
    language: Language = "en"
    time_zone: str = "UTC"
    """IANA name, in which times are told."""
    digest_minutes: float = 0
    """Gather what happens for so long into one message; 0: one for each."""
    alarms: AlarmRule | None = None
    """None: no alarms are told."""
    thresholds: tuple[ThresholdRule, ...] = ()


def as_receiver(body: dict[str, Any]) -> Receiver:
    """The receiver of a record's body."""
    return msgspec.convert(body["receiver"], Receiver)


def record_id(receiver_id: str) -> str:
    """The id of a receiver's record."""
    return PREFIX + receiver_id


def is_receiver(subscription_id: str) -> bool:
    """Whether this is a receiver's record, not an app's subscription."""
    return subscription_id.startswith(PREFIX)
