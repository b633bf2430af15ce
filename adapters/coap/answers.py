"""What is answered, beside the resources' own, and what a request must be. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from aiocoap import Code, Message

from adapters.coap.reading import CBOR, FORMATS, SENML_CBOR, SENML_JSON, TEXT
from adapters.coap.refusal import Refused

DIAGNOSTIC_BYTES: Final = 400
"""A diagnostic payload is for people and must fit one datagram (RFC 7252, 5.5.2)."""
WHOLE_BYTES: Final = 1024
"""An answer that is longer is given in blocks (RFC 7959)."""
CORE: Final = (
    f'</up>;rt="knutpunkt.uplink";ct="{" ".join(map(str, FORMATS))}",</time>;rt="knutpunkt.time";ct="{TEXT} {CBOR}",'
    f'</rd>;rt="core.rd",</dp>;ct="{SENML_JSON} {SENML_CBOR}"'
).encode()
"""The answer to GET /.well-known/core (RFC 6690)."""


def answer(code: Code, text: str) -> Message:
    """An answer with a diagnostic payload."""
    return Message(code=code, payload=text.encode()[:DIAGNOSTIC_BYTES].decode(errors="ignore").encode())


def block_of(whole: Message, wanted: Any) -> Message:
    """The block that is asked for, or the first where the answer is long (RFC 7959, 2.4)."""
    if not whole.code.is_successful() or (wanted is None and len(whole.payload) <= WHOLE_BYTES):
        return whole
    number, size = (wanted.block_number, min(wanted.size_exponent, 6)) if wanted is not None else (0, 6)
    if number and number << size + 4 >= len(whole.payload):
        return answer(
            Code.BAD_REQUEST, f"Block2: there is no block {number}, the answer has {len(whole.payload)} bytes."
        )
    block: Message = whole._extract_block(number, size, WHOLE_BYTES)
    return block


def only(request: Message, code: Code) -> None:
    """Raises Refused for another method."""
    if request.code != code:
        raise Refused(Code.METHOD_NOT_ALLOWED, f"Only {code.name} is for this resource.")


def format_of(request: Message, taken: Sequence[int]) -> int | None:
    """The request's Content-Format, None without one. Raises Refused for one that is not taken."""
    format_ = request.opt.content_format
    if format_ is None:
        return None
    if int(format_) not in taken:
        listed = ", ".join(map(str, taken))
        raise Refused(
            Code.UNSUPPORTED_CONTENT_FORMAT, f"Content-Format must be one of {listed} or none, got {int(format_)}."
        )
    return int(format_)


def too_large(limit: int) -> Message:
    """4.13 with Size1, the most that is taken (RFC 7959, 2.9.3)."""
    return Message(
        code=Code.REQUEST_ENTITY_TOO_LARGE, size1=limit, payload=f"At most {limit} bytes are taken.".encode()
    )
