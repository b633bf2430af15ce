"""What people bring in files: the registry as CSV, JSON and YAML, places as CSV and GeoJSON, a checkout of the device repository."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import orjson
from hypothesis import strategies as st

from broker.api.management.rows import MEMBERS, from_csv, from_json
from broker.cli.files import Unreadable, as_yaml, read_files
from broker.cli.ttn.guess import guess
from broker.cli.ttn.models import Tried
from broker.cli.ttn.read import EndDevice, UnreadableFile, codecs, devices
from broker.codecs.base import CodecError
from broker.config import Limits
from broker.devices.placing import TIES
from broker.errors import BadRequestData, BrokerError, InvalidRequest
from broker.jsonio import parse_json
from broker.jsonld.context import Context
from broker.ngsild.parse import DEFAULT_RULES
from broker.pipeline.registry.columns import columns
from broker.pipeline.registry.rows import RowKind
from broker.places.containment import Vocabulary
from broker.places.geojson import read_geojson
from broker.places.given import Options, parse_rename
from broker.places.plan import plan
from broker.places.table import decode, read_table
from tests.fuzz.inputs import edited, edited_json, edited_text, texts, values
from tests.fuzz.target import Target
from tests.unit.jsonld.contexts import CORE

LIMITS: Final = Limits()
BAD: Final = (BadRequestData, InvalidRequest)
WORDS: Final = Vocabulary(TIES, frozenset())
KINDS: Final = tuple(MEMBERS.values())
TABLES: Final[dict[RowKind, bytes]] = {
    "models": b'id;vendor;name;codec;fPorts;quantities\nm;V;M;elsys;[5];"[{""quantity"":""co2""}]"\n',
    "virtual-sensors": b"sep=,\nid,name,entity,entityType,outputs\ns,Rum,urn:x:1,Room,temperature>temperature co2>co2:1\n",
    "devices": "id,model,name,virtualSensor,since\nA81758FFFE03F6C2,m,Månen,s,2026-01-01T00:00:00Z\n".encode(),
    "bindings": b"device\tvirtualSensor\tvalidFrom\tvalidTo\tstartReadings\na1\ts\t2026-01-01T00:00:00Z\t\t{}\n",
}
_CELLS: Final = [
    ";",
    ",",
    "\t",
    '"',
    '""',
    "\n",
    "\r\n",
    "\r",
    "id",
    "NaN",
    "[",
    "{",
    "]",
    "1e999",
    "[[[[" * 60,
    "ja",
    "1,5",
    "\x00",
    "\ufeff",
]
tables = st.tuples(
    st.sampled_from(KINDS),
    st.one_of(
        *(
            edited_text([table.decode()], _CELLS).map(lambda text: text.encode("utf-8", "replace"))
            for table in TABLES.values()
        ),
        *(edited([table]) for table in TABLES.values()),
    ),
)
REGISTRY: Final = orjson.dumps(
    {
        "models": [{"id": "m", "vendor": "V", "name": "M", "codec": "object", "quantities": [{"quantity": "co2", "source": "a"}]}],
        "virtualSensors": [
            {
                "id": "s", "name": "S", "entity": "urn:x:1", "entityType": "Room",
                "outputs": [{"quantity": "co2", "attribute": "co2", "calibration": {"offset": 1.5}, "checks": {"minimum": 1}}],
                "derived": [{"kind": "formula", "attribute": "a", "formula": "co2 * 2"}], "watch": {"batteryPercent": 20},
                "thresholds": [{"id": "t", "quantity": "co2", "above": 1000, "severity": "high"}], "personal": {"retentionDays": 3, "purpose": "x"},
            }
        ],
        "devices": [{"id": "a1", "model": "m", "virtualSensor": "s", "since": "2026-01-01T00:00:00Z"}],
        "bindings": [{"device": "a1", "virtualSensor": "s", "validFrom": "2026-01-01T00:00:00Z", "startReadings": {"volume": 1}}],
    }
)  # fmt: skip


def read_rows(given: tuple[RowKind, bytes]) -> None:
    read = asyncio.run(from_csv(given[1], given[0], CORE, LIMITS.import_rows))
    _said([problem.error for problem in read.problems])
    assert read.rows or read.problems or read.count == 0
    assert columns(given[0])


def read_registry(body: bytes) -> None:
    async def context(value: Any) -> Context:
        raise BadRequestData("no @context here")

    document = parse_json(body, max_depth=LIMITS.json_depth)
    read = asyncio.run(from_json(document, None, CORE, context, LIMITS.import_rows))
    _said([problem.error for problem in read.problems])


def _said(errors: list[BrokerError]) -> None:
    for error in errors:
        assert error.status < 500, error
        assert len(error.detail.encode()) < 8_000


def read_documents(given: tuple[str, bytes]) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"city{given[0]}"
        file.write_bytes(given[1])
        found = list(read_files([file]))
        as_yaml(json.loads(json.dumps([document.content for document in found])))


COLLECTION: Final = orjson.dumps(
    {
        "type": "FeatureCollection", "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3006"}},
        "features": [
            {"type": "Feature", "id": 7, "properties": {"type": "Building", "name": "Skola", "parent": {"object": "urn:x:1"}, "area": {"type": "Property", "value": 4}},
             "geometry": {"type": "Point", "coordinates": [674032, 6580822]}},
            {"type": "Feature", "id": "b", "properties": {"type": ["Beach"], "id": "b"},
             "geometry": {"type": "Polygon", "coordinates": [[[674032, 6580822], [674132, 6580822], [674132, 6580922], [674032, 6580822]]]}},
        ],
    }
)  # fmt: skip
PLACES: Final = [
    "id;type;name;parent;longitude;latitude;address.streetAddress;floorArea:number:MTK\n7;Building;Skola;;18,07;64.62;Storgatan 1;1500\n",
    'id,type,easting,northing,open:boolean,isIn:relationship,extra:json\nb,Beach,674032,6580822,ja,urn:x:1,"{""a"":1}"\n',
]
options = st.builds(
    Options,
    type=st.none() | texts | st.just("Building"),
    crs=st.sampled_from([None, "EPSG:3006", "EPSG:4326"]),
    relationship=st.none() | texts,
    rename=st.just({}) | st.dictionaries(st.sampled_from(["id", "name", "OBJEKT_ID"]) | texts, st.sampled_from(["id", "type", "a:number"]) | texts, max_size=2),
    most=st.just(50),
)  # fmt: skip


def read_features(given: tuple[bytes, Options]) -> None:
    document = parse_json(given[0], max_depth=LIMITS.json_depth)
    _planned(plan(read_geojson(document, given[1]), given[1], CORE, DEFAULT_RULES))


def read_places(given: tuple[bytes, str | None, Options]) -> None:
    body, charset, how = given
    _planned(plan(read_table(decode(body, charset), how), how, CORE, DEFAULT_RULES))


def _planned(made: Any) -> None:
    for problem in made.problems:
        assert problem.problem
        orjson.dumps(problem.problem)
        assert len(problem.problem) < 4_000
    for place in made.places:
        orjson.dumps([place.id, place.parent, place.fragment.attrs])


INDEX: Final = "vendors:\n  - {id: acme, name: Acme AB}\n"
LISTED: Final = "endDevices: [thermo, plain]\n"
THERMO: Final = "name: Thermo\nsensors: [temperature]\nfirmwareVersions:\n  - version: '1'\n    profiles:\n      EU863-870: {id: p, codec: c-codec}\n"
CODEC: Final = (
    "uplinkDecoder:\n  fileName: c.js\n  examples:\n    - description: -5 °C\n      input: {fPort: 2, bytes: [0xff, 0o17, 40]}\n"
    "      output: {data: {TempC: -5, Hum: 40.5, on: yes}}\ndownlinkEncoder: {fileName: c.js}\n"
)
SCRIPT: Final = "function decodeUplink(i) { return {data: {TempC: i.bytes[0], Hum: 40}}; }"
_YAML: Final = [
    *(": ", "- ", "{", "}", "[", "]", "&a ", "*a", "!!python/object:os.system ", "!!binary ", "? ", "|\n", "#", "---\n", "\n", "  ", "'"),
    *("null", "~", "1e999", ".inf", "0x", "0o8", "9" * 5000, "2026-01-01", "../../x", "<<: *a\n", "&b [*a, *a]", "[" * 200, "{a: " * 60),
    "a: &a [x, x]\nb: &b [*a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c]\ne: [*d, *d, *d, *d, *d, *d]\n",
]  # fmt: skip


def _yaml(text: str) -> st.SearchStrategy[str]:
    return edited_text([text], _YAML)


checkouts = st.tuples(
    *(st.just(text) | _yaml(text) for text in (INDEX, LISTED, THERMO, CODEC)),
    st.just(SCRIPT) | edited_text([SCRIPT], ["(", ")", "{", "}", "while(1);", "throw 1;"]),
)


def read_checkout(given: tuple[str, str, str, str, str]) -> None:
    """As `knutpunkt model import-ttn` does, without a broker."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "vendor" / "acme").mkdir(parents=True)
        names = ("index.yaml", "acme/index.yaml", "acme/thermo.yaml", "acme/c-codec.yaml", "acme/c.js")
        for name, text in zip(names, given, strict=True):
            (root / "vendor" / name).write_text(text, "utf-8", "replace")
        tried = Tried(root)
        for found in [*codecs(root), *devices(root)]:
            if isinstance(found, UnreadableFile):
                str(found).encode()
            elif isinstance(found, EndDevice):
                made = tried.model_of(found, "ttn-")
                assert made.model is not None or made.problem


