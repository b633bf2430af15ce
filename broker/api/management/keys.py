"""/api/v1/devices/{device}/keys: what proves over CoAP which device speaks (docs/coap.md).

A secret is in the answer to the request that makes or brings it, and never again.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any, Final, cast

from aiohttp import web

from broker.api.management.common import answer, body, members, text
from broker.api.route import Route
from broker.api.services import Services
from broker.clock import Micros, iso
from broker.devices.credentials import AddKey, DeviceKey, RevokeKey, Scheme, about, as_key
from broker.devices.sealing import Sealer
from broker.errors import BadRequestData

ALL: Final = "/api/v1/devices/{device}/keys"
ONE: Final = "/api/v1/devices/{device}/keys/{key}"
NEW_MEMBERS: Final = ("scheme", "oscore", "psk", "othersEndInSeconds", "by", "note")
SCHEMES: Final = ("oscore", "dtls-psk")
SECRET_BYTES: Final = 16
SENDER_ID_BYTES: Final = 4
"""Of a Sender ID that we choose, random: one of 10,000 devices meets a taken one once in 430,000 times, and is told so."""
LONGEST_ID_BYTES: Final = 7
"""A Sender ID, for AES-CCM-16-64-128 with its nonce of 13 bytes (RFC 8613, 3.3.1)."""
LONGEST_OVERLAP_SECONDS: Final = 400 * 24 * 3600
_DEVICE = re.compile(r"[a-z0-9][a-z0-9._:\-]{0,63}", re.ASCII)
_IDENTITY = re.compile(r"[\x21-\x7e]{1,128}")


def routes(services: Services) -> list[Route]:
    """List, add, revoke."""
    store, writer = services.tenants.default.store, services.tenants.default.writer
    sealer = Sealer(services.settings.coap.key_secret)

    async def list_keys(request: web.Request) -> web.Response:
        """List a device's keys. From the oldest to the newest, ended and revoked ones too; never their secrets."""
        device = device_id(request)
        found = await store.records("device_key", key=f"device:{device}")
        return answer([shown(record.id, as_key(record), services.clock.now()) for record in found])

    async def add_key(request: web.Request) -> web.Response:
        """Give a device a key. Made here unless the request brings one; the answer is the only one that has the secret.

        `othersEndInSeconds` rotates: the device's other keys of the scheme hold so long yet. A device that has a key is
        not heard without one. It need not be registered yet.
        """
        device = device_id(request)
        given = members(await body(request, services), NEW_MEMBERS)
        scheme = text(given, "scheme", required=True)
        if scheme not in SCHEMES:
            raise BadRequestData(f"'scheme' must be oscore or dtls-psk, got '{str(scheme)[:40]}'.")
        overlap = given.get("othersEndInSeconds")
        if overlap is not None and (
            not isinstance(overlap, int) or isinstance(overlap, bool) or not 0 <= overlap <= LONGEST_OVERLAP_SECONDS
        ):
            raise BadRequestData(f"'othersEndInSeconds' must be whole seconds, from 0 to {LONGEST_OVERLAP_SECONDS}.")
        key_id, now = services.clock.new_id(), services.clock.now()
        parts = _oscore(given) if scheme == "oscore" else _psk(given, device)
        key = DeviceKey(
            device=device,
            scheme=cast("Scheme", scheme),
            identity=parts["identity"],
            sealed=sealer.seal(parts["secret"], about(key_id, device)),
            context=parts.get("context"),
            ours=parts.get("ours", ""),
            salt=parts.get("salt", ""),
            created_at=now,
            by=(text(given, "by") or "")[:200],
            note=(text(given, "note") or "")[:500],
        )
        await writer.execute(AddKey(key_id, key, overlap, fresh=scheme == "oscore" and "oscore" not in given))
        await services.keys_changed(device)
        path = f"/api/v1/devices/{device}/keys/{key_id}"
        made = answer(shown(key_id, key, now, parts["secret"]), 201)
        made.headers["Location"] = path
        made.headers["Cache-Control"] = "no-store"
        return made

    async def revoke_key(request: web.Request) -> web.Response:
        """Revoke a key. At once and for ever: open connections that it proved are refused, its secret is forgotten."""
        device = device_id(request)
        await writer.execute(RevokeKey(device, request.match_info["key"]))
        await services.keys_changed(device)
        return web.Response(status=204)

    return [
        Route("GET", ALL, list_keys, answers={200: "DeviceKey[]"}),
        Route("POST", ALL, add_key, body="NewDeviceKey", answers={201: "DeviceKey", 409: ""}),
        Route("DELETE", ONE, revoke_key, answers={204: ""}),
    ]


