"""jsonldContexts over HTTP (ETSI GS CIM 009 v1.9.1, 5.13): a whole broker, its store, and a server of contexts."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from broker.clock import parse_iso
from broker.config import StoreSettings
from broker.jsonld.core import CORE_URL
from tests.support.api import FOREIGN, LD, Api, city_contexts, link, running_broker
from tests.support.receiver import receiving

HOSTED = {"@context": {"Room": "https://h.example/Room", "warmth": "https://h.example/warmth"}}
ROOM = {"id": "urn:x:1", "type": "Room", "warmth": {"type": "Property", "value": 21}}
ALL = "/jsonldContexts"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running_broker(tmp_path) as made:
        yield made


@pytest.fixture
async def contexts() -> AsyncIterator[TestServer]:
    server = city_contexts()
    async with server:
        yield server


async def host(api: Api, document: object = HOSTED, **headers: str) -> str:
    """The id of a new hosted @context."""
    answer = await api.ask("POST", ALL, document, status=201, **headers)
    assert answer.body == b""
    location: str = answer.headers["Location"]
    assert location.startswith("/ngsi-ld/v1/jsonldContexts/urn:uuid:")
    return location.rpartition("/")[2]


def escaped(url: str) -> str:
    return f"{ALL}/{quote(url, safe='')}"


async def test_a_hosted_context_is_served_as_it_was_given(api: Api) -> None:
    name = await host(api, {**HOSTED, "more": "is discarded"})
    served = await api.ask("GET", f"{ALL}/{name}", status=200)
    assert served.json() == HOSTED
    assert served.headers["Content-Type"] == "application/json"
    served = await api.ask("GET", escaped(name) + "?details=false", status=200, Accept=LD)
    assert served.json() == HOSTED
    assert served.headers["Content-Type"] == LD


async def test_details_are_those_the_standard_lists(api: Api) -> None:
    name = await host(api)
    details = (await api.ask("GET", f"{ALL}/{name}?details=true", status=200)).json()
    assert parse_iso(details.pop("createdAt")) is not None
    url = f"{api.url}/ngsi-ld/v1/jsonldContexts/{name}"
    assert details == {"URL": url, "localId": name, "kind": "Hosted", "numberOfHits": 0}
    await api.ask("GET", "/entities?type=Room", status=200, Link=link(url))
    details = (await api.ask("GET", f"{ALL}/{name}?details=true", status=200)).json()
    assert details["numberOfHits"] == 1
    assert parse_iso(details["lastUsage"]) is not None


async def test_a_hosted_context_serves_requests_by_its_url_its_path_and_any_host(api: Api) -> None:
    name = await host(api)
    path = f"/ngsi-ld/v1/jsonldContexts/{name}"
    # No such host exists: if this were fetched, it would fail.
    for number, url in enumerate([api.url + path, "https://broker.invalid" + path, path]):
        document = {**ROOM, "id": f"urn:x:{number}", "@context": [url]}
        await api.ask("POST", "/entities", document, status=201, Content_Type=LD)
        found = await api.ask("GET", f"/entities/urn:x:{number}?options=keyValues", status=200, Link=link(url))
        assert found.json()["warmth"] == 21
        assert url in found.headers["Link"]
    plain = (await api.ask("GET", "/entities/urn:x:0", status=200)).json()
    assert plain["type"] == "https://h.example/Room"


async def test_the_list_has_every_kind_and_filters_by_it(api: Api, contexts: TestServer) -> None:
    city = str(contexts.make_url("/city.jsonld"))
    name = await host(api)
    url = f"{api.url}/ngsi-ld/v1/jsonldContexts/{name}"
    await api.ask("GET", "/entities?type=Room", status=200, Link=link(city))
    assert set((await api.ask("GET", ALL, status=200)).json()) == {CORE_URL, city, url}
    assert (await api.ask("GET", f"{ALL}?kind=Hosted", status=200)).json() == [url]
    assert (await api.ask("GET", f"{ALL}?kind=Cached&details=false", status=200)).json() == [CORE_URL, city]
    assert (await api.ask("GET", f"{ALL}?kind=ImplicitlyCreated", status=200)).json() == []
    core, copy = (await api.ask("GET", f"{ALL}?kind=Cached&details=true", status=200)).json()
    assert core["URL"] == CORE_URL
    assert (copy["URL"], copy["kind"], copy["numberOfHits"]) == (city, "Cached", 1)
    created, expires = parse_iso(copy["createdAt"]), parse_iso(copy["expiresAt"])
    assert created is not None and expires is not None and created < expires


@pytest.mark.parametrize("query", ["kind=other", "kind=hosted", "details=yes", "details=true&kind=x"])
async def test_parameters_of_the_list_are_checked(api: Api, query: str) -> None:
    await api.problem(400, "BadRequestData", "GET", f"{ALL}?{query}")


async def test_what_is_no_context_is_not_hosted(api: Api) -> None:
    await api.problem(400, "InvalidRequest", "POST", ALL, {"Room": "https://h.example/Room"})
    await api.problem(400, "InvalidRequest", "POST", ALL, [HOSTED])
    await api.problem(400, "InvalidRequest", "POST", ALL, b'{"@context": ')
    for value in (42, True, None, "no url", [CORE_URL, 7], {"a": 5}, {"a": {"@id": "urn:a:b", "@context": {}}}):
        await api.problem(400, "BadRequestData", "POST", ALL, {"@context": value})
    assert (await api.ask("POST", ALL, HOSTED, Content_Type="text/plain")).status == 415
    assert (await api.ask("GET", ALL, status=200)).json() == [CORE_URL]


async def test_copies_are_not_served_but_described(api: Api, contexts: TestServer) -> None:
    city = str(contexts.make_url("/city.jsonld"))
    await api.ask("GET", "/entities?type=Room", status=200, Link=link(city))
    await api.problem(422, "OperationNotSupported", "GET", escaped(city))
    details = (await api.ask("GET", escaped(city) + "?details=true", status=200)).json()
    assert details["URL"] == city
    await api.problem(422, "OperationNotSupported", "GET", f"{ALL}/{details['localId']}")


async def test_what_is_not_there_is_not_found(api: Api) -> None:
    for wanted in ("nothing", "urn:uuid:00000000-0000-0000-0000-000000000000", quote("https://x.example/", safe="")):
        await api.problem(404, "ResourceNotFound", "GET", f"{ALL}/{wanted}")
        await api.problem(404, "ResourceNotFound", "GET", f"{ALL}/{wanted}?details=true")
        await api.problem(404, "ResourceNotFound", "DELETE", f"{ALL}/{wanted}")
        await api.problem(404, "ResourceNotFound", "DELETE", f"{ALL}/{wanted}?reload=true")
    await api.problem(400, "BadRequestData", "DELETE", f"{ALL}/nothing?reload=perhaps")
    await api.problem(400, "BadRequestData", "DELETE", f"{ALL}/")


async def test_a_deleted_context_is_gone(api: Api, contexts: TestServer) -> None:
    name = await host(api)
    url = f"{api.url}/ngsi-ld/v1/jsonldContexts/{name}"
    await api.ask("GET", "/entities?type=Room", status=200, Link=link(url))
    await api.problem(400, "BadRequestData", "DELETE", f"{ALL}/{name}?reload=true")
    deleted = await api.ask("DELETE", f"{ALL}/{name}", status=204)
    assert deleted.body == b"" and "Content-Length" not in deleted.headers
    await api.problem(404, "ResourceNotFound", "GET", f"{ALL}/{name}")
    await api.problem(504, "LdContextNotAvailable", "GET", "/entities?type=Room", Link=link(url))


async def test_a_copy_is_reloaded_or_kept_when_that_fails(api: Api) -> None:
    served = {"x": "https://c.example/1"}

    async def context(_: web.Request) -> web.Response:
        return web.json_response({"@context": served})

    app = web.Application()
    app.router.add_get("/c.jsonld", context)
    server = TestServer(app)
    await server.start_server()
    url = str(server.make_url("/c.jsonld"))
    entity = {"id": "urn:x:1", "type": "T", "x": 1, "@context": url}
    await api.ask("POST", "/entities", entity, status=201, Content_Type=LD)
    served["x"] = "https://c.example/2"
    await api.ask("DELETE", escaped(url) + "?reload=true", status=204)
    await api.ask("POST", "/entities", {**entity, "id": "urn:x:2"}, status=201, Content_Type=LD)
    assert "https://c.example/2" in (await api.ask("GET", "/entities/urn:x:2", status=200)).json()
    await server.close()
    await api.problem(504, "LdContextNotAvailable", "DELETE", escaped(url) + "?reload=true")
    assert (await api.ask("GET", escaped(url) + "?details=true", status=200)).json()["kind"] == "Cached"
    await api.ask("POST", "/entities", {**entity, "id": "urn:x:3"}, status=201, Content_Type=LD)
    await api.ask("DELETE", escaped(url), status=204)
    await api.problem(404, "ResourceNotFound", "GET", escaped(url) + "?details=true")


async def test_the_core_context_is_always_there(api: Api) -> None:
    for url in (CORE_URL, "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.6.jsonld"):
        details = (await api.ask("GET", escaped(url) + "?details=true", status=200)).json()
        assert (details["URL"], details["kind"]) == (url, "Cached")
        await api.problem(400, "BadRequestData", "DELETE", escaped(url))
        await api.ask("DELETE", escaped(url) + "?reload=true", status=204)
    assert (await api.ask("GET", ALL, status=200)).json() == [CORE_URL]


async def test_contexts_outlive_a_restart_and_the_network(tmp_path: Path) -> None:
    async with city_contexts() as server:
        city = str(server.make_url("/city.jsonld"))
        async with running_broker(tmp_path) as api:
            name = await host(api)
            await api.ask("GET", "/entities?type=Room", status=200, Link=link(city))
    async with running_broker(tmp_path) as api:
        document = {"id": "urn:x:1", "type": "Room", "warmth": 21, "@context": [city, f"{api.url}/nowhere"]}
        await api.problem(504, "LdContextNotAvailable", "POST", "/entities", document, Content_Type=LD)
        await api.ask("POST", "/entities", {**document, "@context": city}, status=201, Content_Type=LD)
        assert (await api.ask("GET", "/entities/urn:x:1", status=200)).json()["type"] == FOREIGN["Room"]
        assert (await api.ask("GET", f"{ALL}/{name}", status=200)).json() == HOSTED
        details = (await api.ask("GET", escaped(city) + "?details=true", status=200)).json()
        assert details["numberOfHits"] >= 2


async def test_a_tenants_contexts_are_its_own(api: Api) -> None:
    for tenant in ("north", "south"):
        await api.ask("POST", "/entities", {"id": "urn:x:1", "type": "T"}, status=201, NGSILD_Tenant=tenant)
    name = await host(api, NGSILD_Tenant="north")
    await api.problem(404, "ResourceNotFound", "GET", f"{ALL}/{name}", NGSILD_Tenant="south")
    await api.problem(404, "ResourceNotFound", "GET", f"{ALL}/{name}?details=true")
    await api.problem(404, "ResourceNotFound", "DELETE", f"{ALL}/{name}")
    await api.problem(404, "NonexistentTenant", "POST", ALL, HOSTED, NGSILD_Tenant="nobody")
    assert (await api.ask("GET", f"{ALL}?kind=Hosted", status=200, NGSILD_Tenant="south")).json() == []
    assert len((await api.ask("GET", f"{ALL}?kind=Hosted", status=200, NGSILD_Tenant="north")).json()) == 1
    # Who follows a Link header knows nothing of tenants.
    assert (await api.ask("GET", f"{ALL}/{name}", status=200)).json() == HOSTED
    await api.ask("DELETE", f"{ALL}/{name}", status=204, NGSILD_Tenant="north")


async def test_a_subscriptions_inline_context_gets_a_url_that_its_notifications_name(api: Api) -> None:
    async with receiving() as receiver:
        inline = [{"Room": "https://i.example/Room"}, {"warmth": "https://i.example/warmth"}]
        subscription = {
            "id": "urn:x:Subscription:1",
            "type": "Subscription",
            "entities": [{"type": "Room"}],
            "notification": {"endpoint": {"uri": receiver.url()}},
            "@context": inline,
        }
        await api.ask("POST", "/subscriptions", subscription, status=201, Content_Type=LD)
        again = {**subscription, "id": "urn:x:Subscription:2", "isActive": False}
        await api.ask("POST", "/subscriptions", again, status=201, Content_Type=LD)
        (url,) = (await api.ask("GET", f"{ALL}?kind=ImplicitlyCreated", status=200)).json()
        shown = (await api.ask("GET", "/subscriptions/urn:x:Subscription:1", status=200)).json()
        assert shown["jsonldContext"] == url
        path = url.removeprefix(f"{api.url}/ngsi-ld/v1")
        assert (await api.ask("GET", path, status=200)).json() == {"@context": [*inline, CORE_URL]}
        room = {**ROOM, "@context": inline}
        await api.ask("POST", "/entities", room, status=201, Content_Type=LD)
        (notified,) = await receiver.wait_for(1)
        assert url in notified.headers["Link"]
        await api.ask("DELETE", path, status=204)
        assert (await api.ask("GET", f"{ALL}?kind=ImplicitlyCreated", status=200)).json() == []


async def test_two_processes_on_one_store_share_their_contexts(mongo_url: str, tmp_path: Path) -> None:
    store = StoreSettings(url=mongo_url)
    async with (
        city_contexts() as server,
        running_broker(tmp_path, store=store) as one,
        running_broker(tmp_path, store=store) as two,
    ):
        city = str(server.make_url("/city.jsonld"))
        name = await host(one)
        url = f"https://city.invalid/ngsi-ld/v1/jsonldContexts/{name}"
        await one.ask("GET", "/entities?type=Room", status=200, Link=link(city))
        await server.close()
        assert (await two.ask("GET", f"{ALL}/{name}", status=200)).json() == HOSTED
        await two.ask("POST", "/entities", {**ROOM, "@context": url}, status=201, Content_Type=LD)
        await two.ask("POST", "/entities", {**ROOM, "id": "urn:x:2", "@context": city}, status=201, Content_Type=LD)
        assert (await one.ask("GET", "/entities/urn:x:1", status=200)).json()["type"] == HOSTED["@context"]["Room"]
        assert (await one.ask("GET", "/entities/urn:x:2", status=200)).json()["type"] == FOREIGN["Room"]
        await two.ask("DELETE", f"{ALL}/{name}", status=204)
        await one.problem(404, "ResourceNotFound", "GET", f"{ALL}/{name}")
