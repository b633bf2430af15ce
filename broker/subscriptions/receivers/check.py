"""What a receiver's document must hold beyond its shape, and what of it is secret. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec

from broker.errors import BadRequestData
from broker.jsonio import dumps
from broker.ngsild.names import is_name, is_uri
from broker.outbound.mail import is_address
from broker.subscriptions.receivers.model import AlarmRule, Email, Receiver, Teams, ThresholdRule, Webhook
from broker.subscriptions.receivers.templates import check_template
from broker.subscriptions.signing import check_secret

RECIPIENTS: Final = 50
THRESHOLDS: Final = 20
PLACES: Final = 50
HEADERS: Final = 20
TEXT_CHARACTERS: Final = 500
TEMPLATE_BYTES: Final = 16 * 1024
DIGEST_MINUTES: Final = 24 * 60
MASK: Final = "***"
"""Stands in place of a secret; put back as it is, the secret stays."""

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,100}")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,4096}")
_OURS: Final = frozenset({"content-type", "content-length", "transfer-encoding", "host", "connection", "upgrade", "te"})


def read_receiver(document: dict[str, Any], before: Receiver | None = None) -> Receiver:
    """The receiver that a document means. What is masked in it is as it was `before`. Raises BadRequestData."""
    try:
        receiver = msgspec.convert(document, Receiver)
    except msgspec.ValidationError as error:
        raise BadRequestData(f"A receiver: {error}.") from None
    receiver = _unmasked(receiver, before)
    _line(receiver.name, "name", 100)
    if not 0 <= receiver.digest_minutes <= DIGEST_MINUTES:
        raise BadRequestData(f"'digestMinutes' must be from 0 to {DIGEST_MINUTES}, got {receiver.digest_minutes:g}.")
    try:
        ZoneInfo(receiver.time_zone)
    except (ValueError, OSError, LookupError):
        raise BadRequestData(
            f"'timeZone' must be an IANA time zone such as Europe/Stockholm, got '{receiver.time_zone[:60]}'."
        ) from None
    if receiver.alarms is None and not receiver.thresholds:
        raise BadRequestData("A receiver must have 'alarms' or 'thresholds': they say what it is told of.")
    _check_send(receiver.send)
    if receiver.alarms is not None:
        _check_alarms(receiver.alarms)
    if len(receiver.thresholds) > THRESHOLDS:
        raise BadRequestData(f"'thresholds' must be at most {THRESHOLDS}, got {len(receiver.thresholds)}.")
    seen = set[str]()
    for rule in receiver.thresholds:
        if rule.id in seen:
            raise BadRequestData(f"'thresholds': the id '{rule.id[:80]}' is there twice.")
        seen.add(rule.id)
        _check_threshold(rule)
    return receiver


def check_receiver_id(text: str) -> str:
    """Ids stand in URLs and logs."""
    if _ID.fullmatch(text) is None:
        raise BadRequestData(
            f"A receiver's id must be 1 to 64 letters (a to z), digits, '.', '_' or '-', got '{text[:80]}'."
        )
    return text


def _check_send(send: Email | Teams | Webhook) -> None:
    match send:
        case Email(to=to):
            if not 1 <= len(to) <= RECIPIENTS:
                raise BadRequestData(f"'send.to' must be 1 to {RECIPIENTS} e-mail addresses, got {len(to)}.")
            for address in to:
                if not is_address(address):
                    raise BadRequestData(
                        f"'send.to' must be e-mail addresses like name@city.example, got {address[:100]!r}."
                    )
        case Teams(url=url):
            _check_url(url)
        case Webhook():
            _check_url(send.url)
            if len(send.headers) > HEADERS:
                raise BadRequestData(f"'send.headers' must be at most {HEADERS}.")
            for name, value in send.headers.items():
                if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                    raise BadRequestData(
                        f"'send.headers': '{name[:80]}' and its value must be valid as an HTTP header."
                    )
                if name.lower() in _OURS:
                    raise BadRequestData(f"'send.headers': '{name}' is set by the broker.")
            if send.secret:
                check_secret(send.secret)
            check_template(send.template)
            if len(dumps(send.template)) > TEMPLATE_BYTES:
                raise BadRequestData(f"'send.template' must be at most {TEMPLATE_BYTES} bytes of JSON.")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = None, None
    if parts is None or parts.scheme not in ("http", "https") or not host or re.search(r"\s", url) or len(url) > 4096:
        raise BadRequestData("'send.url' must be an http or https URL with a host.")
    if parts.username is not None or parts.password is not None:
        raise BadRequestData(
            "'send.url' must not carry a user or a password; 'send.headers' may have an Authorization."
        )


def _check_alarms(rule: AlarmRule) -> None:
    _check_places(rule.places, "alarms.places")
    if len(rule.types) > PLACES:
        raise BadRequestData(f"'alarms.types' must be at most {PLACES}.")
    for name in rule.types:
        _check_name(name, "alarms.types")


def _check_threshold(rule: ThresholdRule) -> None:
    if _ID.fullmatch(rule.id) is None:
        raise BadRequestData(f"'thresholds': 'id' must be letters, digits, '.', '_' or '-', got '{rule.id[:80]}'.")
    _check_name(rule.type, f"thresholds '{rule.id}': 'type'")
    _check_places(rule.places, f"thresholds '{rule.id}': 'places'")
    if rule.text:
        _line(rule.text, f"thresholds '{rule.id}': 'text'", TEXT_CHARACTERS)


def _check_places(places: Sequence[str], where: str) -> None:
    if len(places) > PLACES:
        raise BadRequestData(f"'{where}' must be at most {PLACES}.")
    for place in places:
        if not is_uri(place):
            raise BadRequestData(f"'{where}' must be ids of entities (URIs), got '{place[:100]}'.")


def _check_name(name: str, where: str) -> None:
    if not is_name(name) and not is_uri(name):
        raise BadRequestData(f"'{where}' must be names of types, or IRIs, got '{name[:100]}'.")


def _line(text: str, where: str, most: int) -> None:
    if not text.strip() or len(text) > most or not text.isprintable():
        raise BadRequestData(f"'{where}' must be 1 to {most} characters on one line.")


# --- what is secret ---------------------------------------------------------------------------------------------------


def shown_document(receiver: Receiver) -> dict[str, Any]:
    """The document for a reader: what lets in who has it (a webhook's URL, headers, a secret) is masked."""
    document: dict[str, Any] = msgspec.to_builtins(receiver)
    send = receiver.send
    if isinstance(send, (Teams, Webhook)):
        document["send"]["url"] = _masked_url(send)
    if isinstance(send, Webhook):
        document["send"]["headers"] = dict.fromkeys(send.headers, MASK)
        document["send"]["secret"] = MASK if send.secret else ""
    return document


def _masked_url(send: Teams | Webhook) -> str:
    """A Teams webhook lets in whoever knows its path; another's query may have a key."""
    parts = urlsplit(send.url)
    if isinstance(send, Teams):
        return f"{parts.scheme}://{parts.netloc}/{MASK}"
    return f"{parts.scheme}://{parts.netloc}{parts.path}" + (f"?{MASK}" if parts.query else "")


def _unmasked(receiver: Receiver, before: Receiver | None) -> Receiver:
    send = receiver.send
    was = before.send if before is not None and type(before.send) is type(send) else None
    if isinstance(send, Teams):
        assert was is None or isinstance(was, Teams)
        if was is not None and send.url == _masked_url(was):
            send = was
    elif isinstance(send, Webhook):
        assert was is None or isinstance(was, Webhook)
        if was is not None and send.url == _masked_url(was):
            send = msgspec.structs.replace(send, url=was.url)
        kept = was.headers if was is not None else {}
        headers = {name: kept.get(name, value) if value == MASK else value for name, value in send.headers.items()}
        secret = was.secret if was is not None and send.secret == MASK else send.secret
        send = msgspec.structs.replace(send, headers=headers, secret=secret)
        if MASK in send.headers.values() or send.secret == MASK:
            raise BadRequestData(f"'send' has a masked value ('{MASK}') that there is nothing behind: give it anew.")
    if isinstance(send, (Teams, Webhook)) and MASK in send.url:
        raise BadRequestData(f"'send.url' is masked ('{MASK}') and there is nothing behind: give it anew.")
    return msgspec.structs.replace(receiver, send=send)
