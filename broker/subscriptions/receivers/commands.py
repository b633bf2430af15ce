"""Commands on ready receivers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from broker.clock import Stamp
from broker.config import Limits
from broker.errors import AlreadyExists, BadRequestData, ResourceNotFound
from broker.ngsild.model import Iri
from broker.stores.base import Needs, Record, RecordWrite, Snapshot
from broker.stores.command import Effects, View
from broker.subscriptions.receivers.check import read_receiver
from broker.subscriptions.receivers.model import RECEIVER, as_receiver, record_id
from broker.subscriptions.receivers.rules import make_rules
from broker.subscriptions.steering import DeleteSubscription

KEYS: Final = (RECEIVER,)


@dataclass(frozen=True, slots=True)
class SaveReceiver:
    """Create or replace a receiver; the result is (its record's body, whether it was created).

    `expand`: names to IRIs, by the core @context. `granted`: whoever asks may see personal data. `when` 'absent' refuses one
    that is there. Raises BadRequestData, AlreadyExists, TooComplexQuery.
    """

    id: str
    document: dict[str, Any]
    expand: Callable[[str], Iri]
    limits: Limits
    granted: bool
    when: Literal["any", "absent"] = "any"

    def needs(self, seen: Snapshot) -> Needs:
        """The receiver as it is, and the others: they are counted."""
        return Needs(records={("subscription", record_id(self.id))}, found={("subscription", RECEIVER)})

    def apply(self, view: View, stamp: Stamp) -> Effects[tuple[dict[str, Any], bool]]:
        """One record."""
        record = view.record("subscription", record_id(self.id))
        if record is not None and self.when == "absent":
            raise AlreadyExists(f"The receiver '{self.id}' exists already.")
        if record is None and len(view.found("subscription", RECEIVER)) >= self.limits.receivers:
            raise BadRequestData(
                f"There are as many receivers as the limit 'limits.receivers' of {self.limits.receivers}."
            )
        before = as_receiver(record.body) if record is not None else None
        receiver = read_receiver(self.document, before)
        terms: dict[str, Iri] = {}

        def noted(term: str) -> Iri:
            terms[term] = iri = self.expand(term)
            return iri

        make_rules(receiver, noted, self.limits)
        body: dict[str, Any] = {
            "id": record_id(self.id),
            RECEIVER: msgspec.to_builtins(receiver),
            "terms": terms,
            "createdAt": record.body["createdAt"] if record is not None else stamp.text,
            "modifiedAt": stamp.text,
        }
        # One that is there stays what it was made as: no change of its text lets it see more.
        if record.body.get("granted") is True if record is not None else self.granted:
            body["granted"] = True
        expected = record.version if record is not None else 0
        write = RecordWrite("subscription", record_id(self.id), body, stamp.version, expected, KEYS)
        return Effects((body, record is None), records=[write])


@dataclass(frozen=True, slots=True)
class DeleteReceiver:
    """Delete a receiver, and with it what it is still owed. Raises ResourceNotFound."""

    id: str

    def needs(self, seen: Snapshot) -> Needs:
        """The receiver, and what is known of its delivery beside."""
        return DeleteSubscription(record_id(self.id)).needs(seen)

    def apply(self, view: View, stamp: Stamp) -> Effects[None]:
        """All of it goes."""
        found(view.record("subscription", record_id(self.id)), self.id)
        return DeleteSubscription(record_id(self.id)).apply(view, stamp)


def found(record: Record | None, receiver_id: str) -> Record:
    """The record, if it is there. Raises ResourceNotFound."""
    if record is None:
        raise ResourceNotFound(f"There is no receiver '{receiver_id[:100]}'.")
    return record
