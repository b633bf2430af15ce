"""Messages of networks, payloads of devices, values over CoAP, commands to devices."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson
from hypothesis import strategies as st

from adapters.kept import read_kept
from adapters.members import NotUnderstood
from adapters.mqtt.networks.base import LARGEST_ARRAY, NetworkServer, Part
from adapters.mqtt.networks.known import AUTO, choice, networks
from broker.clock import SECOND, Micros, iso
from broker.codecs.base import CodecError, Measurement
from broker.codecs.downlink import check_values, encode, script_data
from broker.codecs.object import MappedObject, decode_named
from broker.codecs.quantities import quantity, quantity_names
from broker.codecs.reading import MAX_MEASUREMENTS
from broker.codecs.registry import JAVASCRIPT, LWM2M, NAMED_VALUES, OBJECT, codec, codec_names, decode
from broker.config import Limits
from broker.devices.check import check_id, check_model
from broker.devices.model import DeviceModel, Quantity
from broker.devices.registry import from_user, to_body
from broker.errors import BadRequestData
from broker.pipeline.intake import Downlink, NotSent, SensedValue, Unread, Uplink
from tests.fuzz.inputs import any_texts, edited, edited_json, finite, numbers, texts, values
from tests.fuzz.target import Target
from tests.support.recorded import BEACHES, CITY, FOLDER, MESSAGES, RECEIVED, SILENT

LIMITS: Final = Limits()
KNOWN: Final = networks([CITY, BEACHES])
ALL: Final = choice(AUTO, (), KNOWN)
TOPICS: Final = sorted(
    {each.topic for each in MESSAGES if each.topic} | {topic for _, _, topic in SILENT} | {"beaches/all"}
)
EVENTS: Final = ["up", "join", "ack", "txack", "error", "log", "status", "location", "", "nonsense", "__proto__"]
_LEVELS: Final = sorted({level for topic in TOPICS for level in topic.split("/")})
topics = (
    st.sampled_from(TOPICS)
    | st.lists(st.sampled_from(_LEVELS) | texts, max_size=14).map("/".join)
    | st.builds(
        lambda topic, at, level: "/".join(level if n == at else each for n, each in enumerate(topic.split("/"))),
        st.sampled_from(TOPICS),
        st.integers(0, 10),
        texts,
    )
)


def messages(network: str) -> st.SearchStrategy[tuple[str, str, bytes]]:
    """(topic, event, body) of a network: recorded ones, edited; and anything."""
    own = [each for each in MESSAGES if each.network == network]
    bodies = [(each.topic, each.event, each.body) for each in own]
    bodies += [(topic, "up", (FOLDER / file).read_bytes()) for name, file, topic in SILENT if name == network]
    if network == BEACHES.name:
        bodies.append(("beaches/all", "up", (FOLDER / "generic/list.json").read_bytes()))
    found = []
    for topic, event, body in bodies:
        here = st.tuples(st.just(topic or TOPICS[0]), st.just(event))
        try:
            json.loads(body)
        except ValueError:
            changed = edited([body])
        else:
            changed = edited_json([body]) | edited([body])
        found.append(st.builds(lambda where, body: (*where, body), here, changed))
        found.append(st.tuples(topics, st.sampled_from(EVENTS), st.just(body)))
    anything = st.tuples(topics, st.sampled_from(EVENTS) | texts, st.binary(max_size=100) | values.map(_json))
    return st.one_of(*found, anything)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def read_message(server: NetworkServer, given: tuple[str, str, bytes]) -> None:
    """Recognised, read over MQTT and HTTP, read again when it is kept."""
    topic, event, body = given
    refused: NotUnderstood | None = None
    try:
        ALL.of(topic, body)
    except NotUnderstood as error:
        refused = error
    for way, read, where in (("mqtt", server.read, topic), ("http", server.read_http, event)):
        if read is None:
            continue
        try:
            parts = read(where, body, source=f"{way}:{server.name}", received_at=RECEIVED, limits=LIMITS)
        except NotUnderstood as error:
            refused = error
            continue
        check_parts(parts, body)
    if refused is not None:
        raise refused


def check_parts(parts: Sequence[Part], body: bytes) -> None:
    """What a network's reader gives can be stored, and be read again."""
    assert len(parts) <= LARGEST_ARRAY
    for part in parts:
        assert len(part.raw) <= len(body)
        if isinstance(part, Unread):
            assert part.reason
            part.reason.encode()
            continue
        check_id(part.device_id, "device")
        assert part.device_id == part.device_id.lower()
        assert iso(part.observed_at)
        said = msgspec.json.encode(msgspec.structs.replace(part, decoded=None, raw=b"", payload=None))
        assert len(said) <= 4 * len(body) + 4000
        orjson.dumps(part.decoded)
        for value in (part.battery_percent, *(part.location or ())):
            assert value is None or math.isfinite(value)
        if part.battery_percent is not None:
            assert 0 <= part.battery_percent <= 100
        for model in (AN_OBJECT, SOME_VALUES, A_SCRIPTLESS):
            measured(model, part)
        again = read_kept(
            KNOWN,
            source=part.source,
            device_id=part.device_id,
            raw=part.raw,
            meta=part.meta,
            received_at=RECEIVED,
            limits=LIMITS,
        )
        assert again.device_id == part.device_id


