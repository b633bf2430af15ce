"""From a checkout of the device repository to values in an entity: import, register, an uplink."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from broker.cli.main import main
from broker.clock import iso
from tests.support.broker import BrokerProcess, Refused
from tests.support.city import START, dev_eui, room, uplink

SCRIPT = """
function decodeUplink(input) {
  if (input.fPort !== 2) return { errors: ["unknown fPort"] };
  var t = (input.bytes[0] << 24 >> 16) | input.bytes[1];
  return { data: { TempC: t / 10, Hum: input.bytes[2], BatV: 3.6, air: { co2: { value: 400, unit: "ppm" } }, note: "21" } };
}
"""
FILES = {
    "index.yaml": "vendors:\n  - {id: acme, name: Acme AB}\n  - {id: unlisted, name: Unlisted}\n",
    "acme/index.yaml": "endDevices: [thermo, plain, broken, gone, on]\n",
    "acme/thermo.yaml": "name: Thermo\nfirmwareVersions:\n  - version: '1'\n    profiles:\n      US902-928: {id: p, codec: none}\n"
    "      EU863-870: {id: p, codec: thermo-codec}\n",
    "acme/plain.yaml": "name: Plain\nfirmwareVersions:\n  - version: '1'\n    profiles:\n      EU863-870: {id: p}\n",
    "acme/broken.yaml": "name: Broken\nfirmwareVersions:\n  - version: '1'\n    profiles:\n      EU863-870: {id: p, codec: broken-codec}\n",
    "acme/on.yaml": "name: [",
    "acme/broken-codec.yaml": "uplinkDecoder: {fileName: broken.js}\n",
    "acme/broken.js": "function decodeUplink(input) {",
    "acme/thermo-codec.yaml": """\
uplinkDecoder:
  fileName: thermo.js
  examples:
    - description: -5 °C
      input: {fPort: 2, bytes: [0xff, 0xce, 40]}
      output: {data: {TempC: -5, Hum: 40, BatV: 3.6, air: {co2: {value: 400, unit: ppm}}, note: '21'}}
    - description: something else
      input: {fPort: 3, bytes: [0]}
      output: {errors: [unknown port]}