TARGETS: Final = [
    Target("tables of the registry", tables, read_rows, (BrokerError,), 3),
    Target("registry as JSON", edited_json([REGISTRY]) | edited([REGISTRY]), read_registry, BAD, 2),
    Target(
        "files of the command line",
        st.tuples(
            st.sampled_from([".yaml", ".json"]),
            edited([CODEC.encode(), REGISTRY]) | _yaml(CODEC).map(lambda text: text.encode("utf-8", "replace")),
        ),
        read_documents,
        (Unreadable,),
    ),
    Target("places as GeoJSON", st.tuples(edited_json([COLLECTION]) | edited([COLLECTION]), options), read_features, BAD, 3),
    Target(
        "places as CSV",
        st.tuples(
            edited_text(PLACES, [*_CELLS, ":number", ":json", "longitude", "."]).map(lambda text: text.encode("utf-8", "replace"))
            | edited([text.encode() for text in PLACES]),
            st.sampled_from([None, "utf-8", "windows-1252", "utf-16", "idna", "hex", "unicode_escape", "punycode"]) | texts,
            options,
        ),
        read_places,
        BAD,
        3,
    ),
    Target("renamed columns", edited_text(["OBJEKT_ID:id,NAMN:name,YTA:a:number:MTK"], [":", ",", " "]), parse_rename, BAD),
    Target("checkouts of the device repository", checkouts, read_checkout, (UnreadableFile, CodecError), seconds=3.0),
    Target("guessed quantities", st.lists(values, max_size=3), partial(guess), ()),
]  # fmt: skip
