"""Where an MQTT broker is and how it is entered: from the settings' URL and files."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from broker.config import InvalidSetting, Mqtt

_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True)
class Address:
    """An MQTT broker. `tls` is None for plain TCP; otherwise the server's certificate and name are verified."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    username: str
    password: str


def address_of(settings: Mqtt) -> Address:
    """The address that `settings` means. Raises InvalidSetting; no password appears in its text."""
    try:
        url = urlsplit(settings.url)
        port = url.port
    except ValueError:
        raise InvalidSetting("mqtt.url: must be mqtt://[user:password@]host[:port] or mqtts://…") from None
    if url.scheme not in _PORTS or not url.hostname:
        raise InvalidSetting(
            f"mqtt.url: must be mqtt://[user:password@]host[:port] or mqtts://…, got scheme '{url.scheme[:20]}'"
            f" and host '{(url.hostname or '')[:60]}'."
        )
    return Address(
        host=url.hostname,
        port=port or _PORTS[url.scheme],
        tls=_tls(settings, url),
        username=settings.username or unquote(url.username or ""),
        password=settings.password or unquote(url.password or ""),
    )


def _tls(settings: Mqtt, url: SplitResult) -> ssl.SSLContext | None:
    files = {
        f"mqtt.{name}": getattr(settings, name)
        for name in ("ca_file", "cert_file", "key_file")
        if getattr(settings, name)
    }
    if url.scheme == "mqtt":
        if files:
            raise InvalidSetting(f"{', '.join(files)}: needs an mqtts:// URL, got mqtt://{url.hostname}.")
        return None
    if settings.key_file and not settings.cert_file:
        raise InvalidSetting("mqtt.key_file: needs mqtt.cert_file beside it.")
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file or None)
    except (OSError, ssl.SSLError) as error:
        raise InvalidSetting(f"{', '.join(files)}: cannot be read as PEM: {error.strerror or error}.") from None
    return context