""",
    "acme/thermo.js": SCRIPT,
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / "checkout" / "vendor" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    return tmp_path / "checkout"


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[BrokerProcess]:
    made = BrokerProcess(f"sqlite:///{tmp_path}/knutpunkt.db", tmp_path)
    await made.start()
    yield made
    await made.kill()


def run(*arguments: str, url: str = "http://127.0.0.1:9", status: int = 0) -> Result:
    result = CliRunner().invoke(main, arguments, env={"KNUTPUNKT_URL": url}, catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result


def test_a_dry_run_shows_what_was_recognised_and_what_is_left_out(checkout: Path) -> None:
    output = run("model", "import-ttn", str(checkout), "--dry-run").output
    lines = [line.split() for line in output.splitlines()]
    assert ["ttn-acme-thermo", "1", "of", "2", "TempC", "temperature", "CEL", "-"] in lines
    assert any(line[-4:] == ["air.co2.value", "co2", "59", "-"] for line in lines)
    assert any(line[-4:] == ["BatV", "batteryVoltage", "VLT", "-"] for line in lines)
    assert "note" not in output.split()
    assert "acme/broken: left out: The script does not run: SyntaxError" in output
    assert "vendor/acme/gone.yaml: No such file" in output
    assert "vendor/acme/on.yaml: not valid YAML" in output
    assert "1 models, 1 devices without a codec, 1 left out." in output


def test_a_folder_that_is_no_checkout_and_a_vendor_that_is_not_there_are_said(tmp_path: Path, checkout: Path) -> None:
    assert "is no checkout of the device repository" in run("model", "import-ttn", str(tmp_path), status=1).output
    assert (
        "has no end device of nobody"
        in run("model", "import-ttn", str(checkout), "--vendor", "nobody", "--dry-run", status=1).output
    )


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "a/b"])
def test_names_do_not_lead_out_of_the_checkout(checkout: Path, name: str) -> None:
    (checkout / "vendor/acme/thermo-codec.yaml").write_text(f"uplinkDecoder: {{fileName: '{name}'}}\n", "utf-8")
    (checkout / "vendor/acme/index.yaml").write_text(f"endDevices: [thermo, '{name}']\n", "utf-8")
    (checkout.parent / "secret").write_text("function decodeUplink(input) { return {data: {}}; }", "utf-8")
    output = run("model", "import-ttn", str(checkout), "--dry-run").output
    assert "acme/thermo: left out: " in output
    assert "is no name of a file in the repository" in output


async def test_what_was_imported_decodes(checkout: Path, broker: BrokerProcess) -> None:
    async def imported() -> str:
        return (await asyncio.to_thread(run, "model", "import-ttn", str(checkout), url=broker.url)).output

    assert "Registered: 1 created, 0 changed" in await imported()
    assert "0 created, 0 changed, 1 left as they are" in await imported()
    _, model = await broker.ask("GET", "/api/v1/device-models/ttn-acme-thermo")
    assert (model["codec"], model["script"]) == ("javascript", SCRIPT)
    outputs = [{"quantity": "temperature", "attribute": "temperature"}, {"quantity": "co2", "attribute": "co2"}]
    sensor = {"name": "Room 1", "entity": room(1), "entityType": "IndoorEnvironmentObserved", "outputs": outputs}
    await broker.ask("PUT", "/api/v1/virtual-sensors/room-1", sensor)
    await broker.ask("PUT", f"/api/v1/devices/{dev_eui(1)}", {"model": "ttn-acme-thermo"})
    await broker.ask("POST", "/api/v1/swaps", {"virtualSensor": "room-1", "device": dev_eui(1), "at": iso(START - 1)})

    async def send(payload: bytes, f_cnt: int, f_port: int = 2) -> dict[str, str]:
        message = json.loads(uplink(1, payload, START + f_cnt, f_cnt=f_cnt, f_port=f_port))
        _, receipt = await broker.ask("POST", "/api/v1/uplinks/chirpstack?event=up", message)
        found: dict[str, str] = receipt
        return found

    assert (await send(b"\xff\xce\x28", 1))["outcome"] == "applied"
    _, entity = await broker.ask("GET", f"/ngsi-ld/v1/entities/{room(1)}")
    assert (entity["temperature"]["value"], entity["co2"]["value"]) == (-5, 400)
    refused = await send(b"\x00", 2, f_port=3)
    assert "The script says: unknown fPort" in json.dumps(refused)


async def test_a_model_needs_a_script_with_this_codec_and_only_with_it(broker: BrokerProcess) -> None:
    for codec, script in (("javascript", ""), ("elsys", "function Decode() {}"), ("javascript", "//" + "x" * 300_000)):
        with pytest.raises(Refused) as refused:
            model = {"vendor": "V", "name": "N", "codec": codec, "script": script}
            await broker.ask("PUT", "/api/v1/device-models/m", model)
        assert refused.value.status == 400
        assert "script" in str(refused.value)


LAUGHS = "\n".join(f"l{n}: &l{n} [*l{n - 1}, *l{n - 1}, *l{n - 1}, *l{n - 1}]" for n in range(1, 30))


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("index.yaml", "vendors: [[], x, {id: acme}]", "a vendor must be an object"),
        ("index.yaml", "vendors: [{id: ../acme}, {id: acme}]", "is no name of a file"),
        ("acme/index.yaml", "endDevices: {a: b}", "'endDevices' must be a list"),
        ("acme/thermo.yaml", "name: T\nfirmwareVersions: 3", "'firmwareVersions' must be a list"),
        ("acme/thermo.yaml", "name: T\nsensors: true", "'sensors' must be a list"),
        ("acme/thermo.yaml", "name: !!bool maybe", "not valid YAML"),
        ("acme/thermo.yaml", "name: !!binary aGk=", "not valid YAML"),
        ("acme/thermo.yaml", f"l0: &l0 [x]\n{LAUGHS}\nname: *l29", "its aliases have no end"),
        ("acme/thermo.yaml", "name: &a [*a]", "its aliases have no end"),
        ("acme/thermo-codec.yaml", "uplinkDecoder: {fileName: thermo.js, examples: 1}", "'examples' must be a list"),
        ("acme/thermo.js", "function decodeUplink(i) { return {data: {}}; }\x00", "without the character U+0000"),
    ],
)
def test_a_file_that_is_not_as_the_repository_has_it_is_named_and_the_others_are_read(
    checkout: Path, file: str, text: str, said: str
) -> None:
    (checkout / "vendor" / file).write_text(text, "utf-8")
    output = run("model", "import-ttn", str(checkout), "--dry-run").output
    assert said in output
    assert "left out." in output
