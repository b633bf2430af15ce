"""One suite, every store: each test runs on SQLite and on MongoDB (`-k sqlite`, `-k mongo` for one of them)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from broker.stores.base import Store, TenantStore
from tests.support.mongo import mongo_uri, mongo_url
from tests.support.stores import make_store

__all__ = ["mongo_uri", "mongo_url"]


@pytest.fixture(params=["sqlite", "mongo"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store of its own."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/knutpunkt.db"
    url: str = request.getfixturevalue("mongo_url")
    return url


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    made = make_store(url)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def tenant(store: Store) -> TenantStore:
    """The default tenant of an empty store."""
    return await store.tenant()


@pytest.fixture
async def reopened(url: str, store: Store) -> AsyncIterator[Callable[[], Awaitable[TenantStore]]]:
    """Closes the store and opens it again, as a restart does."""
    opened: list[Store] = []

    async def reopen() -> TenantStore:
        for before in [store, *opened]:
            await before.close()
        opened.append(make_store(url))
        await opened[-1].open()
        return await opened[-1].tenant()

    yield reopen
    for made in opened:
        await made.close()
