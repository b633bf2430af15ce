"""What is served over CoAP, whatever carries it: the resources, who may use them, and what is answered.

| resource | |
| --- | --- |
| `POST /up`, `/up/{device}`, `/up/{device}/{LwM2M path}` | a message of measurements (`adapters/coap/reading.py`) |
| `POST /rd?ep=…`, `POST` and `DELETE /rd/{registration}` | LwM2M's registration (`adapters/coap/lwm2m.py`) |
| `POST /dp` | LwM2M's Send |
| `GET /time` | the time |
| `GET /.well-known/core` | these |

| code | when |
| --- | --- |
| 2.04 | it is durable: applied, a duplicate, or in quarantine because no device with this id is registered yet |
| 4.00 | it could not be understood, and is kept with the reason that the payload tells |
| 4.01 | a credential is asked for: the device has one, or unprotected messages are not taken |
| 4.03 | the credential is another device's |
| 4.13 | it is longer than limits.uplink_bytes, which Size1 tells; not kept |
| 4.15 | another Content-Format |
| 5.03 | the writer is behind or the store is away; Max-Age tells when to send again |

A command that waits for the device (`docs/actuation.md`) is the payload of the 2.04, as bytes (Content-Format 42), with an ETag of
8 bytes that names it. The device acknowledges it by the query `ack=` and that ETag in hexadecimal on its next request, whose
payload may be empty then. Until that it gets the command again with each answer, unless the command asks for no acknowledgement.
With Accept 60 the payload is a CBOR map instead: {"time": seconds since 1970, "command": bytes, "tag": bytes}.

A device that is not registered is told 2.04: its message is kept and replayed when it is claimed, so sending it again
would only cost its battery.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cbor2
from aiocoap import Code, Message
from aiocoap.error import RenderableError
from aiocoap.numbers import OptionNumber
from msgspec.structs import replace

from adapters.coap.answers import CORE, answer, block_of, format_of, only, too_large
from adapters.coap.assembly import BoundedSpool
from adapters.coap.lwm2m import Registry
from adapters.coap.oscore import Contexts, NotOpened, Opened
from adapters.coap.peer import exchange_of
from adapters.coap.reading import (
    CBOR,
    FORMATS,
    LINKS,
    OCTETS,
    SENML_CBOR,
    SENML_JSON,
    SOURCE,
    TEXT,
    base_of,
    device_of,
    read,
)
from adapters.coap.refusal import Refused
from adapters.coap.speakers import Speakers
from adapters.coap.tlv import Path
from adapters.members import NotUnderstood
from broker.clock import SECOND, Clock
from broker.config import Limits
from broker.errors import BrokerError, Overloaded
from broker.pipeline.intake import Intake, Outlet, Receipt, tag_of

_UNDERSTOOD = frozenset(
    (
        OptionNumber.IF_MATCH,
        OptionNumber.URI_HOST,
        OptionNumber.IF_NONE_MATCH,
        OptionNumber.URI_PORT,
        OptionNumber.URI_PATH,
        OptionNumber.URI_QUERY,
        OptionNumber.ACCEPT,
        OptionNumber.BLOCK1,
        OptionNumber.BLOCK2,
        OptionNumber.OSCORE,
    )
)
"""Critical options that are understood, or may be passed over on resources without versions."""


class Site:
    """The resources. `handle` is a `adapters.coap.messages.Handler`."""

    def __init__(
        self,
        intake: Intake,
        clock: Clock,
        limits: Limits,
        outlet: Outlet | None,
        speakers: Speakers,
        registry: Registry,
        contexts: Contexts | None,
    ) -> None:
        """`outlet`: where the devices' commands are; None: there are none. `contexts`: None: OSCORE is not served."""
        self._intake = intake
        self._clock = clock
        self._limits = limits
        self._outlet = outlet
        self._speakers = speakers
        self._spool = BoundedSpool(limits.uplink_bytes)
        self._registry = registry
        self._contexts = contexts

    async def handle(self, message: Message) -> Message:
        """The answer to a request."""
        if message.opt.oscore is None:
            return await self._served(message, None)
        if self._contexts is None:
            return answer(Code.BAD_OPTION, "OSCORE is not served here.")
        try:
            opened = await self._contexts.open(message)
        except NotOpened as refused:
            return refused.answer
        return opened.protect(await self._served(opened.request, opened))

    async def _served(self, request: Message, opened: Opened | None) -> Message:
        block = request.opt.block1
        try:
            self._speakers.admit(request.remote)
            for option in request.opt.option_list():
                if option.number % 2 and option.number not in _UNDERSTOOD:
                    raise Refused(Code.BAD_OPTION, f"The critical option {int(option.number)} is not known.")
            made = await self._routed(self._spool.feed_and_take(request), opened)
        except Refused as refused:
            made = answer(refused.code, refused.text)
        except RenderableError as error:
            made = error.to_message()
        except Overloaded as error:
            made = answer(Code.SERVICE_UNAVAILABLE, error.detail)
            made.opt.max_age = error.retry_after
        except BrokerError as error:
            made = answer(Code.INTERNAL_SERVER_ERROR, error.detail)
        if block is not None and made.opt.block1 is None and made.code.is_successful():
            made.opt.block1 = block
        return block_of(made, request.opt.block2) if request.code == Code.GET else made

    async def _routed(self, request: Message, opened: Opened | None) -> Message:
        first, *rest = request.opt.uri_path or ("",)
        if first == "up":
            only(request, Code.POST)
            return await self._uplink(request, rest, opened)
        if first == "dp" and not rest:
            only(request, Code.POST)
            return await self._sent(request, opened)
        if first == "rd" and len(rest) < 2:
            return await self._registry.serve(request, rest)
        if first == "time" and not rest:
            only(request, Code.GET)
            return self._time(request)
        if first == ".well-known" and rest == ["core"]:
            only(request, Code.GET)
            return Message(code=Code.CONTENT, payload=CORE, content_format=LINKS)
        raise Refused(Code.NOT_FOUND, "There is no such resource.")

    # --- messages -----------------------------------------------------------------------------------------------------

    async def _uplink(self, request: Message, rest: Sequence[str], opened: Opened | None) -> Message:
        format_ = format_of(request, FORMATS)
        try:
            named = device_of(rest[0]) if rest else ""
        except NotUnderstood as error:
            if self._speakers.proven(request.remote):
                raise Refused(Code.FORBIDDEN, "The path names no device.") from None
            return answer(Code.BAD_REQUEST, (await self._rejected(request, rest[0], format_, error)).reason)
        try:
            base = base_of(rest[1:])
        except NotUnderstood as error:
            raise Refused(Code.NOT_FOUND, str(error)) from None
        device = self._speakers.who(request.remote, named)
        if len(request.payload) > self._limits.uplink_bytes:
            return too_large(self._limits.uplink_bytes)
        receipt = await self._take(request, device, format_, base, opened)
        if receipt.outcome == "rejected":
            return answer(Code.BAD_REQUEST, receipt.reason)
        return await self._changed(request, device)

    async def _sent(self, request: Message, opened: Opened | None) -> Message:
        """LwM2M's Send (OMA LwM2M 1.1, 6.4.7)."""
        peer = request.remote
        device = self._speakers.who(peer, peer.device or self._registry.device_at(peer.key))
        if len(request.payload) > self._limits.uplink_bytes:
            return too_large(self._limits.uplink_bytes)
        receipt = await self._take(request, device, format_of(request, (SENML_JSON, SENML_CBOR)), (), opened)
        return answer(Code.BAD_REQUEST, receipt.reason) if receipt.outcome == "rejected" else Message(code=Code.CHANGED)

    async def _take(
        self, request: Message, device: str, format_: int | None, base: Path, opened: Opened | None
    ) -> Receipt:
        exchange, before = _exchange(request, opened)
        acknowledged = next((one[4:] for one in request.opt.uri_query if one.startswith("ack=")), "")
        meta = _meta(request, device, format_)
        meta["exchange"] = exchange.hex()
        if acknowledged:
            meta["ack"] = acknowledged
        if base:
            meta["base"] = list(base)
        try:
            uplink = read(
                device,
                request.payload,
                format_,
                exchange=exchange,
                received_at=self._clock.now(),
                limits=self._limits,
                acknowledged=acknowledged,
                base=base,
                unique=opened is not None and bool(exchange),
                attempt_before=before,
            )
        except NotUnderstood as error:
            return await self._rejected(request, device, format_, error)
        uplink.meta.update(meta)
        return await self._intake.submit(uplink, wait=False)

    async def _rejected(self, request: Message, device: str, format_: int | None, error: NotUnderstood) -> Receipt:
        meta = _meta(request, device, format_)
        kept = await self._intake.reject(source=SOURCE, raw=request.payload, reason=str(error), meta=meta, wait=False)
        return replace(kept, outcome="rejected", reason=kept.reason or str(error))

    # --- answers ------------------------------------------------------------------------------------------------------

    async def _changed(self, request: Message, device_id: str) -> Message:
        """2.04, with the command that waits for the device, and the time if it asks for CBOR."""
        downlink = await self._outlet.fetch(device_id) if self._outlet is not None else None
        tag = bytes.fromhex(tag_of(downlink.id)) if downlink is not None else b""
        made = Message(code=Code.CHANGED)
        if request.opt.accept is not None and int(request.opt.accept) == CBOR:
            told: dict[str, Any] = {"time": self._clock.now() // SECOND}
            if downlink is not None:
                told |= {"command": downlink.payload, "tag": tag}
            made.payload, made.opt.content_format = cbor2.dumps(told), CBOR
        elif downlink is not None:
            made.payload, made.opt.content_format = downlink.payload, OCTETS
        if downlink is not None:
            made.opt.etag = tag
        return made

    def _time(self, request: Message) -> Message:
        seconds = self._clock.now() // SECOND
        if request.opt.accept is not None and int(request.opt.accept) == CBOR:
            return Message(code=Code.CONTENT, payload=cbor2.dumps(seconds), content_format=CBOR, max_age=0)
        return Message(code=Code.CONTENT, payload=str(seconds).encode(), content_format=TEXT, max_age=0)


def _exchange(request: Message, opened: Opened | None) -> tuple[bytes, bytes]:
    """What names the request's exchange, and the one that it had before it was asked to prove that it is fresh."""
    if request.opt.block1 is not None:
        return b"", b""
    if opened is not None:
        key = request.remote.key_id.encode() + b":"
        before = key + str(opened.number - 1).encode() if opened.echoed else b""
        return key + str(opened.number).encode(), before
    return exchange_of(request), b""


def _meta(request: Message, device: str, format_: int | None) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "path": "/" + "/".join(request.opt.uri_path),
        "content_format": format_,
        "from": request.remote.hostinfo,
    }
    if request.remote.key_id:
        meta["key"] = request.remote.key_id
    return meta
