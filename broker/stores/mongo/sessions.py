"""The session a tenant's commits run in, registered so that others can end it when this process dies in the middle.

MongoDB keeps a dead client's transaction, and the locks of what it wrote, for transactionLifetimeLimitSeconds (60). So
every process registers its session; who meets a conflict ends the sessions of processes that are gone: those of this
host whose process does not exist any more, and those that were not renewed for ABANDONED_SECONDS. Ending one that lives
after all costs its process one commit, which it tries again in a new session.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any, Final

from bson.binary import Binary
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from broker.clock import SECOND, Clock, Micros

Document = dict[str, Any]

ABANDONED_SECONDS: Final = 10.0
"""Not renewed for so long: its process is taken for dead. Commits take milliseconds; they are cut off at 30 s."""
RENEW_SECONDS: Final = 3.0
SWEEP_SECONDS: Final = 0.5
"""At most so often, however many conflicts there are."""


class CommitSession:
    """One session at a time, for one tenant's commits, which run one after the other."""

    def __init__(self, client: AsyncMongoClient[Document], database: AsyncDatabase[Document], clock: Clock) -> None:
        self._client = client
        self._known = database["sessions"]
        self._clock = clock
        self._session: AsyncClientSession | None = None
        self._renewed: Micros = 0
        self._swept = 0.0

    async def use(self) -> AsyncClientSession:
        """The session, registered and freshly renewed."""
        now = self._clock.now()
        if self._session is None:
            self._session = self._client.start_session()
            self._renewed = 0
        if now - self._renewed > RENEW_SECONDS * SECOND:
            await self._known.replace_one(
                {"_id": Binary(self._session.session_id["id"], 4)},
                {"host": socket.gethostname(), "process": os.getpid(), "renewed": now},
                upsert=True,
            )
            self._renewed = now
        return self._session

    async def drop(self) -> None:
        """Never use the session again: its transaction failed, or was ended by another process."""
        session, self._session = self._session, None
        if session is not None:
            number = Binary(session.session_id["id"], 4)
            await session.end_session()
            await self._known.delete_one({"_id": number})

    async def sweep(self) -> None:
        """End the sessions of processes that are gone, if that was not just done."""
        now = asyncio.get_running_loop().time()
        if now - self._swept < SWEEP_SECONDS:
            return
        self._swept = now
        gone = [each["_id"] async for each in self._known.find() if self._is_gone(each)]
        if gone:
            await self._client.admin.command("killSessions", [{"id": number} for number in gone])
            await self._known.delete_many({"_id": {"$in": gone}})

    def _is_gone(self, registered: Document) -> bool:
        own = self._session.session_id["id"] if self._session is not None else b""
        if bytes(registered["_id"]) == bytes(own):
            return False
        if registered["renewed"] < self._clock.now() - ABANDONED_SECONDS * SECOND:
            return True
        if registered["host"] != socket.gethostname():
            return False
        # A restarted container has the name and the process number of the one before: that one is gone.
        return registered["process"] == os.getpid() or not _lives(registered["process"])


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
