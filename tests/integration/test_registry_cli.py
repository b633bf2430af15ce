"""The registry from the command line, against a running broker: apply, import, export, put, delete."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from broker.cli.main import main
from tests.support.broker import BrokerProcess

Run = Callable[..., Awaitable[Result]]

CITY = """\
kind: DeviceModel
id: climate
vendor: Elsys
name: ERS
codec: elsys
quantities:
  - {quantity: temperature, unit: CEL}
  - {quantity: humidity, unit: P1}
---
kind: VirtualSensor
id: room-214
name: Älvskolan, rum 214
entity: urn:ngsi-ld:Room:214
entityType: Room
outputs:
  - {quantity: temperature, attribute: temperature}
---
kind: Device
id: 12e4567800000000
model: climate
name: no
---
kind: Binding
virtualSensor: room-214
device: 12e4567800000000
"""


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Run]:
    """Runs the command against a broker of this test's own, in a folder of its own."""
    broker = BrokerProcess(f"sqlite:///{tmp_path}/knutpunkt.db", tmp_path)
    await broker.start()
    (tmp_path / "city.yaml").write_text(CITY, "utf-8")

    async def command(*arguments: str, status: int = 0, typed: str | None = None) -> Result:
        made = [argument.replace("{}", str(tmp_path)) for argument in arguments]
        result = await asyncio.to_thread(
            CliRunner().invoke, main, made, input=typed, env={"KNUTPUNKT_URL": broker.url}, catch_exceptions=False
        )
        assert result.exit_code == status, (arguments, result.output)
        return result

    yield command
    assert await broker.stop() == 0


async def test_files_become_the_registry_and_once_applied_change_nothing(run: Run, tmp_path: Path) -> None:
    tried = await run("apply", "-f", "{}/city.yaml", "--dry-run")
    assert "+ VirtualSensor room-214" in tried.output
    assert '  + name: "Älvskolan, rum 214"' in tried.output
    assert "4 to create, 0 to change, 0 to delete." in tried.output
    assert json.loads((await run("device", "list", "--json")).output) == []
    asked = await run("apply", "-f", "{}/city.yaml", typed="n\n", status=1)
    assert "Go on?" in asked.output
    assert json.loads((await run("device", "list", "--json")).output) == []
    await run("apply", "-f", "{}/city.yaml", typed="y\n")
    device = json.loads((await run("device", "show", "12e4567800000000", "--json")).output)
    assert (device["name"], device["bindings"][0]["virtualSensor"]) == ("no", "room-214")
    again = await run("apply", "-f", "{}/city.yaml")
    assert again.output == "0 to create, 0 to change, 0 to delete.\n"


async def test_the_difference_is_shown_by_member(run: Run, tmp_path: Path) -> None:
    await run("apply", "-f", "{}/city.yaml", "--yes")
    changed = CITY.replace("rum 214", "sal 214").replace("name: no", "note: på hyllan")
    changed = changed.replace(
        "  - {quantity: temperature, attribute: temperature}\n",
        "  - {quantity: temperature, attribute: t}\n  - {quantity: humidity, attribute: relativeHumidity}\n",
    )
    (tmp_path / "city.yaml").write_text(changed, "utf-8")
    (tmp_path / "other.json").write_text(json.dumps([{"kind": "Tenant", "id": "soralva"}]))
    shown = (await run("apply", "-f", "{}/city.yaml", "-f", "{}/other.json", "--yes")).output
    assert shown.splitlines() == [
        "+ Tenant soralva",
        "~ VirtualSensor room-214",
        '  ~ name: "Älvskolan, rum 214" -> "Älvskolan, sal 214"',
        "  ~ outputs:",
        '      - {"attribute": "temperature", "quantity": "temperature"}',
        '      + {"attribute": "t", "quantity": "temperature"}',
        '      + {"attribute": "relativeHumidity", "quantity": "humidity"}',
        "~ Device 12e4567800000000",
        '  - name: "no"',
        '  + note: "på hyllan"',
        "1 to create, 2 to change, 0 to delete.",
        "Done.",
    ]
    assert "soralva" in (await run("tenant", "list")).output


async def test_another_device_in_the_file_is_a_swap_with_its_reason(run: Run, tmp_path: Path) -> None:
    await run("apply", "-f", "{}/city.yaml", "--yes")
    (tmp_path / "city.yaml").write_text(CITY.replace("12e4567800000000", "a81758fffe0d0099"), "utf-8")
    shown = await run("apply", "-f", "{}/city.yaml", "--yes", "--by", "Åsa", "--why", "battery dead")
    assert '  ~ device: "12e4567800000000" -> "a81758fffe0d0099"' in shown.output
    swaps = (await run("swaps", "room-214")).output
    assert "Åsa" in swaps
    assert "battery dead" in swaps


