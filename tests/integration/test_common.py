"""Common behaviours of all routes (ETSI GS CIM 009 v1.9.1, 5.5 and 6.3), and what HTTP has beyond them."""

import gzip
import json
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from broker.config import Http, Limits, Tenancy
from broker.jsonld.core import CORE_URL
from tests.support.api import LD, Api, link, running_broker

ROOM = {"id": "urn:ngsi-ld:Room:214", "type": "Room", "temperature": {"type": "Property", "value": 21.5}}
ONE = "/entities/urn:ngsi-ld:Room:214"
IDENTITY = "/info/sourceIdentity"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running_broker(
        tmp_path, http=Http(port=0, compress_bytes=512), limits=Limits(body_bytes=64 * 1024)
    ) as api:
        yield api


async def create(api: Api, count: int, **headers: str) -> None:
    for number in range(count):
        room = {"id": f"urn:ngsi-ld:Room:{number}", "type": "Room", "name": {"type": "Property", "value": "room " * 20}}
        await api.ask("POST", "/entities", room, status=201, **headers)


# --- tenants are echoed (6.3.14) --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "document", "status"),
    [
        ("POST", "/entities", ROOM, 201),
        ("GET", "/entities?local=true", None, 200),
        ("HEAD", "/entities?local=true", None, 200),
        ("OPTIONS", "/entities", None, 204),
        ("GET", "/types", None, 200),
        ("GET", "/entities?unknown=1", None, 400),
        ("GET", ONE + "x", None, 404),
        ("PUT", "/entities", None, 405),
        ("POST", "/entities", b"{", 400),
        ("GET", "/nothing-here", None, 404),
    ],
)
async def test_every_answer_to_a_request_with_a_tenant_names_it(
    api: Api, method: str, path: str, document: Any, status: int
) -> None:
    await api.ask("POST", "/entities", {"id": "urn:x:1", "type": "Room"}, status=201, NGSILD_Tenant="umea")
    answer = await api.ask(method, path, document, status=status, NGSILD_Tenant="umea")
    assert answer.headers.getall("NGSILD-Tenant") == ["umea"]
    assert "NGSILD-Tenant" not in (await api.ask(method, path, document)).headers


async def test_a_tenant_that_is_not_there_is_echoed_too_and_one_that_could_break_a_header_is_not(api: Api) -> None:
    answer = await api.ask("GET", "/entities?local=true", status=404, NGSILD_Tenant="nobody")
    assert answer.headers["NGSILD-Tenant"] == "nobody"
    answer = await api.ask("GET", "/entities?local=true", status=400, NGSILD_Tenant="umeå")
    assert "NGSILD-Tenant" not in answer.headers


# --- methods ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/types", "GET, HEAD, OPTIONS"), ("/types/Room", "GET, HEAD, OPTIONS"), (IDENTITY, "GET, HEAD, OPTIONS")],
)
async def test_options_and_a_wrong_method_say_which_methods_there_are(api: Api, path: str, allowed: str) -> None:
    asked = await api.ask("OPTIONS", path, status=204)
    assert (asked.headers["Allow"], asked.body) == (allowed, b"")
    assert "Content-Length" not in asked.headers
    detail = await api.problem(405, "MethodNotAllowed", "DELETE", path)
    assert detail == f"The method DELETE does not apply to this resource; it has {allowed}."
    assert (await api.ask("DELETE", path)).headers["Allow"] == allowed


@pytest.mark.parametrize("path", ["/entities?type=Room", "/types", "/types/Room", "/attributes/name", "/nothing"])
async def test_head_says_what_get_would_without_the_body(api: Api, path: str) -> None:
    await create(api, 4)
    got = await api.ask("GET", path)
    head = await api.ask("HEAD", path)
    assert head.body == b""
    assert head.status == got.status
    for name in ("Content-Type", "Content-Length", "Content-Encoding", "Link", "Vary"):
        assert head.headers.get(name) == got.headers.get(name)


async def test_paths_may_end_in_a_slash_and_names_in_them_may_be_encoded(api: Api) -> None:
    await create(api, 1)
    for path in ["/entities/urn%3Angsi-ld%3ARoom%3A0", "/entities/urn:ngsi-ld:Room:0/", "/types/", "/attributes/"]:
        await api.ask("GET", path, status=200)


# --- parameters (6.3.20) ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/types?limit=1",
        "/types/Room?details=true",
        "/attributes?count=true",
        "/attributes/name?details=true",
        IDENTITY + "?local=true",
        "/entities?type=Room&type=Building",
        "/entities?type=Room&surprise",
    ],
)
async def test_parameters_that_an_operation_does_not_know_or_that_come_twice_are_refused(api: Api, path: str) -> None:
    await api.problem(400, "InvalidRequest", "GET", path)


