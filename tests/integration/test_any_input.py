"""Whatever comes in: 2xx or a ProblemDetail, never a 500 and never a hang, on any route (clause 5.5.2, 6.3.2, 6.3.3).

Two ways: Schemathesis makes requests of the API's own description, from outside as any client; Hypothesis makes them of the
route table, further from what is right. `KNUTPUNKT_FUZZ_EXAMPLES` multiplies both.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.broker import BrokerProcess
from tests.support.mongo import mongo_uri, mongo_url

__all__ = ["mongo_uri", "mongo_url"]

TIMES: Final = int(os.environ.get("KNUTPUNKT_FUZZ_EXAMPLES", "1"))
PATIENCE_SECONDS: Final = 20.0
CRASHES: Final = ("http.request_crashed", "writer.command_failed", "batch.element_failed", "Traceback")
# The description's own examples name remote @contexts: that they cannot be had is 504, and the input's fault (5.5.5).
SETTINGS: Final = """
[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 504]
"""


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[BrokerProcess]:
    broker = BrokerProcess(f"sqlite:///{tmp_path}/knutpunkt.db", tmp_path, LIMITED)
    await broker.start()
    yield broker
    assert await broker.stop() == 0
    assert not [crash for crash in CRASHES if crash in broker.log()], broker.log()[-4000:]


LIMITED: Final = {"KNUTPUNKT_TENANTS_MOST": "3", "KNUTPUNKT_DELIVERY_RETRY_FIRST_SECONDS": "60"}


@pytest.mark.timeout(300 * TIMES)
async def test_requests_made_of_the_description_are_answered_as_it_says(tmp_path: Path, broker: BrokerProcess) -> None:
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(SETTINGS, "utf-8")
    run = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration), "run"),
        broker.url + "/openapi.json",
        *("--exclude-path", "/api/v1/stream"),  # it does not end
        *(
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        ),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", str(10 * TIMES), "--workers", "1"),
        *("--generation-deterministic", "--no-color", "--request-timeout", str(PATIENCE_SECONDS)),
        cwd=tmp_path,
        env={**os.environ, "PYTHONWARNINGS": "default"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await run.communicate()
    assert run.returncode == 0, output.decode("utf-8", "replace")[-12_000:]


# --- of the route table, further from what is right ---

WORDS = st.sampled_from(
    [
        *(
            "",
            "a",
            "urn:ngsi-ld:Room:1",
            "urn:ngsi-ld:null",
            "type",
            "id",
            "@id",
            "@context",
            "$where",
            "a.b",
            "__proto__",
        ),
        *(
            "\x00",
            "ö",
            "🙂" * 50,
            "a" * 5000,
            "null",
            "[1,2]",
            "{}",
            "*",
            "@none",
            "1e400",
            "-0",
            "2026-01-01T00:00:00Z",
        ),
        *(
            "near;maxDistance==1",
            "Point",
            "[[[0,0],[1,1],[1,0],[0,1],[0,0]]]",
            "[8,40]",
            "a==1",
            "a{b}==1",
            "a[b.c]~=(.*)",
        ),
        *(
            "(((a)))",
            "a;b|c",
            'a=="x".."y"',
            "/#",
            "/a/+/b",
            "(A;B)|C",
            "name;desc,id",
            "location;dist-asc",
            "sv",
            "inline",
        ),
        *(
            "und-u-ks-level1",
            "a{b{c}}",
            "flat",
            "9" * 20,
            "-1",
            "0",
            "1",
            "simplified,sysAttrs",
            "keyValues",
            "%00",
            "a,,",
        ),
    ]
)
NAMES = WORDS | st.sampled_from(
    [
        "type",
        "value",
        "object",
        "languageMap",
        "vocab",
        "json",
        "valueList",
        "objectList",
        "observedAt",
        "unitCode",
        "datasetId",
        "coordinates",
        "entity",
        "expiresAt",
        "scope",
        "@value",
        "@type",
        "entities",
        "q",
        "notification",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)
ATTRIBUTES = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["Property", "Relationship", "GeoProperty", "LanguageProperty", "VocabProperty", "Nothing"]
        )
    },
    optional=dict.fromkeys(("value", "object", "languageMap", "vocab", "observedAt", "datasetId", "sub"), VALUES),
)
ENTITIES = st.fixed_dictionaries(
    {"id": st.sampled_from(["urn:ngsi-ld:Room:1", "urn:ngsi-ld:Room:2"]) | WORDS, "type": st.just("Room") | VALUES},
    optional={"temperature": ATTRIBUTES | VALUES, "location": ATTRIBUTES | VALUES, "scope": VALUES, "@context": VALUES},
)
BODIES = st.one_of(
    *(kind.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")) for kind in (ENTITIES, VALUES)),
    st.lists(ENTITIES, max_size=3).map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")),
    st.binary(max_size=40),
    st.sampled_from([b"", b"{", b"[" * 300, b'{"a":1,"a":2}', b'"\\ud800"', b"\xef\xbb\xbf{}", b'{"a":NaN}', b"1e999"]),
)
HEADERS = st.fixed_dictionaries(
    {
        "Content-Type": st.sampled_from(
            ["application/json", "application/ld+json", "application/merge-patch+json", "a/b"]
        )
    },
    optional={
        "Accept": st.sampled_from(["application/ld+json", "application/geo+json", "text/html", "*/*;q=0", ",,"]),
        "NGSILD-Tenant": st.sampled_from(["one", "no such", ".."]),
        "Link": st.sampled_from(["<x", '<urn:x>; rel="http://www.w3.org/ns/json-ld#context"', "nothing"]),
        "If-Match": st.sampled_from(["*", '"1-x"', "nothing"]),
        "Content-Encoding": st.sampled_from(["gzip", "deflate", "br"]),
        "Prefer": st.sampled_from(["ngsi-ld=1.3", "body=json", "nothing"]),
    },
)


@pytest.mark.timeout(300 * TIMES)
@pytest.mark.parametrize("store", ["sqlite", "mongo"])
async def test_any_request_is_answered_by_what_was_asked_or_by_what_is_wrong(
    tmp_path: Path, store: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("mongo_url") if store == "mongo" else f"sqlite:///{tmp_path}/knutpunkt.db"
    broker = BrokerProcess(url, tmp_path, LIMITED)
    await broker.start()
    try:
        _, document = await broker.ask("GET", "/openapi.json")
        await asyncio.to_thread(_ask_anything, broker.port, document, (1500 if store == "sqlite" else 300) * TIMES)
        assert (await broker.ask("GET", "/health/ready"))[0] == 200
    finally:
        await broker.stop()
    assert not [crash for crash in CRASHES if crash in broker.log()], broker.log()[-4000:]


def _ask_anything(port: int, document: dict[str, Any], examples: int) -> None:
    operations = [
        (
            method,
            path,
            [
                each["name"]
                for each in map(_resolver(document), operation.get("parameters", ()))
                if each["in"] == "query"
            ],
        )
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in ("get", "post", "put", "patch", "delete")
    ]
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)

    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.sampled_from(operations), st.data())
    def ask(operation: tuple[str, str, list[str]], data: st.DataObject) -> None:
        method, path, names = operation
        for part in path.split("/"):
            if part.startswith("{"):
                path = path.replace(part, quote(data.draw(WORDS), safe="") or "x", 1)
        query = data.draw(st.dictionaries(st.sampled_from(names), WORDS, max_size=4)) if names else {}
        target = path + "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        body = data.draw(BODIES) if method != "get" else None
        _check(connection, method, target, body, data.draw(HEADERS))

    with closing(connection):
        ask()


def _check(connection: HTTPConnection, method: str, target: str, body: bytes | None, headers: dict[str, str]) -> None:
    connection.request(method.upper(), target, body, headers)
    response = connection.getresponse()
    if response.getheader("Content-Type") == "text/event-stream":
        connection.close()  # it does not end
        return
    content = response.read()
    said = f"{method} {target[:300]} {headers} {body!r:.600}: {response.status} {content!r:.600}"
    assert response.status < 500 or response.status == 504, said
    if response.status >= 400 and content:
        problem = json.loads(content)
        assert problem["type"] and problem["title"] and problem["detail"] and problem["status"] == response.status, said
    elif response.status >= 400:
        assert response.status in (411, 415), said


def _resolver(document: dict[str, Any]) -> Any:
    def resolved(parameter: dict[str, Any]) -> dict[str, Any]:
        reference = parameter.get("$ref")
        return document["components"]["parameters"][reference.rpartition("/")[2]] if reference else parameter

    return resolved
