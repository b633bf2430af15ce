"""Messages to receivers: what is told, as an e-mail, a card in Teams, a webhook's JSON. Pure.

Names come from entities, so anybody's. In an e-mail they are plain text, and a header is one line. In a card they stand in
RichTextBlocks: Teams reads Markdown in TextBlocks and FactSets, where a name could become a link.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from broker.clock import SECOND, Micros
from broker.jsonio import dumps
from broker.outbound.mail import mailto
from broker.outbound.message import Message
from broker.subscriptions.receivers.model import Email, Receiver, Severity, Teams, Webhook
from broker.subscriptions.receivers.templates import fill
from broker.subscriptions.receivers.words import WORDS, Told, heading

AT_ONCE: Final = {"email": 200, "teams": 10, "webhook": 200}
"""Outbox rows in one message, count: Teams takes 28 KB."""
_COLOUR: Final[Mapping[Severity, str]] = {
    "informational": "default",
    "low": "accent",
    "medium": "warning",
    "high": "attention",
    "critical": "attention",
}


def at_once(receiver: Receiver) -> int:
    """Rows that one message of a digest may gather."""
    return AT_ONCE[{Email: "email", Teams: "teams", Webhook: "webhook"}[type(receiver.send)]]


def message(
    receiver: Receiver, receiver_id: str, told: Sequence[Told], message_id: str, now: Micros, seconds: float
) -> Message:
    """The message for some events. `seconds`: the endpoint's time to answer."""
    title = heading(told, receiver)
    match receiver.send:
        case Email(to=to):
            return Message(
                uri=mailto(to),
                body=_plain(told, receiver).encode("utf-8", errors="replace"),
                headers={"Subject": title},
                timeout=seconds,
                id=message_id,
            )
        case Teams(url=url):
            return Message(
                uri=url,
                body=dumps(_card(title, told, receiver)),
                headers={"Content-Type": "application/json"},
                timeout=seconds,
                id=message_id,
                private=True,
            )
        case Webhook() as hook:
            return Message(
                uri=hook.url,
                body=dumps(_json(hook, title, told, receiver, receiver_id, message_id)),
                headers={**hook.headers, "Content-Type": "application/json"},
                timeout=seconds,
                id=message_id,
                secrets=(hook.secret,) if hook.secret else (),
                at=now // SECOND,
            )


def _plain(told: Sequence[Told], receiver: Receiver) -> str:
    words = WORDS[receiver.language]
    parts = []
    for one in told:
        lines = [f"{one.severity}: {one.title}" if not one.event.ended else one.title, one.where, one.text]
        lines += [f"{words['since']}: {one.since}"] if one.since else []
        lines += [f"{words['at']}: {one.at}"]
        lines += [one.link] if one.link else []
        parts.append("\n".join(_flat(line) for line in lines if line))
    return "\n\n".join([*parts, "-- \n" + words["footer"].format(name=receiver.name)]) + "\n"


def _flat(text: str) -> str:
    return " ".join(text.split())


def _card(title: str, told: Sequence[Told], receiver: Receiver) -> dict[str, Any]:
    words = WORDS[receiver.language]
    body: list[dict[str, Any]] = [_rich([_run(title, weight="bolder", size="medium")])]
    for one in told:
        colour = "good" if one.event.ended else _COLOUR[one.event.severity]
        first = one.title if one.event.ended else f"{one.severity}: {one.title}"
        since = f" · {words['since']} {one.since}" if one.since else ""
        items = [
            _rich([_run(first, weight="bolder", color=colour), _run(f" – {one.where}")]),
            _rich([_run(one.text)]),
            _rich([_run(one.at + since, isSubtle=True, size="small")]),
        ]
        if one.link:
            items.append(
                {"type": "ActionSet", "actions": [{"type": "Action.OpenUrl", "title": words["open"], "url": one.link}]}
            )
        body.append({"type": "Container", "separator": True, "items": items})
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "msteams": {"width": "Full"},
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _rich(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": runs}


def _run(text: str, **style: Any) -> dict[str, Any]:
    return {"type": "TextRun", "text": _flat(text) or "–", **style}


def _json(
    hook: Webhook, title: str, told: Sequence[Told], receiver: Receiver, receiver_id: str, message_id: str
) -> Any:
    entries = [one.as_json() for one in told]
    if hook.template is None:
        return {
            "id": message_id,
            "receiver": receiver_id,
            "language": receiver.language,
            "title": title,
            "entries": entries,
        }
    first = told[0]
    fields = {
        "title": title,
        "text": "\n".join(f"{one.title} – {one.where}: {one.text}" for one in told) if len(told) > 1 else first.text,
        "severity": first.severity,
        "where": first.where,
        "entity": first.event.about,
        "link": first.link,
        "at": first.at,
        "receiver": receiver.name,
        "id": message_id,
    }
    return fill(hook.template, fields, entries)