@pytest.mark.parametrize(
    "path", ["/types?details=", "/types?details=yes", "/attributes?details=1", "/types?local=TRUE"]
)
async def test_a_boolean_is_true_or_false(api: Api, path: str) -> None:
    await api.problem(400, "BadRequestData", "GET", path)


# --- what is accepted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/types", "/types/Room", "/attributes", "/attributes/name", IDENTITY])
async def test_geojson_is_for_entities_alone_and_the_refusal_says_what_there_is(api: Api, path: str) -> None:
    await create(api, 1)
    detail = await api.problem(406, "NotAcceptable", "GET", path, Accept="application/geo+json")
    assert "application/json, application/ld+json" in detail


async def test_a_body_of_unknown_length_or_type_is_refused_by_the_status_alone(api: Api) -> None:
    answer = await api.ask("POST", "/entities", b"x", Content_Type="text/plain")
    assert (answer.status, answer.body) == (415, b"")


# --- the source's identity (5.15, 6.33) -------------------------------------------------------------------------------


async def test_the_identity_is_whole(api: Api) -> None:
    answer = await api.ask("GET", IDENTITY, status=200)
    body = answer.json()
    assert set(body) == {"id", "type", "contextSourceAlias", "contextSourceUptime", "contextSourceTimeAt"}
    assert body["type"] == "ContextSourceIdentity"
    assert body["id"].endswith(body["contextSourceAlias"])
    assert answer.headers["Link"] == link(CORE_URL)
    assert body["contextSourceUptime"].startswith("PT") and body["contextSourceTimeAt"].endswith("Z")
    linked = await api.ask("GET", IDENTITY, status=200, Accept=LD)
    assert linked.json()["@context"] == CORE_URL


async def test_the_identity_outlives_a_restart_and_each_tenant_has_its_own(tmp_path: Path) -> None:
    aliases = []
    for _ in range(2):
        async with running_broker(tmp_path) as api:
            answers = [await api.ask("GET", IDENTITY, status=200)]
            answers += [await api.ask("GET", IDENTITY, status=200, NGSILD_Tenant=name) for name in ("umea", "boden")]
            aliases.append([answer.json()["contextSourceAlias"] for answer in answers])
            await api.problem(404, "NonexistentTenant", "GET", "/types", NGSILD_Tenant="umea")
    assert aliases[0] == aliases[1]
    assert len(set(aliases[0])) == 3


async def test_where_tenants_are_created_explicitly_one_that_is_not_there_has_no_identity(tmp_path: Path) -> None:
    async with running_broker(tmp_path, tenants=Tenancy(creation="explicit")) as api:
        await api.problem(404, "NonexistentTenant", "GET", IDENTITY, NGSILD_Tenant="umea")


# --- packed bodies ----------------------------------------------------------------------------------------------------


async def test_a_large_answer_is_packed_for_those_who_take_it_and_is_the_same(api: Api) -> None:
    await create(api, 10)
    plain = await api.ask("GET", "/entities?type=Room", status=200, Accept_Encoding="identity")
    packed = await api.ask("GET", "/entities?type=Room", status=200, Accept_Encoding="br, gzip;q=0.5")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert int(packed.headers["Content-Length"]) < int(plain.headers["Content-Length"]) / 3
    assert packed.json() == plain.json()
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize("accepted", ["", "br", "gzip;q=0", "identity, gzip;q=0.1", "*;q=0"])
async def test_a_client_that_does_not_take_gzip_gets_none(api: Api, accepted: str) -> None:
    await create(api, 10)
    answer = await api.ask("GET", "/entities?type=Room", status=200, Accept_Encoding=accepted)
    assert "Content-Encoding" not in answer.headers
    assert len(answer.json()) == 10


async def test_a_small_answer_is_never_packed(api: Api) -> None:
    answer = await api.ask("GET", "/types", status=200, Accept_Encoding="gzip")
    assert "Content-Encoding" not in answer.headers
    assert "Vary" not in answer.headers


def deflated(body: bytes) -> bytes:
    return zlib.compress(body)


def headless(body: bytes) -> bytes:
    return zlib.compress(body, wbits=-15)


@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", deflated),
        ("deflate", headless),
        ("identity", bytes),
    ],
)
async def test_a_body_may_be_packed(api: Api, coding: str, pack: Any) -> None:
    await api.ask("POST", "/entities", pack(json.dumps(ROOM).encode()), status=201, Content_Encoding=coding)
    assert (await api.ask("GET", ONE, status=200)).json() == ROOM


