"""The HTTP server as a whole: tenants, limits, token, metrics, uplinks, and requests that nobody would write."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from yarl import URL

from broker.config import Http, Limits
from tests.support.api import LD, Answer, Api, running_broker

ROOM = {"id": "urn:ngsi-ld:Room:214", "type": "Room", "temperature": {"type": "Property", "value": 21.5}}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running_broker(tmp_path) as api:
        yield api


async def test_another_tenant_does_not_exist(api: Api) -> None:
    await api.problem(404, "NonexistentTenant", "GET", "/entities?type=Room", NGSILD_Tenant="sundsvall")
    await api.problem(
        404, "NonexistentTenant", "PATCH", "/entities/urn:ngsi-ld:Room:214/attrs", {}, NGSILD_Tenant="sundsvall"
    )


def room(**members: Any) -> dict[str, Any]:
    return {"id": "urn:ngsi-ld:Room:1", "type": "Room", **members}


async def test_limits_are_named_when_they_are_exceeded(tmp_path: Path) -> None:
    async with running_broker(tmp_path, limits=Limits(body_bytes=4096, json_depth=16)) as api:
        big = room(text={"type": "Property", "value": "x" * 5000})
        detail = await api.problem(413, "PayloadTooLarge", "POST", "/entities", big)
        assert "limits.body_bytes" in detail and "4096" in detail
        deep: Any = 1
        for _ in range(30):
            deep = [deep]
        await api.problem(400, "InvalidRequest", "POST", "/entities", room(text={"type": "Property", "value": deep}))
        await api.ask("POST", "/entities", room(), status=201)


async def test_the_token_protects_everything_but_health(tmp_path: Path) -> None:
    async with running_broker(tmp_path, http=Http(port=0, token="s3cret")) as api:
        for path in ("/entities?type=Room", "/subscriptions", "/metrics", "/api/v1/devices", "/nowhere"):
            await api.problem(401, "Unauthorized", "GET", path)
        await api.problem(401, "Unauthorized", "GET", "/entities?type=Room", Authorization="Bearer other")
        await api.ask("GET", "/entities?type=Room", status=200, Authorization="Bearer s3cret")
        await api.ask("GET", "/health/live", status=200)
        ready = await api.ask("GET", "/health/ready", status=200)
        assert ready.json()["components"]["store"] == "ok"


async def test_metrics_count_by_route(api: Api) -> None:
    await api.ask("GET", "/entities/urn:ngsi-ld:Room:404", status=404)
    text = (await api.ask("GET", "/metrics", status=200)).body.decode()
    assert 'knutpunkt_http_requests_total{method="GET",route="/ngsi-ld/v1/entities/{entity}",status="404"}' in text


async def test_uplinks_over_http_are_answered_after_the_commit(api: Api) -> None:
    message = {
        "deduplicationId": "5c3d2a1e-0000-4000-8000-000000000001",
        "time": "2026-01-01T12:00:00+00:00",
        "deviceInfo": {"devEui": "A81758FFFE012345", "deviceName": "Okänd"},
        "fCnt": 7,
        "fPort": 5,
        "data": "AQDi",
    }
    unknown = await api.ask("POST", "/api/v1/uplinks/chirpstack?event=up", message, status=202)
    assert unknown.json()["outcome"] == "quarantined" and unknown.json()["reason"]
    again = await api.ask("POST", "/api/v1/uplinks/chirpstack", message)
    assert again.json()["outcome"] in ("duplicate", "quarantined")

    detail = await api.problem(400, "InvalidRequest", "POST", "/api/v1/uplinks/chirpstack", b"not json")
    kept = detail.rpartition("'")[0].rpartition("'")[2]
    stored = await api.running.parts.tenants.default.store.uplink(kept)
    assert stored is not None and stored.raw == b"not json" and stored.status == "rejected"
    await api.problem(413, "PayloadTooLarge", "POST", "/api/v1/uplinks/chirpstack", b"x" * (1024 * 1024))
    await api.problem(404, "ResourceNotFound", "POST", "/api/v1/uplinks/sigfox", message)
    await api.problem(400, "InvalidRequest", "POST", "/api/v1/uplinks/chirpstack?evnt=up", message)


async def test_what_is_no_http_is_refused_without_a_traceback_and_the_next_request_served(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    for message in (b"\x16\x03\x01\x02\x00\x01garbage\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 70_000):
        reader, writer = await asyncio.open_connection(api.running.host, api.running.port)
        writer.write(message)
        await writer.drain()
        assert b" 400 " in await reader.readline()
        writer.close()
    await api.ask("GET", "/health/live", status=200)
    assert not [record for record in caplog.records if record.exc_info]


# --- anything at all --------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(
    [
        "id",
        "type",
        "value",
        "object",
        "Property",
        "GeoProperty",
        "Relationship",
        "Room",
        "urn:ngsi-ld:Room:214",
        "@context",
        "languageMap",
        "vocab",
        "json",
        "valueList",
        "objectList",
        "datasetId",
        "observedAt",
        "unitCode",
        "scope",
        "/a/b",
        "coordinates",
        "Point",
        "Polygon",
        "location",
        "temperature",
        "urn:ngsi-ld:null",
        "2026-01-01T00:00:00Z",
        "entities",
        "notification",
        "endpoint",
        "uri",
        "http://127.0.0.1:9/",
        "watchedAttributes",
        "q",
        "Subscription",
        "geoQ",
        "@none",
    ]
)
TEXTS = WORDS | st.text(max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), 1 << 63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=6),
    max_leaves=20,
)
DOCUMENTS = JSON | st.builds(
    lambda head, rest: {**rest, **head},
    st.fixed_dictionaries({"id": TEXTS, "type": TEXTS}),
    JSON.filter(lambda value: isinstance(value, dict)),
)
ROUTES = st.sampled_from(
    [
        ("POST", "/entities"),
        ("PATCH", "/entities/urn:ngsi-ld:Room:214/attrs"),
        ("POST", "/entities/urn:ngsi-ld:Room:214/attrs"),
        ("PATCH", "/entities/urn:ngsi-ld:Room:214/attrs/temperature"),
        ("POST", "/subscriptions"),
        ("PATCH", "/subscriptions/urn:sub:1"),
        ("POST", "/api/v1/uplinks/chirpstack"),
    ]
)
PARAMETERS = st.dictionaries(
    st.sampled_from(
        [
            "type",
            "id",
            "idPattern",
            "attrs",
            "q",
            "georel",
            "geometry",
            "coordinates",
            "geoproperty",
            "scopeQ",
            "limit",
            "offset",
            "count",
            "options",
            "format",
            "pick",
            "omit",
            "lang",
            "datasetId",
            "local",
            "expandValues",
            "jsonKeys",
        ]
    ),
    TEXTS | st.text('()[]{};|,.=<>~!"*+?:/1aé% ', max_size=25),
    max_size=5,
)
ANYTHING = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def is_answer_or_problem(answer: Answer) -> None:
    assert answer.status < 500, answer
    if answer.status >= 400:
        assert answer.json()["detail"] and answer.json()["type"], answer


@ANYTHING
@given(route=ROUTES, document=DOCUMENTS, content_type=st.sampled_from(["application/json", LD]))
async def test_any_json_to_any_route_is_answered_or_refused(
    api: Api, route: tuple[str, str], document: Any, content_type: str
) -> None:
    await api.ask("POST", "/entities", ROOM)
    is_answer_or_problem(await api.ask(*route, document, Content_Type=content_type))


@ANYTHING
@given(given=PARAMETERS, accept=st.sampled_from(["*/*", LD, "application/geo+json"]))
async def test_any_parameters_of_a_query_are_answered_or_refused(api: Api, given: dict[str, str], accept: str) -> None:
    await api.ask("POST", "/entities", ROOM)
    for path in ("/entities", "/entities/urn:ngsi-ld:Room:214", "/subscriptions"):
        is_answer_or_problem(await api.ask("GET", str(URL(path).with_query(given)), Accept=accept))
