"""Block-wise requests put together within bounds (RFC 7959); aiocoap's own assembly has none."""

from __future__ import annotations

from aiocoap import Code, Message
from aiocoap.blockwise import Block1Spool, _extract_block_key
from aiocoap.error import ConstructionRenderableError

from adapters.coap.answers import too_large

ASSEMBLIES = 200
"""Transfers under way at once, count: 50 MB at the default limits.uplink_bytes. Each is forgotten between one and two
MAX_TRANSMIT_WAIT (93 s) after its last block."""


class _TooLarge(ConstructionRenderableError):  # type: ignore[misc]  # aiocoap has no types
    code = Code.REQUEST_ENTITY_TOO_LARGE

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def to_message(self) -> Message:
        """The answer."""
        return too_large(self.limit)


class _TooMany(ConstructionRenderableError):  # type: ignore[misc]  # aiocoap has no types
    code = Code.SERVICE_UNAVAILABLE

    def to_message(self) -> Message:
        """The answer."""
        return Message(code=self.code, max_age=10, payload=b"Too many block-wise transfers are under way.")


class BoundedSpool(Block1Spool):  # type: ignore[misc]  # aiocoap has no types
    """Refuses a transfer that says or shows that it exceeds `limit` bytes, or that would be one too many."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def feed_and_take(self, req: Message) -> Message:
        """The whole request once its last block is there; raises what the block is answered with until then."""
        block = req.opt.block1
        if block is None:
            return req
        if max(req.opt.size1 or 0, block.start + len(req.payload)) > self._limit:
            raise _TooLarge(self._limit)
        if block.block_number == 0 and len(self._assemblies._items) >= ASSEMBLIES:
            raise _TooMany
        whole = super().feed_and_take(req)
        # aiocoap would keep it until the timeout.
        self._assemblies._items.pop(_extract_block_key(req), None)
        return whole
