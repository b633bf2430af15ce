"""The API's description at /openapi.json: it says what the broker does, no more and no less."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from unittest.mock import MagicMock

import aiohttp
import jsonschema_rs
import pytest

from broker.api.openapi.document import describe
from broker.api.openapi.parameters import MANAGEMENT, NGSI_LD, PATH, SPECIAL
from broker.api.server import all_routes
from broker.api.services import Services
from broker.config import Http, Settings
from tests.support.api import Api, running_broker

# The OpenAPI Initiative's own schema of OpenAPI 3.1 (2022-10-07), as published under Apache-2.0.
OPENAPI = Path(__file__).parents[1] / "support" / "openapi-3.1.json"

IN_PATH = {name: str(known.example) for name, known in PATH.items()}

Operation = dict[str, Any]


def table(settings: Settings) -> list[Any]:
    """The route table; no handler is called, so nothing needs to stand behind it."""
    return all_routes(cast("Services", MagicMock(settings=settings)))


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    described: dict[str, Any] = json.loads(json.dumps(describe(table(Settings()), Settings())))
    return described


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, Operation]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def in_query(operation: Operation) -> dict[str, Any]:
    return {each["name"]: each for each in operation.get("parameters", ()) if each.get("in") == "query"}


def concrete(path: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: IN_PATH[found[1]], path)


def validator(document: dict[str, Any], schema: Any) -> jsonschema_rs.Validator:
    return jsonschema_rs.Draft202012Validator({"components": document["components"], "allOf": [schema]})


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


async def ask(
    api: Api, method: str, path: str, body: Any = None, accept: str = "*/*"
) -> tuple[int, Any, dict[str, str]]:
    """(status, parsed body, headers) of a request on the whole path."""
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, api.url + path, json=body, headers={"Accept": accept}) as response,
    ):
        data = await response.read()
        parsed: Any = data.decode() if response.content_type == "text/csv" else json.loads(data) if data else None
        return response.status, parsed, dict(response.headers)


def test_every_route_is_described_and_nothing_else(document: dict[str, Any]) -> None:
    routes = {(route.method, route.path) for route in table(Settings())}
    assert {(method, path) for method, path, _ in operations(document)} == routes


def test_the_document_is_openapi_3_1(document: dict[str, Any]) -> None:
    jsonschema_rs.Draft202012Validator(json.loads(OPENAPI.read_text())).validate(document)
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in references(document):
        at: Any = document
        for key in reference.removeprefix("#/").split("/"):
            assert key in at, reference
            at = at[key]


def test_operations_are_named_once_and_each_says_what_it_does(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    for method, path, operation in operations(document):
        assert operation["summary"] != operation["operationId"], f"{method} {path}: its handler has no docstring"
        assert any(status < "400" for status in operation["responses"]) or operation["operationId"].endswith("none"), (
            f"{method} {path}: its Route has no `answers`"
        )


def test_operations_of_ngsi_ld_name_their_clauses(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        if path.startswith("/ngsi-ld/"):
            assert operation["x-clauses"], f"{method} {path}"


def test_every_parameter_is_explained_and_every_explanation_is_used(document: dict[str, Any]) -> None:
    standard: set[str] = set()
    ours: set[str] = set()
    paths: set[str] = set()
    for method, path, operation in operations(document):
        for each in operation.get("parameters", ()):
            if "$ref" in each:
                continue
            if path == "/api/v1/stream" and each["name"] in NGSI_LD:
                continue  # it selects as a query does
            assert each["description"] != ".", f"{method} {path}: '{each['name']}' (broker/api/openapi/parameters.py)"
            (paths if each["in"] == "path" else standard if path.startswith("/ngsi-ld/") else ours).add(each["name"])
    assert standard == set(NGSI_LD)
    assert ours == set(MANAGEMENT)
    assert paths == set(PATH)
    names = {operation["operationId"]: in_query(operation) for _, _, operation in operations(document)}
    assert all(name in names[operation] for operation, name in SPECIAL)


def test_examples_are_what_the_schemas_say(document: dict[str, Any]) -> None:
    shown = 0
    for name, schema in document["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            validator(document, {"$ref": f"#/components/schemas/{name}"}).validate(example)
            shown += 1
    for _, _, operation in operations(document):
        for each in operation.get("parameters", ()):
            if "example" in each:
                validator(document, each["schema"]).validate(each["example"])
                shown += 1
    assert shown > 40


def test_bodies_have_an_example(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            assert "example" in content, f"{method} {path}"


def test_a_broker_that_asks_for_a_token_says_so() -> None:
    settings = Settings(http=Http(token="secret"))
    guarded = describe(table(settings), settings)
    assert guarded["paths"]["/ngsi-ld/v1/entities"]["get"]["security"] == [{"token": []}]
    assert guarded["paths"]["/health/live"]["get"]["security"] == []
    open_ = describe(table(Settings()), Settings())
    assert open_["paths"]["/ngsi-ld/v1/entities"]["get"]["security"] == [{}, {"token": []}]


async def test_the_broker_serves_the_description_without_a_token(tmp_path: Path) -> None:
    async with running_broker(tmp_path, http=Http(port=0, token="secret")) as api:
        status, served, headers = await ask(api, "GET", "/openapi.json")
        assert (status, headers["Content-Type"]) == (200, "application/json")
        assert served["openapi"] == "3.1.0"
        assert (await ask(api, "GET", "/ngsi-ld/v1/types"))[0] == 401


async def test_an_operation_takes_the_parameters_that_are_described_and_no_other(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as api:
        _, document, _ = await ask(api, "GET", "/openapi.json")
        asked = 0
        for method, path, operation in operations(document):
            described = in_query(operation)
            if not described and (not path.startswith("/ngsi-ld/") or operation["operationId"].endswith("none")):
                continue
            body = _example(operation)
            status, answer, _ = await ask(api, method, concrete(path) + "?nonsense=1", body)
            assert status == 400, f"{method} {path}"
            found = re.search(r"which takes (.*)\.$", answer["detail"])
            assert found is not None, answer
            taken = set(found[1].split(", ")) - {"none"}
            assert taken == set(described), f"{method} {path}: the Route's `parameters` are not the handler's"
            asked += 1
        assert asked > 30


async def test_an_operation_takes_the_options_that_are_described_and_no_other(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as api:
        _, document, _ = await ask(api, "GET", "/openapi.json")
        tour = document["paths"]["/ngsi-ld/v1/subscriptions"]["post"]
        assert (await ask(api, "POST", "/ngsi-ld/v1/subscriptions", _example(tour)))[0] == 201
        asked = 0
        for method, path, operation in operations(document):
            if "options" not in in_query(operation):
                continue
            status, answer, _ = await ask(api, method, concrete(path) + "?options=nonsense", _example(operation))
            assert status == 400, f"{method} {path}"
            found = re.search(r"which is not one of (.*)\.$", answer["detail"])
            assert found is not None, answer
            keywords = in_query(operation)["options"]["schema"]["items"]["enum"]
            assert set(found[1].split(", ")) == set(keywords), f"{method} {path}"
            asked += 1
        assert asked > 7


STEPS = (
    ("POST", "/ngsi-ld/v1/entities", 201),
    ("POST", "/ngsi-ld/v1/entities", 409),
    ("GET", "/ngsi-ld/v1/entities/{entity}", 200),
    ("GET", "/ngsi-ld/v1/entities?type=Room&count=true", 200),
    ("GET", "/ngsi-ld/v1/entities?type=Room&format=concise", 200),
    ("GET", "/ngsi-ld/v1/entities?type=Room&format=simplified", 200),
    ("GET", "/ngsi-ld/v1/entities", 400),
    ("POST", "/ngsi-ld/v1/entityOperations/query", 200),
    ("PATCH", "/ngsi-ld/v1/entities/{entity}", 204),
    ("PATCH", "/ngsi-ld/v1/entities/{entity}/attrs", 204),
    ("POST", "/ngsi-ld/v1/entities/{entity}/attrs", 204),
    ("POST", "/ngsi-ld/v1/entities/{entity}/attrs?options=noOverwrite", 207),
    ("PATCH", "/ngsi-ld/v1/entities/{entity}/attrs/{attribute}", 204),
    ("PUT", "/ngsi-ld/v1/entities/{entity}/attrs/{attribute}", 204),
    ("PUT", "/ngsi-ld/v1/entities/{entity}", 204),
    ("POST", "/ngsi-ld/v1/entityOperations/create", 207),
    ("POST", "/ngsi-ld/v1/entityOperations/upsert", 204),
    ("POST", "/ngsi-ld/v1/entityOperations/update", 204),
    ("POST", "/ngsi-ld/v1/entityOperations/merge", 204),
    ("POST", "/ngsi-ld/v1/temporal/entities", 204),
    ("GET", "/ngsi-ld/v1/temporal/entities/{entity}", 200),
    ("GET", "/ngsi-ld/v1/temporal/entities/{entity}?format=temporalValues", 200),
    ("GET", "/ngsi-ld/v1/temporal/entities?type=Room&timerel=after&timeAt=2026-11-01T00:00:00Z&count=true", 200),
    ("GET", "/ngsi-ld/v1/temporal/entities?type=Room", 400),
    ("GET", "/ngsi-ld/v1/types", 200),
    ("GET", "/ngsi-ld/v1/types?details=true", 200),
    ("GET", "/ngsi-ld/v1/types/{type}", 200),
    ("GET", "/ngsi-ld/v1/attributes", 200),
    ("GET", "/ngsi-ld/v1/attributes?details=true", 200),
    ("GET", "/ngsi-ld/v1/attributes/{attribute}", 200),
    ("DELETE", "/ngsi-ld/v1/entities/{entity}/attrs/{attribute}", 204),
    ("DELETE", "/ngsi-ld/v1/entities/{entity}", 204),
    ("DELETE", "/ngsi-ld/v1/entities/{entity}", 404),
    ("POST", "/ngsi-ld/v1/entityOperations/create", 201),
    ("POST", "/ngsi-ld/v1/entityOperations/delete", 204),
    ("DELETE", "/ngsi-ld/v1/entities?type=Room", 204),
    ("POST", "/ngsi-ld/v1/subscriptions", 201),
    ("POST", "/ngsi-ld/v1/subscriptions", 409),
    ("PATCH", "/ngsi-ld/v1/subscriptions/{subscription}", 204),
    ("GET", "/ngsi-ld/v1/subscriptions", 200),
    ("GET", "/ngsi-ld/v1/subscriptions/{subscription}?options=sysAttrs", 200),
    ("GET", "/api/v1/subscriptions?state=idle", 200),
    ("GET", "/api/v1/subscriptions/{subscription}/delivery", 200),
    ("POST", "/api/v1/subscriptions/{subscription}/pause", 200),
    ("GET", "/api/v1/subscriptions/{subscription}/delivery", 200),
    ("POST", "/api/v1/subscriptions/{subscription}/resume", 200),
    ("POST", "/api/v1/subscriptions/{subscription}/replay?from=2026-01-01T00:00:00Z", 409),
    ("POST", "/api/v1/subscriptions/{subscription}/replay?deadLetters=true", 202),
    ("POST", "/api/v1/subscriptions/{subscription}/replay", 400),
    ("POST", "/api/v1/subscriptions/{subscription}/discard", 200),
    ("GET", "/api/v1/subscriptions/{subscription}/dead-letters", 200),
    ("PUT", "/api/v1/subscriptions/{subscription}/signing", 200),
    ("GET", "/api/v1/subscriptions/{subscription}/signing", 200),
    ("DELETE", "/api/v1/subscriptions/{subscription}/signing", 204),
    ("DELETE", "/ngsi-ld/v1/subscriptions/{subscription}", 204),
    ("POST", "/ngsi-ld/v1/jsonldContexts", 201),
    ("GET", "/ngsi-ld/v1/jsonldContexts", 200),
    ("GET", "/ngsi-ld/v1/jsonldContexts?details=true", 200),
    ("DELETE", "/ngsi-ld/v1/jsonldContexts", 400),
    ("GET", "/ngsi-ld/v1/info/sourceIdentity", 200),
    ("GET", "/health/live", 200),
    ("GET", "/health/ready", 200),
    ("PUT", "/api/v1/device-models/{model}", 201),
    ("PUT", "/api/v1/device-models/{model}", 200),
    ("GET", "/api/v1/device-models/{model}", 200),
    ("GET", "/api/v1/device-models", 200),
    ("POST", "/api/v1/device-models", 201),
    ("POST", "/api/v1/device-models", 409),
    ("PATCH", "/api/v1/device-models/{model}", 200),
    ("DELETE", "/api/v1/device-models/{model}", 204),
    ("PUT", "/api/v1/device-models/{model}", 201),
    ("PUT", "/api/v1/devices/{device}", 201),
    ("POST", "/api/v1/devices", 201),
    ("PATCH", "/api/v1/devices/{device}", 200),
    ("DELETE", "/api/v1/device-models/{model}", 409),
    ("GET", "/api/v1/devices/{device}", 200),
    ("GET", "/api/v1/devices", 200),
    ("PUT", "/api/v1/virtual-sensors/{sensor}", 201),
    ("POST", "/api/v1/virtual-sensors", 201),
    ("PATCH", "/api/v1/virtual-sensors/{sensor}", 200),
    ("POST", "/api/v1/uplinks/{network}", 202),
    ("POST", "/api/v1/swaps", 201),
    ("POST", "/api/v1/devices/{device}/claim", 404),
    ("GET", "/api/v1/virtual-sensors/{sensor}", 200),
    ("GET", "/api/v1/virtual-sensors", 200),
    ("GET", "/api/v1/bindings", 200),
    ("GET", "/api/v1/export/{table}", 200),
    ("POST", "/api/v1/import/{table}?dryRun=true", 200),
    ("POST", "/api/v1/import/{table}", 200),
    ("GET", "/api/v1/bindings/{binding}", 404),
    ("DELETE", "/api/v1/virtual-sensors/{sensor}", 409),
    ("DELETE", "/api/v1/devices/{device}", 204),
    ("POST", "/api/v1/virtual-sensors/{sensor}/unbind", 404),
    ("GET", "/api/v1/history?entity=urn:ngsi-ld:Room:214", 200),
    ("GET", "/api/v1/uplinks", 200),
    ("GET", "/api/v1/quarantine", 200),
    ("GET", "/api/v1/alarms?state=active&severity=high", 200),
    ("GET", "/api/v1/alarms/{alarm}", 404),
    ("POST", "/api/v1/alarms/{alarm}/acknowledge", 404),
    ("POST", "/api/v1/alarms/{alarm}/close", 404),
    ("POST", "/api/v1/alarms/shelve", 404),
    ("GET", "/api/v1/virtual-sensors/{sensor}/health", 200),
    ("POST", "/api/v1/virtual-sensors/{sensor}/shelve", 200),
    ("GET", "/api/v1/virtual-sensors/{sensor}/health", 200),
    ("POST", "/api/v1/virtual-sensors/{sensor}/unshelve", 204),
    ("PUT", "/api/v1/receivers/{receiver}", 201),
    ("PUT", "/api/v1/receivers/{receiver}", 200),
    ("GET", "/api/v1/receivers/{receiver}", 200),
    ("POST", "/api/v1/receivers", 201),
    ("POST", "/api/v1/receivers", 409),
    ("GET", "/api/v1/receivers", 200),
    ("POST", "/api/v1/receivers/{receiver}/test", 200),
    ("DELETE", "/api/v1/receivers/{receiver}", 204),
    ("POST", "/api/v1/receivers/{receiver}/test", 404),
    ("GET", "/api/v1/tenants", 200),
    ("GET", "/api/v1/places/{place}", 404),
    ("POST", "/api/v1/places/import?dryRun=true", 200),
    ("POST", "/api/v1/places/import", 200),
    ("POST", "/api/v1/places/import?crs=EPSG:3006", 400),
    ("GET", "/api/v1/places", 200),
    ("GET", "/api/v1/places/{place}", 200),
    ("GET", "/api/v1/places/{place}/overview", 200),
    ("GET", "/api/v1/places/unplaced", 200),
    ("GET", "/openapi.json", 200),
)


async def test_what_the_broker_answers_to_the_examples_is_as_described(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as api:
        _, document, _ = await ask(api, "GET", "/openapi.json")
        for method, path, expected in STEPS:
            operation = document["paths"][path.partition("?")[0]][method.lower()]
            status, answer, headers = await ask(api, method, concrete(path), _example(operation))
            assert status == expected, f"{method} {path}: {answer}"
            described = operation["responses"][str(status)]
            content = described.get("content")
            if content is None:
                assert answer is None, f"{method} {path}"
            else:
                schema = content[headers["Content-Type"]]["schema"]
                assert list(validator(document, schema).iter_errors(answer)) == [], f"{method} {path}: {answer}"
            told = {name.lower() for name in described.get("headers", ())}
            for header in {"location", "etag", "link"} & {name.lower() for name in headers}:
                assert header in told, f"{method} {path}: {header}"


async def test_every_media_type_that_is_described_is_answered(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as api:
        _, document, _ = await ask(api, "GET", "/openapi.json")
        for path in ("/ngsi-ld/v1/entities", "/ngsi-ld/v1/subscriptions"):
            assert (await ask(api, "POST", path, _example(document["paths"][path]["post"])))[0] == 201
        asked = 0
        for method, path, operation in operations(document):
            content = operation["responses"].get("200", {}).get("content", {})
            if len(content) < 2 or "{context}" in path:
                continue
            wide = path.endswith("/entities")
            interval = "&timerel=after&timeAt=2026-01-01T00:00:00Z" if wide and "/temporal/" in path else ""
            for kind, described in content.items():
                where = concrete(path) + ("?type=Room" + interval if wide else "")
                status, answer, headers = await ask(api, method, where, _example(operation), accept=kind)
                assert (status, headers["Content-Type"]) == (200, kind), f"{method} {path}"
                assert list(validator(document, described["schema"]).iter_errors(answer)) == [], (
                    f"{method} {path} {kind}"
                )
                asked += 1
            assert (await ask(api, method, concrete(path), _example(operation), accept="image/png"))[0] == 406
        assert asked > 20


def _example(operation: Operation) -> Any:
    return operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