async def test_what_is_wrong_is_said_by_file_document_and_member_and_nothing_is_applied(
    run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "city.yaml"
    for wrong, right, said in (
        ("kind: Device\n", "kind: Devise\n", f"{file}:3:kind: it must be one of"),
        ("model: climate", "model: climat", f"{file}:3:model: 'model': there is no device model 'climat'."),
        ("entity: urn:ngsi-ld:Room:214", "entity: Room 214", f"{file}:2:entity: "),
        ("12e4567800000000\nmodel", "860123456789012\nmodel", f"{file}:3:id: 'id' must be a text, got 860123456789012"),
        ("name: ERS", "name: ERS\ncolour: red", f"{file}:1:"),
        ("name: ERS", "name: ERS\nname: EMS", f"{file}: not valid YAML at line 5, column 1: 'name' is there twice."),
        ("name: ERS", "name: !!python/object:os.system {}", f"{file}: not valid YAML at line 4"),
    ):
        file.write_text(CITY.replace(wrong, right, 1), "utf-8")
        result = await run("apply", "-f", "{}/city.yaml", "--yes", status=2)
        assert said in result.output, (right, result.output)
    assert json.loads((await run("model", "list", "--json")).output) == []


async def test_only_what_has_the_owners_mark_is_pruned(run: Run, tmp_path: Path) -> None:
    await run("apply", "-f", "{}/city.yaml", "--owner", "city", "--yes")
    await run("model", "put", "-f", "schemas/models/elsys-ers.json")
    await run("device", "put", "by-hand", "--model", "climate", "--name", "by hand")
    models = CITY.split("---\n")[0]
    (tmp_path / "city.yaml").write_text(models, "utf-8")
    assert "0 to delete" in (await run("apply", "-f", "{}/city.yaml", "--owner", "city", "--dry-run")).output
    await run("apply", "-f", "{}/city.yaml", "--prune", status=2)
    tried = await run("apply", "-f", "{}/city.yaml", "--owner", "city", "--prune", "--dry-run")
    assert tried.output.splitlines() == [
        "- Device 12e4567800000000",
        "- VirtualSensor room-214",
        "0 to create, 0 to change, 2 to delete.",
    ]
    await run("apply", "-f", "{}/city.yaml", "--owner", "city", "--prune", "--yes")
    assert [one["id"] for one in json.loads((await run("device", "list", "--json")).output)] == ["by-hand"]
    assert json.loads((await run("sensor", "list", "--json")).output) == []
    assert "elsys-ers" in (await run("model", "list", "--search", "elsys-ers")).output


async def test_what_is_exported_is_applied_elsewhere_and_changes_nothing_here(run: Run, tmp_path: Path) -> None:
    await run("apply", "-f", "{}/city.yaml", "--yes")
    await run("tenant", "create", "soralva")
    await run("export", "-o", "{}/exported.yaml")
    assert (await run("apply", "-f", "{}/exported.yaml")).output == "0 to create, 0 to change, 0 to delete.\n"
    (tmp_path / "there").mkdir()
    other = BrokerProcess(f"sqlite:///{tmp_path}/there/knutpunkt.db", tmp_path / "there")
    await other.start()
    try:
        await run("apply", "-f", "{}/exported.yaml", "--yes", "--url", other.url)
        there = (await run("export", "--url", other.url)).output
        assert there == (tmp_path / "exported.yaml").read_text("utf-8")
    finally:
        await other.stop()


async def test_a_spreadsheet_goes_in_and_out(run: Run, tmp_path: Path) -> None:
    await run("model", "put", "climate", "-f", "schemas/models/elsys-ers.json", status=1)
    await run("model", "put", "-f", "schemas/models/elsys-ers.json")
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("id;model;virtualSensor;entityType\nD1;elsys-ers;s1;Room\nD2;no-such;;\n", "utf-8-sig")
    wrong = await run("import", "devices", "{}/sheet.csv", "--dry-run", status=2)
    assert "row 3: 'model': there is no device model 'no-such'." in wrong.output
    refused = await run("import", "devices", "{}/sheet.csv", status=1)
    assert "nothing was applied" in refused.output
    sheet.write_text("id;model;virtualSensor;entityType\nD1;elsys-ers;s1;Room\n", "utf-8-sig")
    done = await run("import", "devices", "{}/sheet.csv", "--by", "Åsa")
    assert done.output == "Imported: 1 rows, 1 created, 0 changed, 0 left as they are, 0 with a problem.\n"
    await run("export", "devices", "--excel", "-o", "{}/out.csv")
    assert (tmp_path / "out.csv").read_bytes().startswith("\ufeffid;model;".encode())
    again = await run("import", "devices", "{}/out.csv")
    assert "1 left as they are" in again.output
    assert (await run("export", "devices")).output.startswith("id,model,")
    await run("export", "--format", "csv", status=2)


async def test_one_thing_at_a_time(run: Run) -> None:
    await run("model", "put", "-f", "schemas/models/elsys-ers.json")
    await run("device", "put", "A1", "--model", "elsys-ers", "--name", "first")
    await run("device", "put", "A1", "--note", "moved")
    device = json.loads((await run("device", "show", "a1", "--json")).output)
    assert (device["name"], device["note"]) == ("first", "moved")
    defined = (
        "--name",
        "Room",
        "--entity",
        "urn:ngsi-ld:Room:1",
        "--type",
        "Room",
        "--output",
        "temperature=temperature",
    )
    await run("sensor", "put", "room", *defined)
    await run("swap", "room", "a1")
    refused = await run("device", "delete", "a1", "--yes", status=1)
    assert "is the virtual sensor 'room'" in refused.output
    refused = await run("model", "delete", "elsys-ers", "--yes", status=1)
    assert "in use" in refused.output
    await run("sensor", "put", "room", status=2)
    await run("device", "put", "a2", "--name", "no model", status=1)
    await run("device", "delete", "a1", typed="n\n", status=1)
    await run("device", "put", "b1", "--model", "elsys-ers", "--name", "Älvskolan")
    assert "b1" in (await run("device", "list", "--search", "älv", "--unbound", "--silent-for", "PT1H")).output
    assert "There is no such device." in (await run("device", "list", "--model", "other")).output
    assert "a1" in (await run("device", "list", "--bound")).output
    assert "room" in (await run("sensor", "list", "--type", "Room", "--bound")).output
    assert "There is no such virtual sensor." in (await run("sensor", "list", "--unbound")).output