async def test_a_body_that_unpacks_to_more_than_the_limit_is_refused(api: Api) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < 64 * 1024
    await api.problem(413, "PayloadTooLarge", "POST", "/entities", bomb, Content_Encoding="gzip")
    await api.ask("POST", "/entities", ROOM, status=201)


async def test_a_body_that_is_not_packed_as_it_says_is_refused(api: Api) -> None:
    whole = gzip.compress(json.dumps(ROOM).encode())
    for body in (b"not gzip", b"", whole[:-4], whole + b"more", deflated(b"{}")):
        await api.problem(400, "InvalidRequest", "POST", "/entities", body, Content_Encoding="gzip")
    for body in (b"\x78", b"\xff", b"", whole):
        await api.problem(400, "InvalidRequest", "POST", "/entities", body, Content_Encoding="deflate")
    for coding in ("br", "gzip, gzip", "zstd"):
        answer = await api.ask("POST", "/entities", b"{}", Content_Encoding=coding)
        assert (answer.status, answer.body) == (415, b"")
        assert answer.headers["Accept-Encoding"] == "gzip, deflate"
    managed = await api.ask("POST", "/api/v1/tenants", b"{}", status=415, Content_Encoding="br")
    assert managed.headers["Accept-Encoding"] == "gzip, deflate"


# --- earlier versions (4.3.6.8, 6.3.6) --------------------------------------------------------------------------------

NEWER = {"id": "urn:x:1", "type": "Room", "kind": {"type": "VocabProperty", "vocab": "Cellar"}}
OLDER = {"id": "urn:x:1", "type": "Room", "kind": {"type": "Property", "value": "Cellar"}}


@pytest.mark.parametrize(
    ("preferred", "applied", "status"),
    [
        ("ngsi-ld=1.5", "ngsi-ld=1.5", 203),
        ("NGSI-LD=1.5", "ngsi-ld=1.5", 203),
        ('respond-async, ngsi-ld="1.7";q=0.1', "ngsi-ld=1.7", 203),
        ("ngsi-ld=1.8", "ngsi-ld=1.8", 200),
        ("ngsi-ld=2.0", "ngsi-ld=1.9", 200),
        ("ngsi-ld=new", None, 200),
        ("respond-async", None, 200),
    ],
)
async def test_an_earlier_version_can_be_preferred(api: Api, preferred: str, applied: str | None, status: int) -> None:
    await api.ask("POST", "/entities", NEWER, status=201)
    expected = OLDER if status == 203 else NEWER
    one = await api.ask("GET", "/entities/urn:x:1", status=status, Prefer=preferred)
    assert one.json() == expected
    many = await api.ask("GET", "/entities?type=Room", status=status, Prefer=preferred, Accept=LD)
    assert many.json() == [{**expected, "@context": CORE_URL}]
    types = await api.ask("GET", "/types", status=200, Prefer=preferred)
    for answer in (one, many, types):
        assert answer.headers.get("Preference-Applied") == applied


async def test_what_is_the_same_in_an_earlier_version_is_not_altered(api: Api) -> None:
    await api.ask("POST", "/entities", NEWER, status=201)
    await api.ask("GET", "/entities/urn:x:1?pick=id,type", status=200, Prefer="ngsi-ld=1.3")
    answer = await api.ask("GET", "/entities/urn:x:1", status=200, Prefer="ngsi-ld=1.3", Accept="application/geo+json")
    assert "Preference-Applied" not in answer.headers


# --- long lists -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize("count", [200, 201, 450])
async def test_a_long_list_is_whole_however_it_is_sent(api: Api, coding: str, count: int) -> None:
    rooms = [{"id": f"urn:ngsi-ld:Room:{n:03d}", "type": "Room"} for n in range(count)]
    await api.ask("POST", "/entityOperations/create", rooms, status=201)
    path = f"/entities?type=Room&limit={count}"
    answer = await api.ask("GET", path, status=200, Accept_Encoding=coding)
    assert answer.json() == rooms
    assert answer.headers.get("Content-Encoding", "identity") == coding
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Request-Id"] and answer.headers["Link"] == link(CORE_URL)
    linked = await api.ask("GET", path, status=200, Accept=LD, Accept_Encoding=coding)
    assert linked.json() == [{**room, "@context": CORE_URL} for room in rooms]
    assert (await api.ask("HEAD", path, status=200, Accept_Encoding=coding)).body == b""
