"""Imports end to end: any rows over HTTP on both stores, and the command as people use it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.config import StoreSettings
from tests.support.api import Api, running_broker
from tests.support.mongo import mongo_uri, mongo_url
from tests.unit.places.test_import import geometries, ids, plain, shown, tables, written

__all__ = ["mongo_uri", "mongo_url"]

TYPES = count()
"""Each example has a type of its own in the one broker."""


@pytest.fixture(params=["sqlite", "mongo"])
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    mongo = request.param == "mongo"
    url = request.getfixturevalue("mongo_url") if mongo else f"sqlite:///{tmp_path}/knutpunkt.db"
    async with running_broker(tmp_path, store=StoreSettings(url=url)) as api:
        yield api


async def imported(api: Api, body: bytes, content_type: str, rows: int, kind: str) -> dict[int, dict[str, Any]]:
    """Row -> its entity, simplified, after an import that a dry run has foretold and that a second one adds nothing to."""
    path = f"/api/v1/places/import?type={kind}"
    dry = (await api.ask("POST", f"{path}&dryRun=true", body, status=200, Content_Type=content_type)).json()
    done = (await api.ask("POST", path, body, status=200, Content_Type=content_type)).json()
    again = (await api.ask("POST", path, body, status=200, Content_Type=content_type)).json()
    assert (done["created"], again["unchanged"]) == (rows, rows)
    assert dry["places"] == done["places"]
    found = {}
    for place in done["places"]:
        answer = await api.ask("GET", f"/entities/{quote(place['id'], safe='')}?options=simplified", status=200)
        found[place["row"]] = answer.json()
    return found


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables(), st.booleans())
async def test_what_a_table_says_is_what_the_broker_answers(api: Api, rows: list[dict[str, Any]], comma: bool) -> None:
    cells = [
        {
            "id": row["id"],
            "name": row["name"],
            "parent": row["parent"],
            "area:number": shown(row["area"], comma) if row["area"] is not None else "",
            "open:boolean": {None: "", True: "true", False: "nej"}[row["open"]],
        }
        for row in rows
    ]
    body = written(cells, ";", "\r\n", "\ufeff").encode()
    found = await imported(api, body, "text/csv", len(rows), f"T{next(TYPES)}")
    urns = {row["id"]: found[at]["id"] for at, row in enumerate(rows, start=2)}
    for at, row in enumerate(rows, start=2):
        entity = found[at]
        assert entity.get("name") == (row["name"] if row["name"].strip() else None)
        assert entity.get("area") == row["area"]
        assert entity.get("open") is row["open"]
        assert entity.get("containedInPlace") == (urns[row["parent"]] if row["parent"] else None)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(ids, st.dictionaries(st.sampled_from(["name", "a", "address"]), plain), geometries),
        min_size=1,
        max_size=4,
        unique_by=lambda row: row[0],
    )
)
async def test_what_features_say_is_what_the_broker_answers(api: Api, rows: list[tuple[str, Any, Any]]) -> None:
    features = [
        {"type": "Feature", "id": key, "properties": properties, "geometry": geometry}
        for key, properties, geometry in rows
    ]
    body = json.dumps({"type": "FeatureCollection", "features": features}).encode()
    found = await imported(api, body, "application/geo+json", len(rows), f"T{next(TYPES)}")
    for at, (_, properties, geometry) in enumerate(rows, start=1):
        expected = {**properties, **({"location": geometry} if geometry is not None else {})}
        assert {name: value for name, value in found[at].items() if name not in ("id", "type")} == expected


async def knutpunkt(api: Api, folder: Path, *words: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "broker.cli.main", "place", *words, "--url", api.url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_the_command_names_every_problem_and_then_imports(tmp_path: Path) -> None:
    file = tmp_path / "rooms.csv"
    file.write_text("NR,NAMN,longitude,latitude\n1,Ett,18.1,64.6\n2,Två,118,x\n,Tre,,\n", "utf-8")
    words = ("import", str(file), "--type", "Beach", "--rename", "NR:id,NAMN:name")
    async with running_broker(tmp_path) as api:
        for extra in (("--dry-run",), ()):
            status, said = await knutpunkt(api, tmp_path, *words, *extra)
            assert status == 1
            assert "'118' and 'x' must be two numbers" in said
            assert "The row has no id" in said
        assert "nothing was written" in said
        file.write_text("NR,NAMN,longitude,latitude\n1,Ett,18.1,64.6\n", "utf-8")
        assert (await knutpunkt(api, tmp_path, *words)) == (0, "1 place: 1 created, 0 changed, 0 as they are.\n")
        status, said = await knutpunkt(api, tmp_path, "list", "--near", "18.1,64.6,10", "--json")
        assert [one["id"] for one in json.loads(said)] == ["urn:ngsi-ld:Beach:1"]
        status, said = await knutpunkt(api, tmp_path, "show", "urn:ngsi-ld:Beach:2")
        assert (status, "There is no place" in said) == (1, True)
        status, said = await knutpunkt(api, tmp_path, "show", "urn:ngsi-ld:Beach:1", "--json")
        assert json.loads(said)["place"]["name"] == "Ett"
