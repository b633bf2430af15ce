"""From what is owed to a ready receiver to the message: which events there are, what they are about, in words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from broker.clock import Micros
from broker.outbound.message import Message
from broker.subscriptions.owed import Owed
from broker.subscriptions.receivers.model import PREFIX, Receiver
from broker.subscriptions.receivers.render import message
from broker.subscriptions.receivers.rules import Event, Rules, entity_before
from broker.subscriptions.receivers.words import WORDS, About, Told, moment, tell

if TYPE_CHECKING:  # which needs the rules itself
    from broker.subscriptions.subscription import Subscription

Describe = Callable[[Iterable[str], bool], Awaitable[Mapping[str, About]]]
"""(ids of entities, whether personal ones may be described) -> what each is and where, of those that there are."""

TEST: Final = "test"


class Telling:
    """Makes messages. `base_url`: how others reach this broker; '' where it is not known."""

    def __init__(self, describe: Describe, base_url: str) -> None:
        self._describe = describe
        self._base_url = base_url.rstrip("/")

    async def message(
        self, subscription: Subscription, entries: Sequence[Owed], now: Micros, seconds: float
    ) -> Message | None:
        """The message for some rows; None: there is nothing to tell. May raise StoreUnavailable."""
        rules = subscription.rules
        assert rules is not None
        events = [event for one in entries for event in events_of(rules, one)]
        abouts = await self._describe({event.about for event in events}, subscription.granted)
        told = []
        for event in events:
            about = abouts.get(event.about) or About(event.about)
            if event.places and not about.within(event.places):
                continue
            if event.types and set(event.types).isdisjoint(about.types):
                continue
            told.append(tell(event, about, rules.receiver, self._link(event.about)))
        if not told:
            return None
        name = subscription.id.removeprefix(PREFIX)
        return message(rules.receiver, name, told, f"urn:ngsi-ld:Notification:{entries[-1].row.id}", now, seconds)

    def test_message(self, receiver: Receiver, receiver_id: str, serial: str, now: Micros, seconds: float) -> Message:
        """One that says that it is a test."""
        event = Event(
            what="threshold",
            ended=False,
            severity="informational",
            about=f"{PREFIX}{receiver_id}",
            at=now,
            since=None,
            kind=TEST,
            text="",
            data={},
            because="",
            alert="",
            places=(),
            types=(),
        )
        words = WORDS[receiver.language]
        one = Told(
            event=event,
            title=words["test"],
            severity=words["severities"]["informational"],
            where=receiver.name,
            text=words["test"],
            at=moment(now, receiver.time_zone),
            since="",
            link="",
        )
        return message(receiver, receiver_id, [one], f"urn:knutpunkt:Test:{serial}", now, seconds)

    def _link(self, entity_id: str) -> str:
        return f"{self._base_url}/ngsi-ld/v1/entities/{quote(entity_id, safe=':')}" if self._base_url else ""


def events_of(rules: Rules, one: Owed) -> list[Event]:
    """What an outbox row tells, by the rules as they are now."""
    return rules.events(entity_before(one.entity, one.trigger == "entityCreated", one.previous), one.entity, one.at)
