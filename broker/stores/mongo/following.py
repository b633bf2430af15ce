"""Hears of what other processes write to the registries of all tenants, by a change stream on the epochs.

One stream serves all databases: it holds one connection, however many tenants there are. Where the server has no change
streams, or does not let us watch them all, the epochs are read twice a second instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import structlog
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from broker.errors import StoreUnavailable
from broker.stores.base import RecordKind
from broker.stores.mongo.documents import Document

log = structlog.get_logger(__name__)

IDLE_SECONDS: Final = 0.5
"""How long the server waits for something to tell, before it says that there was nothing."""
POLL_SECONDS: Final = 0.5
RETRY_SECONDS: Final = 0.5
ANSWER_SECONDS: Final = 5.0
"""A server that says neither is not there: the driver would wait for a minute."""

_NO_STREAMS: Final = frozenset({13, 59, 40324, 40573, 8000})
"""Unauthorized, CommandNotFound, no such stage, only on replica sets, not on this offering (Atlas' shared tiers)."""
_PIPELINE: Final[list[Mapping[str, Any]]] = [{"$match": {"ns.coll": "epochs"}}, {"$project": {"ns": 1}}]

Epochs = Callable[[], Awaitable[dict[RecordKind, int]]]


async def follow(
    client: AsyncMongoClient[Document],
    databases: Callable[[], Mapping[str, tuple[str, Epochs]]],
    moved: Callable[[str], None],
    alive: Callable[[], None],
) -> None:
    """See Store.follow. `databases`: database -> (tenant, how to read its epochs). Runs until cancelled."""
    streams = True
    while True:
        try:
            if streams:
                await _stream(client, databases, moved, alive)
            else:
                await _poll(databases, moved, alive)
        except OperationFailure as error:
            if streams and error.code in _NO_STREAMS:
                log.warning("following.polls", reason=error.details and error.details.get("errmsg"))
                streams = False
                continue
            log.warning("following.interrupted", reason=repr(error))
        except (PyMongoError, StoreUnavailable, TimeoutError) as error:
            log.warning("following.interrupted", reason=repr(error))
        await asyncio.sleep(RETRY_SECONDS)


async def _stream(
    client: AsyncMongoClient[Document],
    databases: Callable[[], Mapping[str, tuple[str, Epochs]]],
    moved: Callable[[str], None],
    alive: Callable[[], None],
) -> None:
    async with asyncio.timeout(ANSWER_SECONDS):
        opening = await client.watch(_PIPELINE, max_await_time_ms=int(IDLE_SECONDS * 1000))
    async with opening as stream:
        # What was before the stream is not in it.
        for tenant, _ in databases().values():
            moved(tenant)
        while True:
            async with asyncio.timeout(IDLE_SECONDS + ANSWER_SECONDS):
                change = await stream.try_next()
            alive()
            if change is not None:
                known = databases().get(change["ns"]["db"])
                if known is not None:
                    moved(known[0])


async def _poll(
    databases: Callable[[], Mapping[str, tuple[str, Epochs]]],
    moved: Callable[[str], None],
    alive: Callable[[], None],
) -> None:
    seen: dict[str, dict[RecordKind, int]] = {}
    while True:
        for tenant, epochs in databases().values():
            async with asyncio.timeout(ANSWER_SECONDS):
                now = await epochs()
            if seen.get(tenant) != now:
                moved(tenant)
            seen[tenant] = now
        alive()
        await asyncio.sleep(POLL_SECONDS)
