"""What leaves the registry as CSV, JSON or YAML comes back as it was, whatever people call their things."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.cli.files import Unreadable, as_yaml, read_files
from broker.devices.model import Device, DeviceModel, Output, Quantity, VirtualSensor
from broker.devices.registry import from_user, to_body
from broker.errors import InvalidRequest
from broker.pipeline.registry.columns import columns, from_cell, to_cell
from broker.pipeline.registry.csv_text import BOM, read_csv, write_csv
from broker.pipeline.registry.edits import merged

TEXTS = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.sampled_from(
        ["no", "0012", "12e45678", "1.5e+3", "2026-01-31", "=1+1", "<<", "~", "'", '"', "a;b", "\r", " å\n"]
    ),
)
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,8}", fullmatch=True)
IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,20}", fullmatch=True)
QUANTITIES = st.sampled_from(["temperature", "humidity", "co2"])
OUTPUTS = st.builds(
    Output,
    quantity=QUANTITIES,
    attribute=st.one_of(NAMES, TEXTS),
    channel=st.one_of(st.just(""), TEXTS),
    unit=st.one_of(st.none(), TEXTS),
    entity=st.one_of(st.none(), TEXTS),
)
MODELS = st.builds(
    DeviceModel,
    id=IDS,
    vendor=TEXTS,
    name=TEXTS,
    codec=st.just("elsys"),
    network=st.sampled_from(["lorawan", "nb-iot"]),
    f_ports=st.lists(st.integers(1, 255), max_size=3).map(tuple),
    expected_interval_seconds=st.one_of(st.none(), st.integers(1, 10**9)),
    quantities=st.lists(
        st.builds(Quantity, quantity=QUANTITIES, unit=TEXTS, channel=TEXTS, source=TEXTS), max_size=2
    ).map(tuple),
)
SENSORS = st.builds(
    VirtualSensor,
    id=IDS,
    name=TEXTS,
    entity=TEXTS,
    entity_type=TEXTS,
    outputs=st.lists(OUTPUTS, max_size=3).map(tuple),
    note=TEXTS,
    managed_by=TEXTS,
)
DEVICES = st.builds(Device, id=IDS, model=TEXTS, name=TEXTS, note=TEXTS)
THINGS = st.one_of(
    MODELS.map(lambda thing: ("models", thing)),
    SENSORS.map(lambda thing: ("virtual-sensors", thing)),
    DEVICES.map(lambda thing: ("devices", thing)),
)


def sensor(**of_output: str) -> VirtualSensor:
    output = from_user({"quantity": "co2", "attribute": "co2", **of_output}, Output, "output")
    return VirtualSensor(id="s", name="", entity="", entity_type="", outputs=(output,))


def table_of(kind: Any, things: list[Any], *, excel: bool) -> bytes:
    table = columns(kind)
    rows = [[to_cell(cell, to_body(one).get(name), comma=excel) for name, cell in table.items()] for one in things]
    text = write_csv([list(table), *rows], separator=";" if excel else ",")
    return ((BOM if excel else "") + text).encode()


@given(st.lists(THINGS, min_size=1, max_size=4), st.booleans())
@example([("virtual-sensors", sensor(channel="\x1f"))], False)
@example([("virtual-sensors", sensor(entity=""))], False)
@example([("virtual-sensors", sensor(unit=""))], False)
@example([("virtual-sensors", sensor(unit="C62", channel="1"))], False)
def test_a_thing_comes_back_from_its_row_as_it_was(things: list[tuple[Any, Any]], excel: bool) -> None:
    kind = things[0][0]
    same = [thing for each, thing in things if each == kind]
    table = columns(kind)
    (_, headings), *lines = read_csv(table_of(kind, same, excel=excel), table.keys())
    assert [number for number, _ in lines] == list(range(2, 2 + len(same)))
    for thing, (_, cells) in zip(same, lines, strict=True):
        document = {name: from_cell(name, table[name], cell) for name, cell in zip(headings, cells, strict=True)}
        own = {name: value for name, value in document.items() if name in to_body(thing)}
        assert from_user(merged({}, own), type(thing), kind) == thing


@given(st.lists(THINGS, min_size=1, max_size=4))
@example([("devices", Device(id="12e45678", model="0012", name="no", note="\x85\u2028\ufeff"))])
def test_a_thing_comes_back_from_a_file_as_it_was(things: list[tuple[Any, Any]]) -> None:
    documents = json.loads(json.dumps([to_body(thing) for _, thing in things]))
    with TemporaryDirectory() as folder:
        for name, text in (("city.yaml", as_yaml(documents)), ("city.json", json.dumps(documents))):
            file = Path(folder) / name
            file.write_bytes(text.encode())
            assert [document.content for document in read_files([file])] == documents


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), NAMES),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=8,
)
OBJECTS = st.dictionaries(NAMES, JSON, max_size=4)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    return value


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_does_what_rfc_7396_says(target: dict[str, Any], patch: dict[str, Any]) -> None:
    made = merged(target, patch)
    assert merged(made, patch) == made
    assert merged({}, patch) == without_nulls(patch)
    assert merged(target, {}) == target
    for name, value in patch.items():
        if value is None:
            assert name not in made
        elif not isinstance(value, dict):
            assert made[name] == value
    for name in target.keys() - patch.keys():
        assert made[name] == target[name]


@given(st.binary(max_size=60))
def test_any_bytes_are_rows_or_a_refusal(data: bytes) -> None:
    for body in (data, b"id;name\n" + data):
        try:
            assert all(isinstance(cell, str) for _, cells in read_csv(body, ("id", "name")) for cell in cells)
        except InvalidRequest as error:
            assert error.detail.endswith(".")


@given(
    st.one_of(
        st.binary(max_size=60),
        st.text(max_size=60).map(str.encode),
        st.text("a: -{}[]&*!|>'\"\n#", max_size=30).map(str.encode),
    )
)
@example(b"a: &a [*a]\n")
@example(b"[" * 5000)
@example(b"? {a: b}\n: c\n")
def test_any_file_is_documents_or_a_refusal_that_names_it(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        for name in ("x.yaml", "x.json"):
            file = Path(folder) / name
            file.write_bytes(data)
            try:
                assert all(isinstance(document.content, dict) for document in read_files([file]))
            except Unreadable as error:
                assert str(error).startswith(str(file))


@pytest.mark.parametrize(
    "text",
    [
        "id: !!binary aGk=",
        "id: !!timestamp 2026-01-01",
        "id: !!set {a}",
        "id: !!bool maybe",
        "id: !!int ''",
        "id: &a [*a]",
    ],
)
def test_a_file_with_what_json_does_not_have_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "city.yaml").write_text(text, "utf-8")
    with pytest.raises(Unreadable, match=r"city\.yaml"):
        list(read_files([tmp_path / "city.yaml"]))


@pytest.mark.parametrize(
    ("cell", "text", "value"),
    [
        ("number", "21,5", 21.5),
        ("number", "21.5", 21.5),
        ("number", "-3", -3),
        ("integer", "600,0", 600),
        ("boolean", "SANT", True),
        ("boolean", "nej", False),
        ("outputs", "temperature humidity co2@2=indoorCo2", None),
    ],
)
def test_a_cell_is_read_as_people_and_spreadsheets_write_it(cell: Any, text: str, value: Any) -> None:
    read = from_cell("x", cell, text)
    if cell == "outputs":
        assert read == [
            {"quantity": "temperature", "attribute": "temperature"},
            {"quantity": "humidity", "attribute": "relativeHumidity"},
            {"quantity": "co2", "attribute": "indoorCo2", "channel": "2"},
        ]
    else:
        assert read == value