AN_OBJECT: Final = DeviceModel(
    id="m", vendor="V", name="M", codec=OBJECT, quantities=(Quantity(quantity="temperature", source="temperature"),)
)
SOME_VALUES: Final = msgspec.structs.replace(AN_OBJECT, codec=NAMED_VALUES)
A_SCRIPTLESS: Final = DeviceModel(id="m", vendor="V", name="M", codec="elsys")


def measured(model: DeviceModel, uplink: Uplink) -> None:
    """A device model makes measurements of it, or a CodecError."""
    try:
        found = decode(
            model,
            payload=uplink.payload,
            f_port=uplink.f_port,
            decoded=uplink.decoded,
            values=uplink.values,
            at=uplink.observed_at,
        )
    except CodecError as error:
        str(error).encode()
    else:
        check_measurements(found, units=model.codec == "elsys")


def check_measurements(found: list[Measurement], *, units: bool = True) -> None:
    """Of known quantities, in their units and kinds, finite; not too many; at times that can be written."""
    assert len(found) <= MAX_MEASUREMENTS
    for one in found:
        info = quantity(one.quantity)
        assert not units or one.unit == info.unit
        assert iso(one.observed_at)
        assert len(one.channel) <= 60
        if info.kind == "number":
            assert isinstance(one.value, int | float)
            assert not isinstance(one.value, bool)
            assert math.isfinite(one.value)
            assert isinstance(one.value, float) or -(1 << 63) <= one.value < 1 << 63
        else:
            assert isinstance(one.value, bool if info.kind == "boolean" else str)
    orjson.dumps([one.value for one in found])


VECTORS: Final = [
    (one["codec"], bytes.fromhex(one["bytes"]), one["fPort"])
    for file in sorted((FOLDER / "codecs").glob("*.json"))
    for one in orjson.loads(file.read_bytes())["vectors"]
]
OF_BYTES: Final = [name for name in codec_names() if name not in (OBJECT, NAMED_VALUES, JAVASCRIPT, LWM2M)]


def payloads() -> st.SearchStrategy[tuple[str, int, bytes, Micros]]:
    """(codec, fPort, payload, time): vendors' examples, edited, to their codec or another."""
    by_codec: dict[str, tuple[list[bytes], set[int]]] = {}
    for name, payload, f_port in VECTORS:
        seeds, ports = by_codec.setdefault(name, ([], set()))
        seeds.append(payload)
        ports.add(f_port)
    everything = [payload for _, payload, _ in VECTORS]
    times = st.sampled_from([RECEIVED, 0, 253_402_300_799 * SECOND, -SECOND])

    def of(name: str) -> st.SearchStrategy[tuple[str, int, bytes, Micros]]:
        seeds, usual = by_codec.get(name, (everything, {1}))
        ports = st.sampled_from(sorted(usual)) | st.integers(0, 255)
        return st.tuples(st.just(name), ports, edited(seeds) | edited(everything), times)

    return st.sampled_from(OF_BYTES).flatmap(of)


def read_payload(given: tuple[str, int, bytes, Micros]) -> None:
    name, f_port, payload, at = given
    check_measurements(codec(name).decode(payload, f_port, at))


rows = st.lists(
    st.builds(
        Quantity,
        quantity=st.sampled_from(sorted(quantity_names())),
        source=st.sampled_from(["a", "a.b", "a.0", "0.a", "a.b.0.c", "__proto__", ".", "..", "a.", "é", "v", "urn:x:v"])
        | texts,
        unit=st.sampled_from(["", "CEL", "P1", "KEL", "nonsense"]),
        channel=st.sampled_from(["", "1"]),
    ),
    max_size=4,
).map(tuple)
sensed = st.lists(
    st.builds(
        SensedValue,
        name=st.sampled_from(["a", "a.b", "urn:dev:x:v", "v", "/v"]) | texts,
        value=finite | st.booleans() | texts,
        unit=st.sampled_from(["", "Cel", "%RH", "K", "V", "mV", "nonsense", "%"]) | texts,
        at=st.none() | st.integers(0, 253_402_300_799 * SECOND),
    ),
    max_size=6,
)
members = st.dictionaries(st.sampled_from(["a", "b", "a.b", "__proto__", "v", "0"]) | texts, values, max_size=4)


def read_object(given: tuple[tuple[Quantity, ...], Any]) -> None:
    found = MappedObject(given[0]).decode_object(given[1], RECEIVED)
    check_measurements(found, units=False)


def read_named(given: tuple[tuple[Quantity, ...], list[SensedValue]]) -> None:
    check_measurements(decode_named(given[0], given[1], RECEIVED), units=False)


