"""Whatever comes over CoAP: a message is read or refused with a reason, and nothing breaks or grows by it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import Coroutine, Hashable
from typing import Any, cast

import cbor2
import pytest
from aiocoap import Message
from aiocoap.numbers import OptionNumber
from aiocoap.numbers.types import CON, NON
from aiocoap.optiontypes import OpaqueOption
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.coap.dtls import DtlsServer
from adapters.coap.framing import Frames, FramingError, framed
from adapters.coap.links import device_of_endpoint, lifetime_of, read_links, worth_observing
from adapters.coap.lwm2m import Registry
from adapters.coap.messages import Messages
from adapters.coap.oscore import Contexts
from adapters.coap.reading import FORMATS, LINKS, read
from adapters.coap.site import Site
from adapters.coap.speakers import Speakers
from adapters.members import NotUnderstood
from broker.clock import SECOND, Clock
from broker.config import Coap, Limits
from broker.pipeline.intake import Credential, Numbers
from tests.support.dtls import client_hello, cookie_of
from tests.support.intake import RecordingIntake
from tests.support.keyring import Keyring

NOW = 1_780_000_000 * SECOND
LIMITS = Limits(uplink_bytes=2000)

_LABELS = st.sampled_from(
    [
        "bn",
        "bt",
        "bu",
        "bv",
        "bs",
        "bver",
        "n",
        "u",
        "v",
        "vs",
        "vb",
        "vd",
        "vlo",
        "s",
        "t",
        "ut",
        "x",
        "x_",
        *range(-7, 9),
    ]
)
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(),
    st.text(max_size=10),
    st.binary(max_size=10),
    st.sampled_from(["temperature", "/3303/0/5700", "urn:dev:imei:350457790000001:", "Cel", "AQID", 1780000000, -60]),
)
_RECORDS = st.lists(st.dictionaries(_LABELS, _SCALARS, max_size=6), max_size=5)
_ANYTHING = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.text(max_size=4), st.integers()), inner, max_size=4),
        st.builds(cbor2.CBORTag, st.integers(0, 1100), inner),
    ),
    max_leaves=12,
)


def _cut(body: bytes, at: int, by: int) -> bytes:
    """`body` with a byte changed, for the ways between one thing that is right and another."""
    return body[: at % len(body)] + bytes((by,)) + body[at % len(body) + 1 :] if body else body


_CBOR = st.one_of(_RECORDS, _ANYTHING).map(lambda value: cbor2.dumps(value))
_JSON = _RECORDS.map(lambda value: json.dumps(value, default=str).encode())
_BODIES = st.one_of(
    st.binary(max_size=60),
    st.builds(_cut, st.one_of(_CBOR, _JSON), st.integers(0, 500), st.integers(0, 255)),
    _CBOR,
    _JSON,
)
_BASES = st.lists(st.integers(0, 65535), max_size=4).map(tuple) | st.sampled_from(
    [(3303,), (3303, 0), (3303, 0, 5700), (3, 0, 6)]
)


@given(_BODIES, st.sampled_from((*FORMATS, LINKS, None)), _BASES)
def test_any_body_is_an_uplink_or_refused_with_a_reason(
    body: bytes, content_format: int | None, base: tuple[int, ...]
) -> None:
    try:
        uplink = read("meter", body, content_format, exchange=b"1", received_at=NOW, limits=LIMITS, base=base)
    except NotUnderstood as error:
        assert 0 < len(str(error)) < 1000
        return
    for value in uplink.values:
        assert isinstance(value.name, str)
        assert value.name
        assert isinstance(value.value, (bool, int, float, str))
        assert not isinstance(value.value, float) or math.isfinite(value.value)
    json.dumps(uplink.decoded, allow_nan=False)
    assert uplink.raw == body


@given(st.one_of(st.binary(max_size=200), st.text('</>;,"= 0123456789ctobsrt', max_size=80).map(str.encode)))
@example(b'</>;rt="oma.lwm2m";ct="60 110 112",</3303/0>')
def test_any_links_are_paths_or_refused(payload: bytes) -> None:
    try:
        links = read_links(payload)
    except NotUnderstood:
        return
    assert all(0 < len(path) <= 2 and all(0 <= step <= 99999 for step in path) for path in links.paths)
    assert len(worth_observing(links)) <= 64


@given(st.text(max_size=80))
def test_any_endpoint_is_a_device_or_refused(name: str) -> None:
    try:
        device = device_of_endpoint(name)
    except NotUnderstood:
        pass
    else:
        assert device == device.lower()
        assert 0 < len(device) <= 64
    with contextlib.suppress(NotUnderstood):
        assert lifetime_of(name) >= 1


# --- framing ----------------------------------------------------------------------------------------------------------

_TOKENS = st.binary(max_size=8)
_REQUESTS = st.builds(
    lambda code, token, path, payload, format_: Message(
        code=code, _token=token, uri_path=path, payload=payload, content_format=format_
    ),
    st.integers(1, 4),
    _TOKENS,
    st.lists(st.text(max_size=9), max_size=4).map(tuple),
    st.binary(max_size=400),
    st.none() | st.sampled_from((*FORMATS, LINKS, 41, 65000)),
)


@given(st.lists(_REQUESTS, max_size=4), st.lists(st.integers(1, 300), min_size=1, max_size=20))
def test_messages_of_a_stream_are_read_wherever_it_is_cut(sent: list[Message], sizes: list[int]) -> None:
    stream, frames, got = b"".join(map(framed, sent)), Frames(1 << 12), list[Message]()
    for size in sizes:
        got += frames.feed(stream[:size])
        stream = stream[size:]
    got += frames.feed(stream)
    assert [(one.code, one.token, one.opt.uri_path, one.payload) for one in got] == [
        (one.code, one.token, one.opt.uri_path, one.payload) for one in sent
    ]
    assert frames.held == 0


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_of_any_stream_no_more_is_held_than_a_message(chunks: list[bytes]) -> None:
    frames = Frames(100)
    for chunk in chunks:
        try:
            list(frames.feed(chunk))
        except FramingError as error:
            assert str(error)
            return
        assert frames.held <= 100 + 6


# --- the server -------------------------------------------------------------------------------------------------------


class Peer:
    """Whoever sends, and what is sent to it."""

    device = key_id = ""
    connection = b""
    key: Hashable = "peer"
    blockwise_key = "peer"
    hostinfo = "127.0.0.1:5683"
    maximum_block_size_exp, maximum_payload_size, is_multicast = 6, 1024, False

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.asker: Messages | None = None

    def send(self, datagram: bytes) -> None:
        """Keep it."""
        self.sent.append(datagram)


class OscoreKeyring(Keyring):
    """One OSCORE key, with Sender ID 01."""

    def oscore(self, theirs: bytes, context: bytes | None) -> Credential | None:
        """See there."""
        return Credential("key", "meter", bytes(16), b"\x01", b"\x00", b"") if theirs == b"\x01" else None

    async def take(self, key_id: str, count: int, *, begins: bool) -> Any:
        """From 0 on, and a window that is not known."""
        return Numbers(0, None)


async def _settled(datagrams: list[bytes]) -> tuple[Peer, RecordingIntake]:
    """What becomes of datagrams that one peer sends."""
    intake, keyring, peer = RecordingIntake(), OscoreKeyring({}), Peer()
    speakers, clock = Speakers(keyring, plain=True), Clock(lambda: NOW)
    registry = Registry(intake, clock, LIMITS, 10, speakers)
    site = Site(intake, clock, LIMITS, None, speakers, registry, Contexts(keyring, 10))
    messages = Messages(site.handle, remembered=20, requests=10)
    for datagram in datagrams:
        messages.received(datagram, peer)
    async with asyncio.timeout(10):
        while messages.state["requests"]:
            await asyncio.sleep(0)
    assert messages.state["remembered"] <= 20
    await messages.close()
    return peer, intake


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


@pytest.mark.parametrize(
    "head", [b"", b"\x40\x02\x12\x34", b"\x50\x02\x12\x34", b"\x44\x01\x12\x34abcd", b"\x60\x45\x12\x34"]
)
@given(tail=st.binary(max_size=60))
def test_any_datagram_is_answered_or_passed_over(head: bytes, tail: bytes) -> None:
    peer, _ = _run(_settled([head + tail]))
    for datagram in peer.sent:
        Message.decode(datagram)


_STEPS = st.sampled_from(
    ["up", "rd", "dp", "time", ".well-known", "core", "meter", "3303", "0", "", "%", "ä", "x" * 70]
)
_OPTIONS = st.lists(
    st.tuples(
        st.sampled_from([1, 3, 4, 5, 6, 7, 9, 11, 12, 14, 15, 17, 23, 27, 28, 35, 60, 252, 258, 2048, 65001]),
        st.binary(max_size=12),
    ),
    max_size=4,
)


@given(
    st.integers(1, 7),
    st.sampled_from([CON, NON]),
    st.lists(_STEPS, max_size=5),
    st.lists(
        st.sampled_from(["ep=urn:imei:350457790000001", "lt=60", "lt=x", "lwm2m=1.1", "b=U", "ack=00", "ack", "=", ""]),
        max_size=3,
    ),
    _BODIES,
    st.none() | st.sampled_from((*FORMATS, LINKS, 99)),
    _OPTIONS,
)
def test_any_request_gets_one_answer_that_tells_what_is_wrong(
    code: int,
    kind: Any,
    path: list[str],
    query: list[str],
    payload: bytes,
    content_format: int | None,
    options: list[tuple[int, bytes]],
) -> None:
    message = Message(
        code=code,
        _mtype=kind,
        _mid=7,
        _token=b"t",
        uri_path=tuple(path),
        uri_query=tuple(query),
        payload=payload,
        content_format=content_format,
    )
    datagram = _with_options(message, options)
    peer, intake = _run(_settled([datagram]))
    answers = [Message.decode(one) for one in peer.sent]
    for answer in answers:
        assert int(answer.code) != 0xA0, "5.00"
        if answer.code and not answer.code.is_successful() and answer.opt.oscore is None:
            assert len(answer.payload) <= 400
            answer.payload.decode()
    # What is told to be done is, and what is told not to be understood is kept.
    assert len(intake.uplinks) <= 1
    assert len(intake.rejected) <= 1


def _with_options(message: Message, options: list[tuple[int, bytes]]) -> bytes:
    """The message with options of any bytes beside its own, which aiocoap would not let itself be given."""
    for number, value in options:
        message.opt.add_option(cast("Any", OpaqueOption(OptionNumber(number), value)))
    return bytes(message.encode())


# --- DTLS -------------------------------------------------------------------------------------------------------------


class Wire(asyncio.DatagramTransport):
    """A socket that keeps what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Keep it."""
        self.sent.append(bytes(data))

    def close(self) -> None:
        """Nothing is open."""


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=120),
            st.binary(max_size=80).map(
                lambda tail: b"\x16\xfe\xfd\0\0" + bytes(6) + len(tail).to_bytes(2, "big") + tail
            ),
            st.builds(_cut, st.just(client_hello()), st.integers(0, 200), st.integers(0, 255)),
            st.binary(max_size=60).map(lambda tail: b"\x14\xfe\xfd\0\0" + bytes(6) + b"\0\x01\x01" + tail),
        ),
        max_size=6,
    ),
    st.integers(0, 200),
    st.integers(0, 255),
)
def test_any_datagrams_leave_at_most_a_handshake(datagrams: list[bytes], at: int, by: int) -> None:
    async def work() -> None:
        messages = Messages(_never, remembered=10, requests=10)
        server, wire, address = DtlsServer(messages, Keyring({}), Coap()), Wire(), ("127.0.0.1", 4711)
        server.connection_made(wire)
        for datagram in datagrams:
            server.datagram_received(datagram, address)
        server.datagram_received(client_hello(), address)
        # Once with the cookie, a byte changed or not, and then all of it in a handshake that is under way.
        hello = client_hello(cookie_of(wire.sent[-1]), message=1) if wire.sent[-1][13:14] == b"\x03" else client_hello()
        server.datagram_received(_cut(hello, at, by), address)
        server.datagram_received(hello, address)
        for datagram in datagrams:
            server.datagram_received(datagram, address)
        state = server.state
        assert state["open"] == 0
        assert state["library"] == state["handshaking"] <= 1
        await server.close()
        assert server.state == {"handshaking": 0, "open": 0, "library": 0}
        await messages.close()

    _run(work())


async def _never(message: Message) -> Message | None:
    raise AssertionError("nobody has proved a key")
