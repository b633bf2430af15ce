"""A writer on an embedded store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from broker.clock import Clock
from broker.config import StoreSettings
from broker.config import Writer as WriterSettings
from broker.pipeline.personal import PersonalData
from broker.pipeline.writer import Writer
from broker.stores.base import OutboxRow, TenantStore
from broker.stores.open import create_store
from broker.subscriptions.index import SubscriptionIndex

MakeWriter = Callable[..., AbstractAsyncContextManager[Writer]]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[TenantStore]:
    made = create_store(StoreSettings(url=f"sqlite:///{tmp_path / 'writer.db'}"), Clock())
    await made.open()
    try:
        yield await made.tenant()
    finally:
        await made.close()


@pytest.fixture
def told() -> list[OutboxRow]:
    """What the writer handed to delivery."""
    return []


@pytest.fixture
def running(told: list[OutboxRow]) -> MakeWriter:
    """Runs a writer on a store."""

    @asynccontextmanager
    async def run(
        store: TenantStore, *, personal: PersonalData | None = None, **settings: Any
    ) -> AsyncIterator[Writer]:
        writer = Writer(store, Clock(), WriterSettings(**settings), SubscriptionIndex(), told.extend, personal=personal)
        async with asyncio.TaskGroup() as group:
            group.create_task(writer.run())
            try:
                yield writer
            finally:
                writer.close()

    return run
