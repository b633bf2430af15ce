"""The layer around every handler, over real HTTP."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import REGISTRY

from broker.api.body import read_body, read_json
from broker.api.route import Route
from broker.api.routing import with_routes
from broker.config import Http, Limits, Settings
from broker.errors import (
    KNUTPUNKT_ERRORS,
    NGSI_LD_ERRORS,
    AlreadyExists,
    LdContextNotAvailable,
    Overloaded,
    UnsupportedMediaType,
)

LIMITS = Limits(body_bytes=2048, json_depth=8)
Client = TestClient[web.Request, web.Application]


async def echo(request: web.Request) -> web.Response:
    return web.json_response(await read_json(request, LIMITS))


async def swallow(request: web.Request) -> web.Response:
    return web.json_response({"bytes": len(await read_body(request, LIMITS))})


async def crash(request: web.Request) -> web.Response:
    raise RuntimeError("password=hunter2 in /srv/secret")


async def overloaded(request: web.Request) -> web.Response:
    raise Overloaded("The queue is full; try again later.", retry_after=7)


async def there(request: web.Request) -> web.Response:
    raise AlreadyExists(f"The thing '{request.match_info['thing']}' exists already.")


async def no_context(request: web.Request) -> web.Response:
    raise LdContextNotAvailable("The @context 'http://nowhere/' cannot be had.")


async def quote(request: web.Request) -> web.Response:
    raise AlreadyExists(f"The header X is '{request.headers['X']}'.")


async def wrong_type(request: web.Request) -> web.Response:
    raise UnsupportedMediaType("The content type must be application/json.")


ROUTES = [
    Route("POST", "/echo", echo),
    Route("POST", "/swallow", swallow),
    Route("GET", "/crash", crash),
    Route("POST", "/overloaded", overloaded),
    Route("PUT", "/things/{thing}", there),
    Route("GET", "/things/{thing}", there),
    Route("POST", "/things/{kind}", swallow),
    Route("GET", "/no-context", no_context),
    Route("GET", "/quote", quote),
    Route("POST", "/wrong-type", wrong_type),
    Route("POST", "/ngsi-ld/v1/wrong-type", wrong_type),
    Route("GET", "/health/live", swallow, public=True),
]


async def serve(token: str = "") -> Client:
    settings = Settings(http=Http(token=token), limits=LIMITS)
    server = TestServer(with_routes(settings, ROUTES))
    await server.start_server(auto_decompress=False)
    client: Client = TestClient(server)
    return client


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    client = await serve()
    yield client
    await client.close()


@pytest.fixture
async def guarded() -> AsyncIterator[Client]:
    client = await serve("secret")
    yield client
    await client.close()


async def problem(response: Any, status: int, kind: str) -> dict[str, Any]:
    assert response.status == status
    assert response.headers["Content-Type"] == "application/json"
    body: dict[str, Any] = await response.json()
    assert set(body) == {"type", "title", "detail", "status"}
    assert body["type"] in (NGSI_LD_ERRORS + kind, KNUTPUNKT_ERRORS + kind)
    assert body["status"] == status
    return body


async def test_a_sane_request_id_comes_back_and_any_other_is_replaced(client: Client) -> None:
    answer = await client.post("/echo", json={}, headers={"X-Request-Id": "order-17:a/b"})
    assert answer.headers["X-Request-Id"] == "order-17:a/b"
    ids = set()
    for insane in ["", "x" * 200, "a b", "<script>"]:
        answer = await client.post("/echo", json={}, headers={"X-Request-Id": insane})
        ids.add(answer.headers["X-Request-Id"])
        assert answer.headers["X-Request-Id"] != insane
    ids.add((await client.get("/nowhere")).headers["X-Request-Id"])
    assert len(ids) == 5


async def test_an_unexpected_error_is_500_and_tells_nothing_of_our_inside(client: Client) -> None:
    body = await problem(await client.get("/crash", headers={"X-Request-Id": "trace-me"}), 500, "InternalError")
    assert "hunter2" not in str(body)
    assert "trace-me" in body["detail"]


async def test_overload_says_when_to_come_back(client: Client) -> None:
    answer = await client.post("/overloaded")
    await problem(answer, 503, "Overloaded")
    assert answer.headers["Retry-After"] == "7"


async def test_errors_of_the_family_keep_their_status_and_text(client: Client) -> None:
    body = await problem(await client.put("/things/a%2Fb"), 409, "AlreadyExists")
    assert body["detail"] == "The thing 'a/b' exists already."
    await problem(await client.get("/no-context"), 504, "LdContextNotAvailable")


async def test_an_unknown_path_is_404_and_an_unknown_method_405_with_the_methods_there_are(client: Client) -> None:
    await problem(await client.get("/nowhere/at/all"), 404, "ResourceNotFound")
    answer = await client.delete("/things/x")
    await problem(answer, 405, "MethodNotAllowed")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST, PUT"
    assert (await client.post("/things/x", data=b"")).status == 200
    await problem(await client.get("/echo"), 405, "MethodNotAllowed")


async def test_paths_work_with_and_without_the_slash_at_the_end(client: Client) -> None:
    assert (await client.post("/echo/", json=[1])).status == 200
    await problem(await client.get("/things/x/"), 409, "AlreadyExists")


async def test_a_body_beyond_the_limit_is_refused_by_its_declared_length_and_by_what_comes(client: Client) -> None:
    body = await problem(await client.post("/swallow", data=b"x" * 2049), 413, "PayloadTooLarge")
    assert "limits.body_bytes" in body["detail"] and "2048" in body["detail"]

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 1024

    await problem(await client.post("/swallow", data=endless()), 413, "PayloadTooLarge")
    assert (await client.post("/swallow", data=b"x" * 2048)).status == 200


async def test_a_body_that_unpacks_beyond_the_limit_is_refused(client: Client) -> None:
    packed = gzip.compress(b"x" * 1_000_000)
    assert len(packed) < 2048
    answer = await client.post("/swallow", data=packed, headers={"Content-Encoding": "gzip"})
    await problem(answer, 413, "PayloadTooLarge")


async def test_json_that_is_broken_or_too_deep_is_400(client: Client) -> None:
    json_type = {"Content-Type": "application/json"}
    await problem(await client.post("/echo", data=b'{"a":', headers=json_type), 400, "InvalidRequest")
    await problem(await client.post("/echo", data=b"\xff", headers=json_type), 400, "InvalidRequest")
    await problem(await client.post("/echo", data=b"[" * 12 + b"]" * 12, headers=json_type), 400, "InvalidRequest")
    await problem(await client.post("/echo", data=b"[" * 1000, headers=json_type), 400, "InvalidRequest")
    assert (await client.post("/echo", data=b"[" * 8 + b"]" * 8, headers=json_type)).status == 200


async def test_an_error_that_quotes_what_is_no_text_is_still_told(client: Client) -> None:
    assert client.port is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(b"GET /quote HTTP/1.1\r\nHost: x\r\nX: \xffr\xc3\xa4v\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 409 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["detail"] == "The header X is '\\udcffräv'."


async def test_415_has_a_body_except_where_the_standard_wants_none(client: Client) -> None:
    await problem(await client.post("/wrong-type"), 415, "UnsupportedMediaType")
    answer = await client.post("/ngsi-ld/v1/wrong-type")
    assert (answer.status, await answer.read()) == (415, b"")


async def test_with_a_token_set_every_route_but_health_asks_for_it(guarded: Client) -> None:
    for method, path in [("POST", "/echo"), ("GET", "/nowhere"), ("DELETE", "/echo"), ("GET", "/health")]:
        answer = await guarded.request(method, path)
        await problem(answer, 401, "Unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    await problem(await guarded.post("/echo", headers={"Authorization": "Bearer wrong"}), 401, "Unauthorized")
    assert (await guarded.post("/echo", json={}, headers={"Authorization": "Bearer secret"})).status == 200
    assert (await guarded.get("/health/live")).status == 200


async def test_requests_are_counted_by_route_template_not_by_path(client: Client) -> None:
    labels = {"method": "PUT", "route": "/things/{thing}", "status": "409"}
    before = REGISTRY.get_sample_value("knutpunkt_http_requests_total", labels) or 0
    await client.put("/things/one")
    await client.put("/things/two")
    assert REGISTRY.get_sample_value("knutpunkt_http_requests_total", labels) == before + 2


async def test_the_names_of_our_libraries_are_not_told(client: Client) -> None:
    assert (await client.post("/echo", json={})).headers["Server"] == "knutpunkt"