def device_id(request: web.Request) -> str:
    """The device in the path. Raises BadRequestData."""
    device = request.match_info["device"].lower()
    if _DEVICE.fullmatch(device) is None:
        raise BadRequestData(
            "A device that has keys must be called by 1 to 64 letters, digits and ._:-, starting with one of the first two."
        )
    return device


def _oscore(given: Mapping[str, Any]) -> dict[str, Any]:
    if "psk" in given:
        raise BadRequestData("'psk' goes with the scheme dtls-psk.")
    own = _part(given, "oscore", ("masterSecret", "masterSalt", "senderId", "recipientId", "idContext"))
    if not own:
        return {
            "secret": secrets.token_bytes(SECRET_BYTES),
            "salt": secrets.token_hex(8),
            "identity": secrets.token_hex(SENDER_ID_BYTES),
            "ours": "00",
        }
    identity = _hex(own, "senderId", 0, LONGEST_ID_BYTES, required=True)
    ours = _hex(own, "recipientId", 0, LONGEST_ID_BYTES, required=True)
    if identity == ours:
        raise BadRequestData("'senderId' and 'recipientId' must differ: each names one end.")
    return {
        "secret": bytes.fromhex(_hex(own, "masterSecret", SECRET_BYTES, 64, required=True) or ""),
        "salt": _hex(own, "masterSalt", 0, 64) or "",
        "identity": identity,
        "ours": ours,
        "context": _hex(own, "idContext", 0, 64),
    }


def _psk(given: Mapping[str, Any], device: str) -> dict[str, Any]:
    if "oscore" in given:
        raise BadRequestData("'oscore' goes with the scheme oscore.")
    own = _part(given, "psk", ("identity", "key"))
    identity = own.get("identity")
    if identity is not None and (not isinstance(identity, str) or _IDENTITY.fullmatch(identity) is None):
        raise BadRequestData("'psk.identity' must be 1 to 128 printable ASCII characters without spaces.")
    key = _hex(own, "key", SECRET_BYTES, 64)
    return {
        "identity": identity or f"{device}.{secrets.token_hex(3)}",
        "secret": bytes.fromhex(key) if key is not None else secrets.token_bytes(SECRET_BYTES),
    }


def _part(given: Mapping[str, Any], name: str, known: tuple[str, ...]) -> dict[str, Any]:
    part = given.get(name, {})
    if not isinstance(part, dict):
        raise BadRequestData(f"'{name}' must be an object.")
    return members(part, known)


def _hex(of: Mapping[str, Any], name: str, least: int, most: int, *, required: bool = False) -> str | None:
    value = of.get(name)
    if value is None and not required:
        return None
    try:
        raw = bytes.fromhex(value) if isinstance(value, str) and not re.search(r"\s", value) else None
    except ValueError:
        raw = None
    if raw is None or not least <= len(raw) <= most:
        raise BadRequestData(f"'{name}' must be {least} to {most} bytes in hexadecimal.")
    return raw.hex()


def shown(key_id: str, key: DeviceKey, now: Micros, secret: bytes | None = None) -> dict[str, Any]:
    """A key as people see it; with its secret only where that is given."""
    document: dict[str, Any] = {
        "id": key_id,
        "device": key.device,
        "scheme": key.scheme,
        "inForce": key.holds(now),
        "createdAt": iso(key.created_at),
        "endsAt": iso(key.ends_at) if key.ends_at is not None else None,
        "revokedAt": iso(key.revoked_at) if key.revoked_at is not None else None,
        "by": key.by,
        "note": key.note,
    }
    if key.scheme == "oscore":
        document["oscore"] = {
            "senderId": key.identity,
            "recipientId": key.ours,
            "idContext": key.context,
            "masterSalt": key.salt,
            "algorithm": "AES-CCM-16-64-128",
            "hkdf": "HMAC SHA-256",
            "replayWindow": 32,
            **({"masterSecret": secret.hex()} if secret is not None else {}),
        }
    else:
        document["psk"] = {"identity": key.identity, **({"key": secret.hex()} if secret is not None else {})}
    return document