number_parts = st.fixed_dictionaries(
    {"parameter": st.sampled_from(["p", "p", "q", ""])},
    optional={
        "checksum": st.sampled_from(["", "crc16-modbus"]),
        "size": st.integers(1, 8) | st.integers(-1, 9),
        "order": st.sampled_from(["big", "little"]),
        "signed": st.booleans(),
        "scale": st.sampled_from([1, 10, 0.1, -1, 0, 1e-9, 1e9, 1e300, 0.3]) | finite,
    },
)
rules = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["integer", "number", "boolean", "choice"]),
        "minimum": st.just(0) | finite,
        "maximum": st.just(100) | finite,
        "default": st.just(5) | finite | st.booleans() | texts,
        "choices": st.dictionaries(
            st.sampled_from(["on", "off", ""]), st.integers(0, 255) | st.integers(-(2**65), 2**65), max_size=2
        ),
    },
)
parts = (
    st.sampled_from(["ff", "ff03", "", "zz"])
    | number_parts
    | st.just({"parameter": "p"})
    | st.just({"checksum": "crc16-modbus", "size": 2})
)
templates = st.fixed_dictionaries(
    {
        "fPort": st.just(85) | st.integers(-1, 300),
        "payload": st.lists(parts, min_size=1, max_size=4),
        "parameters": st.fixed_dictionaries({"p": rules}),
    },
    optional={"confirmed": st.booleans()},
)
scripted = st.fixed_dictionaries(
    {"encoder": st.just("script"), "parameters": st.fixed_dictionaries({"p": rules})},
    optional={
        "data": st.dictionaries(texts, values | st.just({"parameter": "p"}), max_size=3).map(
            lambda data: data | {"x": [{"parameter": "p"}]}
        )
    },
)
commands = (templates | scripted).map(
    lambda template: {
        "id": "m",
        "vendor": "V",
        "name": "M",
        "codec": "javascript" if "encoder" in template else "elsys",
        "script": "function Encode() {}" if "encoder" in template else "",
        "commands": {"set": template},
    }
)
MODELS: Final = [
    document
    for file in sorted((Path(__file__).parents[2] / "schemas" / "models").glob("*.json"))
    if (document := orjson.loads(file.read_bytes())).get("commands")
]
told_values = st.lists(
    st.integers(0, 3000) | st.booleans() | st.sampled_from(["on", "off", "open"]) | finite, min_size=1, max_size=3
)
told: st.SearchStrategy[dict[str, Any]] = st.just({}) | st.dictionaries(
    st.sampled_from(["p", "q", "__proto__"]) | any_texts,
    numbers | st.booleans() | st.sampled_from(["on", "off"]) | any_texts | st.none() | st.just([]),
    max_size=3,
)


def command(given: tuple[Any, list[Any], dict[str, Any]]) -> None:
    """A model of a user; if it is taken, its commands with whatever parameters."""
    document = orjson.loads(given[0]) if isinstance(given[0], bytes) else given[0]
    model = from_user(document, DeviceModel, "device model")
    check_model(model)
    kept = json.dumps(to_body(model))
    assert json.dumps(to_body(from_user(json.loads(kept), DeviceModel, "device model"))) == kept
    for name, template in model.commands.items():
        chosen = {each: given[1][n % len(given[1])] for n, each in enumerate(template.parameters)} | given[2]
        check_values(name, chosen)
        if template.encoder:
            orjson.dumps(script_data(name, template, chosen))
            continue
        assert 1 <= len(encode(name, template, chosen)) <= 242


def write_downlink(given: tuple[str, str, bytes, int | None]) -> None:
    topic, source, payload, f_port = given
    topic = topic.replace("+", "").replace("#", "")  # no message comes on such a topic (MQTT 5.0, 4.7.1)
    where, body = ALL.write(
        Downlink(
            id="0199c0de-0000-7000-8000-00000000beef",
            device_id="a81758fffe03f6c2",
            topic=topic,
            payload=payload,
            f_port=f_port,
            confirmed=True,
            expires_at=RECEIVED,
            source=source,
        )
    )
    assert where
    assert "+" not in where
    assert "#" not in where
    orjson.loads(body)


def _is_json(body: bytes) -> bool:
    """As a body is, when it has come so far: without NaN."""
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True


_SOURCES: Final = ["", "mqtt:nobody", *(f"mqtt:{name}" for name in KNOWN)]
TARGETS: Final = [
    *(
        Target(f"network {name}", messages(name), partial(read_message, server), (NotUnderstood,), 2)
        for name, server in KNOWN.items()
    ),
    Target("codecs", payloads(), read_payload, (CodecError,), 12),
    Target("decoded objects", st.tuples(rows, members | values), read_object, (CodecError,), 2),
    Target("named values", st.tuples(rows, sensed), read_named, (CodecError,), 2),
    Target("commands of models", st.tuples(commands | edited_json([orjson.dumps(model) for model in MODELS]).filter(_is_json), told_values, told), command, (BadRequestData,), 2),
    Target(
        "downlinks",
        st.tuples(topics, st.sampled_from(_SOURCES) | texts, st.binary(max_size=60), st.none() | st.integers(1, 223)),
        write_downlink,
        (NotSent,),
    ),
]  # fmt: skip
