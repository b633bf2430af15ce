"""What has expired goes by itself, and is told (ETSI GS CIM 009 v1.9.1, 4.22); on both stores."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.config import StoreSettings
from tests.support.api import Api, running_broker
from tests.support.mongo import mongo_uri, mongo_url
from tests.support.receiver import receiving

__all__ = ["mongo_uri", "mongo_url"]

ALERT = "urn:ngsi-ld:Alert:1"


@pytest.fixture(params=["sqlite", "mongo"])
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    mongo = request.param == "mongo"
    url = request.getfixturevalue("mongo_url") if mongo else f"sqlite:///{tmp_path}/knutpunkt.db"
    async with running_broker(tmp_path, store=StoreSettings(url=url)) as api:
        yield api


def moment(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def alert(**members: Any) -> dict[str, Any]:
    return {"id": ALERT, "type": "Alert", "severity": {"type": "Property", "value": "high"}, **members}


async def removed(api: Api) -> None:
    """Returns when the store has nothing that expires any more."""
    store = api.running.parts.tenants.default.store
    async with asyncio.timeout(20):
        while await store.expiring(1 << 62, 1):
            await asyncio.sleep(0.05)


async def test_an_expired_entity_is_not_there_and_can_be_created_again(api: Api) -> None:
    await api.ask("POST", "/entities", alert(expiresAt=moment(-60)), status=201)
    assert (await api.ask("GET", f"/entities/{ALERT}")).status == 404
    assert (await api.ask("GET", "/entities?type=Alert", status=200)).json() == []
    assert (await api.ask("DELETE", f"/entities/{ALERT}")).status == 404
    fragment = {"severity": {"type": "Property", "value": "low"}}
    assert (await api.ask("PATCH", f"/entities/{ALERT}/attrs", fragment)).status == 404
    await api.ask("POST", "/entities", alert(severity={"type": "Property", "value": "low"}), status=201)
    shown = (await api.ask("GET", f"/entities/{ALERT}?format=simplified", status=200)).json()
    assert shown["severity"] == "low"


async def test_what_expires_is_removed_and_subscribers_are_told(api: Api) -> None:
    async with receiving() as receiver:
        subscription = {
            "type": "Subscription",
            "entities": [{"type": "Alert"}],
            "notificationTrigger": ["entityDeleted"],
            "notification": {"endpoint": {"uri": receiver.url(), "accept": "application/json"}},
        }
        await api.ask("POST", "/subscriptions", subscription, status=201)
        await api.ask("POST", "/entities", alert(expiresAt=moment(0.3)), status=201)
        await removed(api)
        (told,) = await receiver.wait_for(1)
        assert told.data[0]["id"] == ALERT
    store = api.running.parts.tenants.default.store
    assert await store.entity(ALERT) is None
    rows = await store.history(ALERT)
    assert [row.instance is None for row in rows] == [False, True]


async def test_an_expired_instance_is_not_shown_and_goes_alone(api: Api) -> None:
    note = {"type": "Property", "value": "call the plumber", "expiresAt": moment(-1)}
    await api.ask("POST", "/entities", alert(note=note), status=201)
    for path in (f"/entities/{ALERT}", "/entities?type=Alert"):
        found = (await api.ask("GET", path, status=200)).json()
        entity = found[0] if isinstance(found, list) else found
        assert "note" not in entity and "severity" in entity
    await removed(api)
    stored = await api.running.parts.tenants.default.store.entity(ALERT)
    assert stored is not None and len(stored.entity["attrs"]) == 1


async def test_what_is_given_more_time_stays(api: Api) -> None:
    await api.ask("POST", "/entities", alert(expiresAt=moment(3600)), status=201)
    await api.ask("PATCH", f"/entities/{ALERT}", {"expiresAt": moment(7200)}, status=204)
    await api.ask("PATCH", f"/entities/{ALERT}", {"expiresAt": "urn:ngsi-ld:null"}, status=204)
    await removed(api)
    assert "expiresAt" not in (await api.ask("GET", f"/entities/{ALERT}", status=200)).json()
