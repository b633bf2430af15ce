"""What devices send over CoAP: SenML, CBOR, LwM2M's TLV and registrations, messages in a stream."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, Final

import cbor2
import msgspec
import orjson
from hypothesis import strategies as st

from adapters.coap import reading, senml
from adapters.coap.cbor import cbor_item, plain
from adapters.coap.framing import Frames, FramingError
from adapters.coap.links import device_of_endpoint, lifetime_of, read_links, worth_observing
from adapters.coap.tlv import read_tlv
from adapters.members import NotUnderstood
from broker.clock import iso
from broker.codecs.base import CodecError
from broker.codecs.registry import LWM2M, decode
from broker.config import Limits
from broker.devices.check import check_id
from broker.devices.model import DeviceModel
from broker.pipeline.intake import SensedValue
from tests.fuzz.inputs import edited, edited_json, edited_text, finite, texts, values
from tests.fuzz.target import Target
from tests.fuzz.uplinks import check_measurements, members, rows
from tests.support.recorded import RECEIVED

LIMITS: Final = Limits()
PACKS: Final = [
    b'[{"bn":"urn:dev:ow:10e2073a01080063:","bt":1.320067464e+09,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1}]',
    b'[{"n":"a","v":1,"t":-5,"bs":2,"s":3},{"n":"b","vs":"x"},{"n":"c","vb":true},{"n":"d","vd":"aGk","ut":1}]',
    b'[{"bn":"t","bv":20,"v":1.5},{"v":-3,"t":268435455},{"v":0,"t":268435456}]',
    b'[{"bn":"/3303/0/","n":"5700","v":21.5,"u":"Cel"},{"n":"5701","vs":"Cel"},{"bn":"/3/0/","n":"9","v":87}]',
]


def _cbor(pack: list[dict[str, Any]]) -> bytes:
    labels = {name: number for number, name in senml._LABELS.items()}
    return bytes(cbor2.dumps([{labels.get(name, name): value for name, value in record.items()} for record in pack]))


CBOR_PACKS: Final = [_cbor(json.loads(pack)) for pack in PACKS]
CBOR_ODD: Final = [
    bytes.fromhex(digits)
    for digits in (
        "c074323031332d30332d32315432303a30343a30305a", "c11a514b67b0", "c249010000000000000000", "d81c81d81d00", "fb7ff0000000000000",
        "81a1027b7fffffffffffffff", "9bffffffffffffffff", "5bffffffffffffffff", "d9010083010203", "c482211a000f4240", "d8235f", "f97e00",
        "9f" * 400, "a1" * 400, "d81c80" * 50, "bf6161019f02ff", "7f6161ff", "c482390fff01", "c5821b7fffffffffffffff01", "d81e820100",
    )
]  # fmt: skip
TLVS: Final = [
    bytes.fromhex(digits)
    for digits in (
        "c80014 4f70656e204d6f62696c6520416c6c69616e6365c801164c69676874776569676874204d324d20436c69656e74c80209333435303030313233c303312e30",
        "08000ec60041ac00c1557f86074100018705", "e4164441ac0000e2164501", "c116440ac216450064c41647 41ac0000", "8806080841 00014101 05",
        "0800790000" + "c10001" * 30,
    )
]  # fmt: skip
LINKS: Final = [
    '</>;rt="oma.lwm2m";ct=11543,</1/0>,</3/0>,</3303/0>;ver=1.1,</3303/1>,</4/0>,</6/0>',
    '</lwm2m>;rt="oma.lwm2m";ct="60 112 11542",</lwm2m/3304/0>,</bs>;if="core#l,x",<//>',
]
FRAMES: Final = [
    bytes.fromhex(digits) for digits in ("00e1", "d01102" + "61" * 30, "02e1abcd", "f0ffffffff02", "e0000102", "51 02 aa b2 75 70 ff 31", "09e1" + "00" * 9)
]  # fmt: skip
bases = st.lists(st.sampled_from([3, 4, 6, 3303, 3304, 5700, 0, 1]) | st.integers(0, 70_000), max_size=5).map(tuple)


def read_senml(body: bytes, *, binary: bool) -> None:
    read = senml.read_cbor if binary else senml.read_json
    found = read(body, received_at=RECEIVED, limits=LIMITS)
    assert len(found) <= senml.RECORDS
    check_values(found, body)


def check_values(found: list[SensedValue], body: bytes) -> None:
    """They can be stored, and are no more than what came in."""
    assert len(orjson.dumps(found, default=msgspec.structs.asdict)) <= 300 * len(body) + 2000
    for one in found:
        assert one.at is None or iso(one.at)
        one.name.encode()


def read_request(given: tuple[str, bytes, int | None, str, tuple[int, ...]]) -> None:
    device, payload, content_format, acknowledged, base = given
    uplink = reading.read(
        device,
        payload,
        content_format,
        exchange=b"",
        received_at=RECEIVED,
        limits=LIMITS,
        acknowledged=acknowledged,
        base=reading.base_of([str(step) for step in base]),
    )
    check_id(uplink.device_id, "device")
    msgspec.json.encode(uplink)
    orjson.dumps(uplink.decoded)
    if uplink.values:
        decode_all(((), list(uplink.values)))


def decode_all(given: tuple[Any, list[SensedValue]]) -> None:
    """By the table of LwM2M's objects, and a model's own rows."""
    model = DeviceModel(id="m", vendor="V", name="M", codec=LWM2M, network="nb-iot", quantities=given[0])
    try:
        found = decode(model, payload=None, f_port=None, decoded=None, values=given[1], at=RECEIVED)
    except CodecError as error:
        str(error).encode()
        return
    check_measurements(found, units=False)


def read_tlv_of(given: tuple[bytes, tuple[int, ...]]) -> None:
    check_values(read_tlv(*given), given[0])


def register(given: tuple[bytes, str, str]) -> None:
    links = read_links(given[0])
    assert len(worth_observing(links)) <= 64
    check_id(device_of_endpoint(given[1]), "device")
    assert lifetime_of(given[2]) >= 1


def stream(pieces: list[bytes]) -> None:
    frames = Frames(2000)
    for piece in pieces:
        for message in frames.feed(piece):
            assert len(message.payload) <= 2000
        assert frames.held <= 2000 + len(piece)


def item(body: bytes) -> None:
    orjson.dumps(plain(cbor_item(body), LIMITS.json_depth))


cbors = edited([*CBOR_PACKS, *CBOR_ODD]) | values.map(lambda value: bytes(cbor2.dumps(value)))
lwm2m_values = st.lists(
    st.builds(
        SensedValue,
        name=st.sampled_from(
            ["/3303/0/5700", "/3303/0/5701", "/3303/1/5700", "/3/0/7/1", "/3304/0/5700", "/6/0/0", "/3303/0/5700/1"]
        )
        | texts,
        value=finite | st.booleans() | st.sampled_from(["Cel", "K", "", "%"]) | texts,
        unit=st.sampled_from(["", "Cel", "K", "%RH"]) | texts,
        at=st.none() | st.just(RECEIVED),
    ),
    max_size=6,
)
TARGETS: Final = [
    Target("SenML JSON", edited_json(PACKS) | edited(PACKS), partial(read_senml, binary=False), (NotUnderstood,), 2),
    Target(
        "SenML CBOR",
        edited([*CBOR_PACKS, *CBOR_ODD]) | st.lists(members, max_size=3).map(lambda pack: bytes(cbor2.dumps(pack))),
        partial(read_senml, binary=True),
        (NotUnderstood,),
        2,
    ),
    Target("CBOR", cbors, item, (NotUnderstood,), 2),
    Target(
        "CoAP requests",
        st.tuples(
            st.sampled_from(["350457790000001", "A81758FFFE03F6C2"]) | texts,
            edited([*PACKS, *CBOR_PACKS, *TLVS, b"21.5", b"1"]),
            st.sampled_from([None, *reading.FORMATS, reading.LINKS, 65535]),
            st.sampled_from(["", "8123456789abcdef"]) | texts,
            bases,
        ),
        read_request,
        (NotUnderstood,),
        2,
    ),
    Target("LwM2M TLV", st.tuples(edited(TLVS), bases), read_tlv_of, (NotUnderstood,), 2),
    Target("LwM2M values", st.tuples(rows, lwm2m_values), decode_all, (CodecError,)),
    Target(
        "LwM2M registrations",
        st.tuples(
            edited_text(LINKS, [*'<>;,="/\\', "ct=", "65536", "3303/0"]).map(lambda text: text.encode("utf-8", "replace"))
            | edited([text.encode() for text in LINKS]),
            st.sampled_from(["urn:imei:350457790000001", "urn:dev:os:x-1", "a81758fffe03f6c2"]) | texts,
            st.sampled_from(["300", "1", "0"]) | texts,
        ),
        register,
        (NotUnderstood,),
    ),
    Target("CoAP over TCP", st.lists(edited(FRAMES), max_size=4), stream, (FramingError,)),
]  # fmt: skip
