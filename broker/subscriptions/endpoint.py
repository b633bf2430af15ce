"""Where notifications go (ETSI GS CIM 009 v1.9.1, 5.2.15, 5.2.22, 7.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal, cast
from urllib.parse import SplitResult, unquote, urlsplit

from broker.errors import BadRequestData
from broker.subscriptions import members

Accept = Literal["application/json", "application/ld+json", "application/geo+json"]
Scheme = Literal["http", "https", "mqtt", "mqtts"]

ACCEPT: Final[tuple[Accept, ...]] = ("application/json", "application/ld+json", "application/geo+json")
MQTT_QOS: Final = ("0", "1", "2")
MQTT_VERSIONS: Final = ("mqtt3.1.1", "mqtt5.0")
PAIRS: Final = 50
"""Entries of receiverInfo, and of notifierInfo."""
TOPIC_BYTES: Final = 65_535
"""The longest topic that MQTT can carry."""

_ENDPOINT = ("uri", "accept", "receiverInfo", "notifierInfo", "timeout", "cooldown")
_MQTT: Final = {"MQTT-QoS": MQTT_QOS, "MQTT-Version": MQTT_VERSIONS}
"""What `notifierInfo` may say to an MQTT endpoint (Table 7.2-1); other keys are kept and mean nothing."""

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
    scheme: Scheme = "http"
    """Of `uri`. An MQTT one is mqtt[s]://[user[:password]@]host[:port]/topic[/subtopic]* (7.2)."""
    accept: Accept = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    """receiverInfo."""
    notifier_info: tuple[tuple[str, str], ...] = ()
    """notifierInfo. For MQTT: 'MQTT-QoS' is one of MQTT_QOS, 'MQTT-Version' one of MQTT_VERSIONS, where they are there."""
    timeout: float | None = None
    cooldown: float = 0.0


def read_endpoint(value: Any) -> Endpoint:
    """The `endpoint` member. Raises BadRequestData."""
    document = members.mapping(value, "'notification.endpoint'")
    members.known_members(document, "'notification.endpoint'", _ENDPOINT)
    if "uri" not in document:
        raise BadRequestData("'notification.endpoint.uri' is missing: it says where notifications go.")
    uri, scheme = _read_uri(document["uri"])
    accept = members.one_of(document.get("accept", ACCEPT[0]), "'notification.endpoint.accept'", ACCEPT)
    if scheme in ("mqtt", "mqtts") and accept == "application/geo+json":
        raise BadRequestData(
            "'notification.endpoint.accept': an MQTT endpoint takes JSON or JSON-LD, not GeoJSON (7.2)."
        )
    timeout = document.get("timeout")
    cooldown = document.get("cooldown")
    return Endpoint(
        uri=uri,
        scheme=scheme,
        accept=cast("Accept", accept),
        headers=_read_headers(document.get("receiverInfo", [])),
        notifier_info=_read_notifier(document.get("notifierInfo", []), scheme),
        timeout=members.positive(timeout, "'notification.endpoint.timeout'") / 1000 if timeout is not None else None,
        cooldown=members.positive(cooldown, "'notification.endpoint.cooldown'") / 1000 if cooldown is not None else 0.0,
    )


def _read_uri(value: Any) -> tuple[str, Scheme]:
    uri = members.text(value, "'notification.endpoint.uri'")
    try:
        parts: SplitResult | None = urlsplit(uri)
        host, _ = (parts.hostname, parts.port) if parts is not None else (None, None)
    except ValueError:
        parts, host = None, None
    if parts is None or parts.scheme not in ("http", "https", "mqtt", "mqtts") or not host or re.search(r"\s", uri):
        raise BadRequestData(
            f"'notification.endpoint.uri' must be an http, https, mqtt or mqtts URL with a host, got '{uri}'."
        )
    if parts.scheme in ("mqtt", "mqtts"):
        _check_topic(uri, parts)
    elif parts.username is not None or parts.password is not None:
        raise BadRequestData(
            "'notification.endpoint.uri' must not carry credentials; put them in 'receiverInfo' (Authorization)."
        )
    return uri, cast("Scheme", parts.scheme)


def _check_topic(uri: str, parts: SplitResult) -> None:
    """The path is the topic: one to publish to, so without wildcards."""
    topic = unquote(parts.path.removeprefix("/"))
    if not topic:
        raise BadRequestData(
            f"'notification.endpoint.uri': an MQTT endpoint must name a topic after the host, got '{uri}'."
        )
    if parts.query or "#" in uri or "?" in uri or any(mark in topic for mark in "#+\0"):
        raise BadRequestData(
            f"'notification.endpoint.uri': an MQTT topic to send to must not have '#', '+', '?' or NUL in it, got '{uri}'."
        )
    if len(topic.encode()) > TOPIC_BYTES:
        raise BadRequestData(f"'notification.endpoint.uri': an MQTT topic must be at most {TOPIC_BYTES} bytes long.")


def _read_notifier(value: Any, scheme: Scheme) -> tuple[tuple[str, str], ...]:
    where = "'notification.endpoint.notifierInfo'"
    pairs = _read_pairs(value, where)
    if scheme in ("mqtt", "mqtts"):
        for key, content in pairs:
            if key in _MQTT:
                members.one_of(content, f"{where}: '{key}'", _MQTT[key])
    return tuple(pairs)


def _read_headers(value: Any) -> tuple[tuple[str, str], ...]:
    where = "'notification.endpoint.receiverInfo'"
    pairs = _read_pairs(value, where)
    for key, content in pairs:
        if not _HEADER_NAME.fullmatch(key) or not _HEADER_VALUE.fullmatch(content):
            raise BadRequestData(f"{where}: '{key[:80]}' and its value must be valid as an HTTP header.")
        if key.lower() in _OURS:
            raise BadRequestData(f"{where}: '{key}' is set by the broker.")
    return tuple(pairs)


def _read_pairs(value: Any, where: str) -> list[tuple[str, str]]:
    """KeyValuePairs (5.2.22)."""
    if not isinstance(value, list) or len(value) > PAIRS:
        raise BadRequestData(f"{where} must be a list of at most {PAIRS} {{key, value}} objects.")
    pairs = []
    for entry in value:
        pair = members.mapping(entry, f"{where}: each entry")
        key, content = pair.get("key"), pair.get("value")
        if set(pair) != {"key", "value"} or not isinstance(key, str) or not isinstance(content, str):
            raise BadRequestData(f"{where}: each entry must have a 'key' and a 'value', both strings.")
        pairs.append((key, content))
    return pairs
