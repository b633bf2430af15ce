"""Where notifications go and what they look like (ETSI GS CIM 009 v1.9.1, 5.2.14, 5.2.15, 5.2.22)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from broker.errors import BadRequestData, OperationNotSupported
from broker.ngsild.model import Iri
from broker.subscriptions import members

Format = Literal["normalized", "concise", "simplified"]
Accept = Literal["application/json", "application/ld+json"]

_FORMATS: dict[str, Format] = {
    "normalized": "normalized",
    "concise": "concise",
    "simplified": "simplified",
    "keyValues": "simplified",
}
_NOTIFICATION = ("attributes", "format", "endpoint", "showChanges", "sysAttrs")
NOTIFICATION_READ_ONLY = ("status", "timesSent", "timesFailed", "lastNotification", "lastSuccess", "lastFailure")
"""5.2.14.2: generated; ignored when provided."""
_NOTIFICATION_NOT_SERVED = ("join", "joinLevel", "omit", "pick")
_ENDPOINT = ("uri", "accept", "receiverInfo", "timeout", "cooldown")
_ENDPOINT_NOT_SERVED = ("notifierInfo",)

# RFC 9110: a field name is a token, a value has no control characters.
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,256}")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,4096}")
_OURS = frozenset(
    {"content-type", "content-length", "transfer-encoding", "host", "connection", "link", "upgrade", "te"}
)
"""Headers that say how the message is to be read: not the subscriber's to set."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """5.2.15. `timeout` and `cooldown` in seconds (the document has milliseconds); None: the broker's own."""

    uri: str
    accept: Accept = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    """receiverInfo."""
    timeout: float | None = None
    cooldown: float = 0.0


@dataclass(frozen=True, slots=True)
class NotificationParams:
    """5.2.14.1."""

    endpoint: Endpoint
    format: Format = "normalized"
    attributes: tuple[Iri, ...] | None = None
    """Only these; None: all."""
    sys_attrs: bool = False


def read_notification(value: Any, expand: Callable[[str], Iri]) -> NotificationParams:
    """The `notification` member. Raises BadRequestData, OperationNotSupported."""
    document = members.mapping(value, "'notification'")
    members.known_members(
        document, "'notification'", (*_NOTIFICATION, *NOTIFICATION_READ_ONLY), _NOTIFICATION_NOT_SERVED
    )
    if "endpoint" not in document:
        raise BadRequestData("'notification.endpoint' is missing: it says where notifications go.")
    if "showChanges" in document and members.flag(document["showChanges"], "'notification.showChanges'"):
        raise OperationNotSupported("'notification.showChanges' is not supported by this broker.")
    attributes = None
    if "attributes" in document:
        names = members.texts(document["attributes"], "'notification.attributes'")
        for name in names:
            if name in ("id", "type", "scope", "@id", "@type"):
                raise BadRequestData(f"'notification.attributes' names attributes, '{name}' is none.")
        attributes = tuple(expand(name) for name in names)
    return NotificationParams(
        endpoint=_read_endpoint(document["endpoint"]),
        format=_FORMATS[members.one_of(document.get("format", "normalized"), "'notification.format'", tuple(_FORMATS))],
        attributes=attributes,
        sys_attrs=members.flag(document.get("sysAttrs", False), "'notification.sysAttrs'"),
    )


def _read_endpoint(value: Any) -> Endpoint:
    document = members.mapping(value, "'notification.endpoint'")
    members.known_members(document, "'notification.endpoint'", _ENDPOINT, _ENDPOINT_NOT_SERVED)
    if "uri" not in document:
        raise BadRequestData("'notification.endpoint.uri' is missing: it says where notifications go.")
    accept = members.one_of(
        document.get("accept", "application/json"),
        "'notification.endpoint.accept'",
        ("application/json", "application/ld+json", "application/geo+json"),
    )
    if accept == "application/geo+json":
        raise OperationNotSupported(
            "'notification.endpoint.accept': 'application/geo+json' is not supported by this broker."
        )
    timeout = document.get("timeout")
    cooldown = document.get("cooldown")
    return Endpoint(
        uri=_read_uri(document["uri"]),
        accept="application/ld+json" if accept == "application/ld+json" else "application/json",
        headers=_read_headers(document.get("receiverInfo", [])),
        timeout=members.positive(timeout, "'notification.endpoint.timeout'") / 1000 if timeout is not None else None,
        cooldown=members.positive(cooldown, "'notification.endpoint.cooldown'") / 1000 if cooldown is not None else 0.0,
    )


def _read_uri(value: Any) -> str:
    uri = members.text(value, "'notification.endpoint.uri'")
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = None, None
    if parts is not None and parts.scheme in ("mqtt", "mqtts"):
        raise OperationNotSupported(f"'notification.endpoint.uri': '{parts.scheme}' is not supported by this broker.")
    if parts is None or parts.scheme not in ("http", "https") or not host or re.search(r"\s", uri):
        raise BadRequestData(f"'notification.endpoint.uri' must be an http or https URL with a host, got '{uri}'.")
    if parts.username is not None or parts.password is not None:
        raise BadRequestData(
            "'notification.endpoint.uri' must not carry credentials; put them in 'receiverInfo' (Authorization)."
        )
    return uri


def _read_headers(value: Any) -> tuple[tuple[str, str], ...]:
    where = "'notification.endpoint.receiverInfo'"
    if not isinstance(value, list) or len(value) > 50:
        raise BadRequestData(f"{where} must be a list of at most 50 {{key, value}} objects.")
    headers = []
    for entry in value:
        pair = members.mapping(entry, f"{where}: each entry")
        key, content = pair.get("key"), pair.get("value")
        if set(pair) != {"key", "value"} or not isinstance(key, str) or not isinstance(content, str):
            raise BadRequestData(f"{where}: each entry must have a 'key' and a 'value', both strings.")
        if not _HEADER_NAME.fullmatch(key) or not _HEADER_VALUE.fullmatch(content):
            raise BadRequestData(f"{where}: '{key[:80]}' and its value must be valid as an HTTP header.")
        if key.lower() in _OURS:
            raise BadRequestData(f"{where}: '{key}' is set by the broker.")
        headers.append((key, content))
    return tuple(headers)
