"""Safe edits with ETag, If-Match and If-None-Match (RFC 9110, 13), over HTTP on both stores."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from broker.config import Http, StoreSettings
from tests.support.api import LD, Api, running_broker
from tests.support.mongo import mongo_uri, mongo_url

__all__ = ["mongo_uri", "mongo_url"]

ROOM = {
    "id": "urn:ngsi-ld:Room:214",
    "type": "Room",
    "temperature": {"type": "Property", "value": 21.5, "unitCode": "CEL"},
    "name": {"type": "Property", "value": "a room " * 200},
    "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [17.3, 62.39]}},
}
ONE = "/entities/urn:ngsi-ld:Room:214"
NEW = {"type": "Property", "value": 22}

WRITES: list[tuple[str, str, Any]] = [
    ("PATCH", ONE, {"temperature": NEW}),
    ("PUT", ONE, {"type": "Room", "temperature": NEW}),
    ("POST", ONE + "/attrs", {"temperature": NEW}),
    ("PATCH", ONE + "/attrs", {"temperature": NEW}),
    ("PATCH", ONE + "/attrs/temperature", {"value": 22}),
    ("PUT", ONE + "/attrs/temperature", NEW),
    ("DELETE", ONE + "/attrs/temperature", None),
    ("DELETE", ONE, None),
]


@pytest.fixture(params=["sqlite", "mongo"])
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    mongo = request.param == "mongo"
    url = request.getfixturevalue("mongo_url") if mongo else f"sqlite:///{tmp_path}/knutpunkt.db"
    http = Http(port=0, compress_bytes=1024)
    async with running_broker(tmp_path, store=StoreSettings(url=url), http=http) as api:
        await api.ask("POST", "/entities", ROOM, status=201)
        yield api


async def tag(api: Api, path: str = ONE, **headers: str) -> str:
    etag: str = (await api.ask("GET", path, status=200, **headers)).headers["ETag"]
    return etag


async def change(api: Api, value: int) -> None:
    await api.ask("PATCH", ONE + "/attrs/temperature", {"value": value}, status=204)


@pytest.mark.parametrize(("method", "path", "document"), WRITES)
async def test_an_edit_is_made_if_the_entity_is_as_it_was_read(api: Api, method: str, path: str, document: Any) -> None:
    await api.ask(method, path, document, status=204, If_Match=await tag(api))


@pytest.mark.parametrize(("method", "path", "document"), WRITES)
async def test_an_edit_is_refused_if_the_entity_has_changed_since_and_nothing_of_it_is_done(
    api: Api, method: str, path: str, document: Any
) -> None:
    read = await tag(api)
    await change(api, 30)
    before = await tag(api)
    detail = await api.problem(412, "PreconditionFailed", method, path, document, If_Match=read)
    assert "urn:ngsi-ld:Room:214" in detail and "If-Match" in detail
    assert await tag(api) == before


async def test_of_edits_made_at_once_with_one_tag_exactly_one_is_done(api: Api) -> None:
    read = await tag(api)
    answers = await asyncio.gather(
        *(api.ask("PATCH", ONE, {"temperature": {"value": n}}, If_Match=read) for n in range(30, 50))
    )
    assert sorted(answer.status for answer in answers) == [204] + [412] * 19
    won = next(n for n, answer in enumerate(answers, 30) if answer.status == 204)
    assert (await api.ask("GET", ONE, status=200)).json()["temperature"]["value"] == won


async def test_any_representations_tag_names_the_version_and_a_star_names_them_all(api: Api) -> None:
    for path, headers in [(ONE, {"Accept": LD}), (ONE + "?format=simplified", {}), (ONE, {"Accept_Encoding": "gzip"})]:
        read = await tag(api, path, **headers)
        await api.ask("PATCH", ONE, {"temperature": NEW}, status=204, If_Match=f'"other", {read}')
        await change(api, 1)
    await api.ask("PATCH", ONE, {"temperature": NEW}, status=204, If_Match="*")


async def test_a_weak_tag_or_one_of_another_make_matches_nothing(api: Api) -> None:
    read = await tag(api)
    for wanted in (f"W/{read}", '"abc"', '""', f'"{read[1:-1].upper()}"', '"' + "f" * 40 + '-x"'):
        await api.problem(412, "PreconditionFailed", "PATCH", ONE, {"temperature": NEW}, If_Match=wanted)


@pytest.mark.parametrize("header", ["", "abc", '"abc', '"abc" def', ","])
async def test_what_is_no_list_of_tags_is_refused(api: Api, header: str) -> None:
    await api.problem(400, "InvalidRequest", "DELETE", ONE, If_Match=header)


async def test_an_entity_that_is_not_there_is_not_found_whatever_the_condition(api: Api) -> None:
    for name in ("If_Match", "If_None_Match"):
        await api.problem(404, "ResourceNotFound", "DELETE", "/entities/urn:x:none", **{name: "*"})


async def test_a_replacement_that_must_not_replace_is_refused(api: Api) -> None:
    document = {"type": "Room", "temperature": NEW}
    await api.problem(412, "PreconditionFailed", "PUT", ONE, document, If_None_Match="*")
    await api.problem(412, "PreconditionFailed", "PUT", ONE, document, If_None_Match=await tag(api))
    await api.ask("PUT", ONE, document, status=204, If_None_Match='"other"')


async def test_a_change_that_changes_nothing_keeps_the_tag_and_any_other_makes_a_new_one(api: Api) -> None:
    seen = [await tag(api)]
    await api.ask("PATCH", ONE, {}, status=204)
    assert await tag(api) == seen[0]
    for value in (1, 2):
        await change(api, value)
        seen.append(await tag(api))
    await api.ask("DELETE", ONE, status=204)
    await api.ask("POST", "/entities", ROOM, status=201)
    seen.append(await tag(api))
    assert len(set(seen)) == 4


@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_who_has_the_representation_is_not_sent_it_again(api: Api, method: str, coding: str) -> None:
    first = await api.ask(method, ONE, status=200, Accept_Encoding=coding)
    read = first.headers["ETag"]
    assert first.headers.get("Content-Encoding", "identity") == coding
    for known in (read, f"W/{read}", f'"other", {read}', "*"):
        again = await api.ask(method, ONE, status=304, If_None_Match=known, Accept_Encoding=coding)
        assert again.body == b""
        assert again.headers["Vary"] == first.headers["Vary"]
    assert again.headers["ETag"][:-1].removesuffix("-gz") == read[:-1].removesuffix("-gz")
    await change(api, 30)
    await api.ask(method, ONE, status=200, If_None_Match=read, Accept_Encoding=coding)


async def test_the_tag_of_one_representation_is_no_other_representations(api: Api) -> None:
    asked: list[tuple[str, dict[str, str]]] = [
        (ONE, {}),
        (ONE, {"Accept": LD}),
        (ONE, {"Accept": "application/geo+json"}),
        (ONE, {"Accept": "application/geo+json", "Prefer": "body=json"}),
        (ONE + "?format=simplified", {}),
        (ONE + "?format=concise", {}),
        (ONE + "?options=sysAttrs", {}),
        (ONE + "?pick=temperature", {}),
        (ONE, {"Accept_Encoding": "gzip"}),
    ]
    tags = [await tag(api, path, **{"Accept_Encoding": "identity", **headers}) for path, headers in asked]
    assert len(set(tags)) == len(asked)
    for (path, headers), own in zip(asked[:-1], tags, strict=False):
        others = ", ".join(other for other in tags[:-1] if other != own)
        await api.ask("GET", path, status=200, If_None_Match=others, **headers)


async def test_an_answer_that_is_no_entity_has_no_tag(api: Api) -> None:
    assert "ETag" not in (await api.ask("GET", "/entities?type=Room", status=200)).headers
    assert "ETag" not in (await api.ask("GET", "/entities/urn:x:none", status=404)).headers
