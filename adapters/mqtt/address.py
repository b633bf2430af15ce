"""Where an MQTT broker is and how it is entered: from the settings' URL and files."""

from __future__ import annotations

import ssl
from urllib.parse import SplitResult, unquote, urlsplit

from broker.config import InvalidSetting, Mqtt
from broker.outbound.mqtt.uri import PORTS, Address


def address_of(settings: Mqtt) -> Address:
    """The address that `settings` means. Raises InvalidSetting; no password appears in its text."""
    try:
        url = urlsplit(settings.url)
        port = url.port
    except ValueError:
        raise InvalidSetting("mqtt.url: must be mqtt://[user:password@]host[:port] or mqtts://…") from None
    if url.scheme not in PORTS or not url.hostname:
        raise InvalidSetting(
            f"mqtt.url: must be mqtt://[user:password@]host[:port] or mqtts://…, got scheme '{url.scheme[:20]}'"
            f" and host '{(url.hostname or '')[:60]}'."
        )
    return Address(
        host=url.hostname,
        port=port or PORTS[url.scheme],
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
