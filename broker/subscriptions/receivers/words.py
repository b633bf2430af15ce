"""What is told, in words: English and Swedish. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from broker.clock import SECOND, Micros
from broker.ngsild.model import Iri
from broker.subscriptions.receivers.model import Language, Receiver
from broker.subscriptions.receivers.rules import Event

TEXT_CHARACTERS: Final = 600
VALUES: Final = 6
"""Values of a condition that are told, count."""


@dataclass(frozen=True, slots=True)
class About:
    """What an entity is and where."""

    id: str
    name: str | None = None
    types: tuple[Iri, ...] = ()
    way: tuple[tuple[str, str | None], ...] = ()
    """(id, name) of the places around it, the outermost first."""

    @property
    def where(self) -> str:
        """'Room 214, Storskolan': from the inside out, itself first where it has a name, or nothing is around it."""
        around = [name or _short(place) for place, name in reversed(self.way)]
        own = self.name or ("" if around else _short(self.id))
        return ", ".join([own, *around] if own else around)

    def within(self, places: Sequence[str]) -> bool:
        """Whether it is, or is within, one of `places`."""
        return self.id in places or any(place in places for place, _ in self.way)


@dataclass(frozen=True, slots=True)
class Told:
    """One event in words. Texts are as long as they may be, and may hold anything that names can."""

    event: Event
    title: str
    """'No uplink' or, when it is over, 'Over: no uplink'."""
    severity: str
    where: str
    """'Room 214, Storskolan'."""
    text: str
    """What is wrong, in a sentence."""
    at: str
    since: str
    """'' where it is not known."""
    link: str
    """To the entity; '' where the broker does not know its own address."""

    def as_json(self) -> dict[str, Any]:
        """For webhooks."""
        event = self.event
        return {
            "what": event.what,
            "ended": event.ended,
            "severity": event.severity,
            "kind": event.kind,
            "title": self.title,
            "text": self.text,
            "where": self.where,
            "entity": event.about,
            "alert": event.alert or None,
            "at": self.at,
            "since": self.since or None,
            "link": self.link or None,
            "data": event.data,
        }


def tell(event: Event, about: About, receiver: Receiver, link: str) -> Told:
    """`event` in the receiver's language."""
    words = WORDS[receiver.language]
    title = words["kinds"].get(event.kind, event.kind) if event.what == "alarm" else words["condition"]
    text = _text(event, receiver.language)
    if event.ended:
        reason = words["because"].get(event.because, event.because)
        title = words["over"].format(title=title[:1].lower() + title[1:])
        text = f"{text} {words['closed'].format(reason=reason)}".strip() if reason else text
    return Told(
        event=event,
        title=title,
        severity=words["severities"][event.severity],
        where=_cut(about.where),
        text=_cut(text),
        at=moment(event.at, receiver.time_zone),
        since=moment(event.since, receiver.time_zone) if event.since is not None else "",
        link=link,
    )


def heading(told: Sequence[Told], receiver: Receiver) -> str:
    """What a message is about, on one line."""
    words = WORDS[receiver.language]
    if len(told) == 1:
        one = told[0]
        return f"{one.severity}: {one.title} – {one.where}" if not one.event.ended else f"{one.title} – {one.where}"
    ended = sum(one.event.ended for one in told)
    return str(words["several"]).format(count=len(told), begun=len(told) - ended, ended=ended)


def moment(at: Micros, zone: str) -> str:
    """'2026-11-21 11:20 Europe/Stockholm'."""
    local = datetime.fromtimestamp(at / SECOND, UTC).astimezone(ZoneInfo(zone))
    return f"{local:%Y-%m-%d %H:%M} {zone}"


def _text(event: Event, language: Language) -> str:
    if event.what == "threshold":
        values = list(event.data["values"].items())[:VALUES]
        shown = ", ".join(f"{name} = {_shown(value)}" for name, value in values)
        if event.text:
            return f"{event.text} ({shown})" if shown else event.text
        holds = WORDS[language]["ends" if event.ended else "holds"]
        return str(holds).format(q=event.data["q"], values=f" ({shown})" if shown else "")
    if language == "en":
        return event.text
    said = _SWEDISH.get(event.kind)
    return (said(event) if said is not None else None) or event.text


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)[:60]


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_CHARACTERS else text[: TEXT_CHARACTERS - 1] + "…"


def _short(iri: str) -> str:
    """The last part of a URN or IRI."""
    return re.split(r"[/#:]", iri.rstrip("/#:"))[-1] or iri


# --- languages --------------------------------------------------------------------------------------------------------

