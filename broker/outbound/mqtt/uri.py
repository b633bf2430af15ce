"""Where an MQTT endpoint is (ETSI GS CIM 009 v1.9.1, 7.2): mqtt[s]://[user[:password]@]host[:port]/topic[/subtopic]*. Pure."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_VERSIONS: Final = {"mqtt3.1.1": "3.1.1", "mqtt5.0": "5"}


@dataclass(frozen=True, slots=True)
class Address:
    """An MQTT broker. `tls` is None for plain TCP; otherwise the server's certificate and name are verified."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a connection is made to, and as whom: what endpoints may share one by."""

    host: str
    port: int
    tls: bool
    username: str
    password: str = field(repr=False)
    version: str
    """'5' or '3.1.1'."""


@dataclass(frozen=True, slots=True)
class Target:
    """What an endpoint means."""

    account: Account
    topic: str
    qos: int


def read_target(uri: str, info: Iterable[tuple[str, str]]) -> Target:
    """The target of an endpoint's URI and its notifierInfo (Table 7.2-1). Raises ValueError; its text has no password."""
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("it is not an MQTT URI") from None
    topic = unquote(parts.path.removeprefix("/"))
    if parts.scheme not in PORTS or not host or not topic:
        raise ValueError("it is not an MQTT URI with a host and a topic")
    said = dict(info)
    version = _VERSIONS.get(said.get("MQTT-Version", "mqtt5.0"))
    qos = said.get("MQTT-QoS", "0")
    if version is None or qos not in ("0", "1", "2"):
        raise ValueError("its MQTT-Version or MQTT-QoS is none that there is")
    account = Account(
        host=host,
        port=port or PORTS[parts.scheme],
        tls=parts.scheme == "mqtts",
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        version=version,
    )
    return Target(account, topic, int(qos))
