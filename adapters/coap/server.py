"""CoAP intake over UDP (RFC 7252, aiocoap): `POST /up/{device}` -> the intake, answered after the commit.

Content-Format 110 (SenML JSON), 112 (SenML CBOR), 42 or none (the device's own bytes). Answers:

| code | when |
| --- | --- |
| 2.04 | it is durable: applied, a duplicate, or in quarantine because no device with this id is registered yet |
| 4.00 | it could not be understood, and is kept with the reason that the payload tells |
| 4.13 | it is longer than limits.uplink_bytes, which Size1 tells; not kept |
| 4.15 | another Content-Format |
| 5.03 | the writer is behind or the store is away; Max-Age tells when to send again |

A command that waits for the device (`docs/actuation.md`) is the payload of the 2.04, as bytes (Content-Format 42), with an ETag of
8 bytes that names it. The device acknowledges it by the query `ack=` and that ETag in hexadecimal on its next request, whose
payload may be empty then. Until that it gets the command again with each answer, unless the command asks for no acknowledgement.

A device that is not registered is told 2.04: its message is kept and replayed when it is claimed, so sending it again
would only cost its battery.

aiocoap remembers every request for EXCHANGE_LIFETIME (247 s) to answer retransmissions: 1.8–3 KB each, so 100 requests/s
cost some 60 MB.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import Any

import structlog
from aiocoap import Code, Context, Message, resource
from aiocoap.error import NotFound
from msgspec.structs import replace

from adapters.coap import senml
from adapters.coap.assembly import BoundedSpool, too_large
from adapters.members import NotUnderstood, shown
from adapters.times import distrust
from broker import metrics
from broker.clock import SECOND, Clock, Micros
from broker.config import Coap, Limits
from broker.errors import BrokerError, Overloaded
from broker.pipeline.intake import DownlinkEvent, Intake, Outlet, Receipt, SensedValue, Uplink, tag_of

SOURCE = "coap"
SENML_JSON, SENML_CBOR, OCTETS = 110, 112, 42
FORMATS = (SENML_JSON, SENML_CBOR, OCTETS)
EXCHANGE_LIFETIME: Micros = 247 * SECOND
"""How long a message id identifies a message of one endpoint (RFC 7252, 4.8.2)."""
DIAGNOSTIC_BYTES = 400
"""A diagnostic payload is for people and must fit one datagram (RFC 7252, 5.5.2)."""
_TAG = re.compile(r"[0-9A-Fa-f]{16}")
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}")

_log = structlog.get_logger()


class CoapIntake:
    """The CoAP server of `settings`; `enabled` is the caller's to look at."""

    def __init__(
        self, settings: Coap, intake: Intake, clock: Clock, limits: Limits, outlet: Outlet | None = None
    ) -> None:
        """`outlet`: where the devices' commands are; without it there are none."""
        self._settings = settings
        self._site = resource.Site()
        self._site.add_resource(
            [".well-known", "core"], resource.WKCResource(self._site.get_resources_as_linkheader, impl_info=None)
        )
        self._site.add_resource(["up"], _Uplinks(intake, clock, limits, outlet))
        self.ready = asyncio.Event()
        """Set while requests are taken."""

    async def run(self) -> None:
        """Serve until cancelled. Raises OSError when the address cannot be bound."""
        where = f"{self._settings.host}:{self._settings.port}"
        context = await Context.create_server_context(
            self._site, bind=(self._settings.host, self._settings.port), transports=["udp6"]
        )
        connected = metrics.connected.labels("coap", where)
        try:
            connected.set(1)
            self.ready.set()
            _log.info("coap.listens", address=where)
            await asyncio.get_running_loop().create_future()
        finally:
            connected.set(0)
            self.ready.clear()
            await context.shutdown()