WORDS: Final[Mapping[Language, Mapping[str, Any]]] = {
    "en": {
        "severities": {
            "informational": "For information",
            "low": "Low",
            "medium": "Medium",
            "high": "High",
            "critical": "Critical",
        },
        "kinds": {
            "silence": "Nothing heard",
            "battery": "Battery low",
            "radio": "Radio weak",
            "frameLoss": "Frames lost",
            "implausible": "Implausible values",
            "threshold": "Beyond its limit",
        },
        "because": {
            "recovered": "it is well again",
            "swap": "the device was replaced",
            "unbound": "the device was taken away",
            "by hand": "somebody closed it",
            "rule removed": "the rule was removed",
            "sensor removed": "the virtual sensor was removed",
        },
        "condition": "Condition met",
        "over": "Over: {title}",
        "closed": "It ended because {reason}.",
        "holds": "{q} is true now{values}.",
        "ends": "{q} is not true any more{values}.",
        "several": "{count} notices ({begun} new, {ended} over)",
        "at": "At",
        "since": "Since",
        "where": "Where",
        "severity": "Severity",
        "open": "Show",
        "test": "This is a test. Nothing is wrong.",
        "footer": "Sent by Knutpunkt to the receiver '{name}'.",
    },
    "sv": {
        "severities": {
            "informational": "För kännedom",
            "low": "Låg",
            "medium": "Medel",
            "high": "Hög",
            "critical": "Kritisk",
        },
        "kinds": {
            "silence": "Inget hörs",
            "battery": "Lågt batteri",
            "radio": "Svag radio",
            "frameLoss": "Förlorade meddelanden",
            "implausible": "Orimliga värden",
            "threshold": "Utanför sin gräns",
        },
        "because": {
            "recovered": "det är bra igen",
            "swap": "enheten byttes ut",
            "unbound": "enheten togs bort",
            "by hand": "någon stängde det",
            "rule removed": "regeln togs bort",
            "sensor removed": "den virtuella sensorn togs bort",
        },
        "condition": "Villkor uppfyllt",
        "over": "Över: {title}",
        "closed": "Det är över eftersom {reason}.",
        "holds": "{q} gäller nu{values}.",
        "ends": "{q} gäller inte längre{values}.",
        "several": "{count} meddelanden ({begun} nya, {ended} över)",
        "at": "Tid",
        "since": "Sedan",
        "where": "Var",
        "severity": "Allvar",
        "open": "Visa",
        "test": "Detta är ett prov. Inget är fel.",
        "footer": "Skickat av Knutpunkt till mottagaren '{name}'.",
    },
}


def _silence(event: Event) -> str | None:
    seen = event.data.get("lastSeen")
    if not isinstance(seen, str):
        return "Enheten har inte hörts sedan den kopplades."
    return f"Inget meddelande sedan {seen[:16].replace('T', ' ')}Z."


def _battery(event: Event) -> str | None:
    data = event.data
    if "percent" in data:
        return f"Batteriet är på {data['percent']:.0f} % (lågt vid {data['limit']:g} %)."
    return f"Batteriet är på {data['volts']:.2f} V (lågt vid {data['limit']:g} V)." if "volts" in data else None


def _radio(event: Event) -> str | None:
    heard = ", ".join(
        f"{name} {event.data[name]:g} {unit}" for name, unit in (("rssi", "dBm"), ("snr", "dB")) if name in event.data
    )
    return f"Radion är svag: {heard}." if heard else None


def _frames(event: Event) -> str | None:
    data = event.data
    return f"{data['lost']} av de {data['frames']} senaste meddelandena gick förlorade." if "lost" in data else None


def _implausible(event: Event) -> str | None:
    names = [str(one.get("attribute")) for one in event.data.get("values", ()) if isinstance(one, dict)]
    return f"Orimliga värden: {', '.join(names)}." if names else None


_OWN_WORDS = re.compile(r"\S+ is \S+, (?:above|below) \S+\.")
"""What the broker itself says of a threshold whose rule has no text."""


def _threshold(event: Event) -> str | None:
    data = event.data
    if _OWN_WORDS.fullmatch(event.text) is None or "value" not in data:
        return None  # the rule's own text, in whatever language it is
    side = "över" if data["value"] > data["limit"] else "under"
    return f"{data['attribute']} är {data['value']:g}, {side} {data['limit']:g}."


_SWEDISH: Final[Mapping[str, Callable[[Event], str | None]]] = {
    "silence": _silence,
    "battery": _battery,
    "radio": _radio,
    "frameLoss": _frames,
    "implausible": _implausible,
    "threshold": _threshold,
}
