"""NGSI-LD subscriptions over real HTTP: the documents (delivery has its own tests)."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from broker.jsonld.core import CORE_URL
from tests.support.api import LD, Api, city_contexts, link, running_broker

SUBSCRIPTION = {
    "type": "Subscription",
    "entities": [{"type": "Room"}],
    "watchedAttributes": ["temperature"],
    "q": "temperature>25",
    "notification": {"endpoint": {"uri": "http://127.0.0.1:9/notify", "accept": "application/json"}},
}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running_broker(tmp_path) as api:
        yield api


@pytest.fixture
async def contexts() -> AsyncIterator[TestServer]:
    server = city_contexts()
    await server.start_server()
    yield server
    await server.close()


async def test_a_subscription_lives(api: Api) -> None:
    created = await api.ask("POST", "/subscriptions", SUBSCRIPTION, status=201)
    where = created.headers["Location"].removeprefix("/ngsi-ld/v1")
    identity = where.rpartition("/")[2]
    read = (await api.ask("GET", where, status=200)).json()
    assert read["id"] == identity and read["status"] == "active" and "isActive" not in read
    assert {name: read[name] for name in ("entities", "watchedAttributes", "q")} == {
        name: SUBSCRIPTION[name] for name in ("entities", "watchedAttributes", "q")
    }
    assert "createdAt" not in read
    assert "createdAt" in (await api.ask("GET", f"{where}?options=sysAttrs", status=200)).json()

    await api.ask("PATCH", where, {"isActive": False, "q": "urn:ngsi-ld:null"}, status=204)
    changed = (await api.ask("GET", where, status=200)).json()
    assert changed["status"] == "paused" and "q" not in changed

    await api.ask("DELETE", where, status=204)
    for method, document in (("GET", None), ("DELETE", None), ("PATCH", {"isActive": True})):
        await api.problem(404, "ResourceNotFound", method, where, document)


async def test_subscriptions_are_listed_in_pages(api: Api) -> None:
    for number in range(3):
        await api.ask("POST", "/subscriptions", {**SUBSCRIPTION, "id": f"urn:sub:{number}"}, status=201)
    await api.problem(409, "AlreadyExists", "POST", "/subscriptions", {**SUBSCRIPTION, "id": "urn:sub:1"})
    page = await api.ask("GET", "/subscriptions?limit=2&count=true", status=200)
    assert [subscription["id"] for subscription in page.json()] == ["urn:sub:0", "urn:sub:1"]
    assert page.headers["NGSILD-Results-Count"] == "3"
    assert any("offset=2" in value and 'rel="next"' in value for value in page.headers.getall("Link"))
    last = await api.ask("GET", "/subscriptions?limit=2&offset=2", status=200, Accept=LD)
    assert [subscription["@context"] for subscription in last.json()] == [CORE_URL]


@pytest.mark.parametrize(
    "change",
    [
        {"type": "Registration"},
        {"id": "no uri"},
        {"entities": []},
        {"entities": [{"id": "urn:x"}]},
        {"q": "temperature>"},
        {"notification": {}},
        {"notification": {"endpoint": {"uri": "nowhere"}}},
        {"expiresAt": "2001-01-01T00:00:00Z"},
        {"surprise": 1},
    ],
)
async def test_a_subscription_that_breaks_a_rule_is_refused(api: Api, change: dict[str, Any]) -> None:
    await api.problem(400, "BadRequestData", "POST", "/subscriptions", {**SUBSCRIPTION, **change})
    assert (await api.ask("GET", "/subscriptions", status=200)).json() == []


async def test_a_subscription_is_read_in_the_readers_names(api: Api, contexts: TestServer) -> None:
    city = str(contexts.make_url("/city.jsonld"))
    document = {**SUBSCRIPTION, "id": "urn:sub:1", "watchedAttributes": ["warmth"], "@context": city}
    await api.ask("POST", "/subscriptions", document, status=201, Content_Type=LD)
    own = (await api.ask("GET", "/subscriptions/urn:sub:1", status=200, Link=link(city))).json()
    assert own["watchedAttributes"] == ["warmth"] and own["entities"] == [{"type": "Room"}]
    full = (await api.ask("GET", "/subscriptions/urn:sub:1", status=200)).json()
    assert full["watchedAttributes"] == ["https://city.example/temperature"]