class _Uplinks(resource.Resource, resource.PathCapable):  # type: ignore[misc]  # aiocoap has no types
    """`/up/{device}`."""

    def __init__(self, intake: Intake, clock: Clock, limits: Limits, outlet: Outlet | None) -> None:
        super().__init__()
        self._block1 = BoundedSpool(limits.uplink_bytes)
        self._intake = intake
        self._outlet = outlet
        self._clock = clock
        self._limits = limits

    def get_resources_as_linkheader(self) -> resource.LinkFormat:
        """The entry in /.well-known/core (RFC 6690)."""
        link = resource.Link("", rt="knutpunkt.uplink", ct=" ".join(map(str, FORMATS)))
        return resource.LinkFormat([link])

    async def render_post(self, request: Message) -> Message:
        """Take one uplink."""
        if len(request.opt.uri_path) != 1:
            raise NotFound
        format_ = request.opt.content_format
        if format_ is not None and format_ not in FORMATS:
            return _answer(
                Code.UNSUPPORTED_CONTENT_FORMAT,
                f"Content-Format must be {SENML_JSON}, {SENML_CBOR}, {OCTETS} or none, got {int(format_)}.",
            )
        if len(request.payload) > self._limits.uplink_bytes:
            return too_large(self._limits.uplink_bytes)
        try:
            receipt = await self._take(request)
            if receipt.outcome == "rejected":
                return _answer(Code.BAD_REQUEST, receipt.reason)
            return await self._changed(request.opt.uri_path[0].lower())
        except Overloaded as error:
            answer = _answer(Code.SERVICE_UNAVAILABLE, error.detail)
            answer.opt.max_age = error.retry_after
            return answer
        except BrokerError as error:
            return _answer(Code.INTERNAL_SERVER_ERROR, error.detail)

    async def _take(self, request: Message) -> Receipt:
        device = request.opt.uri_path[0]
        format_ = None if request.opt.content_format is None else int(request.opt.content_format)
        exchange = b"" if request.opt.block1 else request.token + request.mid.to_bytes(2, "big")
        meta = {
            "path": f"/up/{device}",
            "content_format": format_,
            "exchange": exchange.hex(),
            "from": request.remote.hostinfo,
        }
        acknowledged = [query[4:] for query in request.opt.uri_query if query.startswith("ack=")]
        if acknowledged:
            meta["ack"] = acknowledged[0]
        try:
            uplink = read(
                device,
                request.payload,
                format_,
                exchange=exchange,
                received_at=self._clock.now(),
                limits=self._limits,
                acknowledged=acknowledged[0] if acknowledged else "",
            )
        except NotUnderstood as error:
            receipt = await self._intake.reject(
                source=SOURCE, raw=request.payload, reason=str(error), meta=meta, wait=False
            )
            receipt = replace(receipt, outcome="rejected", reason=receipt.reason or str(error))
        else:
            uplink.meta.update(meta)
            receipt = await self._intake.submit(uplink, wait=False)
        return receipt

    async def _changed(self, device_id: str) -> Message:
        """2.04, with the command that waits for the device."""
        downlink = await self._outlet.fetch(device_id) if self._outlet is not None else None
        if downlink is None:
            return Message(code=Code.CHANGED)
        answer = Message(code=Code.CHANGED, payload=downlink.payload, content_format=OCTETS)
        answer.opt.etag = bytes.fromhex(tag_of(downlink.id))
        return answer


def read(
    device: str,
    payload: bytes,
    content_format: int | None,
    *,
    exchange: bytes,
    received_at: Micros,
    limits: Limits,
    acknowledged: str = "",
) -> Uplink:
    """The uplink of a request. Pure. Raises NotUnderstood.

    `acknowledged` is the tag of a command that the device has got, 16 hexadecimal digits; with an empty payload that is all
    it says.

    `exchange` is the request's token and message id. A retransmission after a restart of ours has the same, and the same
    payload; the same payload hours later is a new observation. So the frame key is of all three and the EXCHANGE_LIFETIME
    it arrived in, and the lifetime before goes into `earlier_frame_keys`. A block-wise transfer is sent again with new
    tokens and ids; pass b'' for it, and the payload alone tells (long enough not to repeat by chance in minutes).
    """
    if _DEVICE.fullmatch(device) is None:
        raise NotUnderstood(
            f"The device in the path must be 1 to 64 letters, digits and ._:- and start with one of the first two,"
            f" got {shown(device)}."
        )
    device_id = device.lower()
    if acknowledged and _TAG.fullmatch(acknowledged) is None:
        raise NotUnderstood(f"'ack' must be the ETag of a command, 16 hexadecimal digits, got {shown(acknowledged)}.")
    only_acknowledges = bool(acknowledged) and not payload
    meta: dict[str, Any] = {}
    values: list[SensedValue] = []
    if only_acknowledges:
        pass
    elif content_format == SENML_JSON:
        values = senml.read_json(payload, received_at=received_at, limits=limits)
    elif content_format == SENML_CBOR:
        values = senml.read_cbor(payload, received_at=received_at, limits=limits)
    named = tuple(_own(value, device_id, received_at, limits, meta) for value in values)
    digest = hashlib.sha256(exchange + b"/" + acknowledged.encode() + payload).hexdigest()[:32]
    bucket = received_at // EXCHANGE_LIFETIME
    return Uplink(
        source=SOURCE,
        kind="ack" if only_acknowledges else "up",
        device_id=device_id,
        received_at=received_at,
        observed_at=received_at,
        raw=payload,
        frame_key=f"coap:{device_id}:{digest}:{bucket}",
        earlier_frame_keys=(f"coap:{device_id}:{digest}:{bucket - 1}",),
        payload=None if named or only_acknowledges else payload,
        values=named,
        downlink=DownlinkEvent(acknowledged.lower(), "acknowledged") if acknowledged else None,
        meta=meta,
    )


def _own(value: SensedValue, device_id: str, received_at: Micros, limits: Limits, meta: dict[str, Any]) -> SensedValue:
    """`value` by the name it has on any device of its model, and with a time only where that can be true.

    Packs name globally ('urn:dev:imei:350457790000001:volume', RFC 8428, 4.5.1); what follows the device's id is its own.
    """
    start = value.name.lower().rfind(device_id)
    own = value.name[start + len(device_id) :].lstrip(":/._-") if start >= 0 else value.name
    reason = distrust(value.at, received_at, limits) if value.at is not None else ""
    if reason:
        meta["time"] = f"{own}: {reason}; taken as observed when received"
    return replace(value, name=own or value.name, at=None if reason else value.at)


def _answer(code: Code, text: str) -> Message:
    return Message(code=code, payload=text.encode()[:DIAGNOSTIC_BYTES].decode(errors="ignore").encode())
