"""From a URL to a store."""

from __future__ import annotations

from pathlib import Path

from broker.clock import Clock
from broker.config import InvalidSetting, StoreSettings
from broker.stores.base import Store


def create_store(settings: StoreSettings, clock: Clock) -> Store:
    """The store that `settings.url` names, not opened yet.

    `sqlite:///PATH` (a relative path; `sqlite:////PATH` an absolute one) or `mongodb://…`, `mongodb+srv://…`. Only the
    driver that is needed is imported. Raises InvalidSetting.
    """
    url = settings.url
    if url.startswith("sqlite:///") and len(url) > len("sqlite:///"):
        from broker.stores.sqlite.store import SqliteStore

        return SqliteStore(Path(url.removeprefix("sqlite:///")), settings)
    if url.startswith(("mongodb://", "mongodb+srv://")):
        from broker.stores.mongo.store import MongoStore

        return MongoStore(url, settings, clock)
    scheme = url.partition("://")[0]
    raise InvalidSetting(f"store.url must be sqlite:///PATH or mongodb://…, got a URL that begins with '{scheme}'.")
