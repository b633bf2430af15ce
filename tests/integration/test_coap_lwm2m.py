"""LwM2M devices: aiocoap as the device, registering with and observed by a real server."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Any

import cbor2
import pytest
from aiocoap import Code, Context, Message, resource

from adapters.coap.lwm2m import Registry
from adapters.coap.messages import Heard
from adapters.coap.peer import Peer
from adapters.coap.server import CoapIntake
from adapters.coap.speakers import Speakers
from broker.clock import SECOND, Clock
from broker.config import Coap, Limits
from broker.errors import Overloaded
from tests.integration.test_coap_intake import free_udp_port
from tests.support.intake import RecordingIntake
from tests.support.keyring import Keyring

NOW = 1_780_000_000 * SECOND
DEVICE = "350457790000001"
ENDPOINT = f"urn:imei:{DEVICE}"
LINKS = b'</>;rt="oma.lwm2m";ct="60 110 112",</1/0>,</3/0>,</3303/0>,</3304/0>,</5/0>'
QUERY = f"ep={ENDPOINT}&lt=300&lwm2m=1.1&b=U"


class Sensor(resource.ObservableResource):  # type: ignore[misc]  # aiocoap has no types
    """An object instance that can be observed."""

    def __init__(self, path: str, resources: dict[str, float], content_format: int) -> None:
        super().__init__()
        self.path, self.resources, self.format = path, resources, content_format
        self.asked: list[Message] = []

    async def render_get(self, request: Message) -> Message:
        """As the format that the device speaks."""
        self.asked.append(request)
        if self.format == 11542:
            payload = b"".join(
                b"\xe4" + int(name).to_bytes(2, "big") + struct.pack("!f", value)
                for name, value in self.resources.items()
            )
        else:
            payload = cbor2.dumps([{-2: f"/{self.path}/", 0: name, 2: value} for name, value in self.resources.items()])
        return Message(code=Code.CONTENT, payload=payload, content_format=self.format)

    def measure(self, value: float) -> None:
        """Measure, and tell who observes."""
        self.resources["5700"] = value
        self.updated_state()


class Device:
    """A device with a temperature and a humidity."""

    def __init__(self, port: int, content_format: int = 112) -> None:
        self.port = port
        self.temperature = Sensor("3303/0", {"5700": 21.5}, content_format)
        self.humidity = Sensor("3304/0", {"5700": 40.0}, content_format)
        self.context: Context = None

    async def ask(self, code: Code, path: str, payload: bytes = b"", **options: Any) -> Message:
        """The server's answer."""
        request = Message(code=code, uri=f"coap://127.0.0.1:{self.port}{path}", payload=payload, **options)
        return await self.context.request(request).response

    async def register(self, query: str = QUERY, links: bytes = LINKS) -> str:
        """The path of the registration."""
        answer = await self.ask(Code.POST, f"/rd?{query}", links, content_format=40)
        assert answer.code == Code.CREATED, answer
        return "/" + "/".join(answer.opt.location_path)


@asynccontextmanager
async def device_of(port: int, content_format: int = 112) -> AsyncIterator[Device]:
    device = Device(port, content_format)
    site = resource.Site()
    site.add_resource(["3303", "0"], device.temperature)
    site.add_resource(["3304", "0"], device.humidity)
    own = free_udp_port()
    device.context = await Context.create_server_context(site, bind=("127.0.0.1", own), transports=["udp6"])
    try:
        yield device
    finally:
        await device.context.shutdown()


@asynccontextmanager
async def served(intake: RecordingIntake, port: int, **settings: Any) -> AsyncIterator[CoapIntake]:
    adapter = CoapIntake(Coap(enabled=True, plain=True, port=port, **settings), intake, Clock(lambda: NOW), Limits())
    task = asyncio.create_task(adapter.run())
    try:
        await asyncio.wait_for(adapter.ready.wait(), 10)
        yield adapter
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def told(intake: RecordingIntake) -> list[tuple[str, Any]]:
    return [(value.name, value.value) for uplink in intake.uplinks for value in uplink.values]


@pytest.mark.parametrize("content_format", [112, 11542])
async def test_what_a_device_measures_is_observed_from_its_registration_on(content_format: int) -> None:
    intake, port = RecordingIntake(), free_udp_port()
    async with served(intake, port) as server, device_of(port, content_format) as device:
        links = LINKS if content_format == 112 else LINKS.replace(b'ct="60 110 112"', b"ct=11542")
        location = await device.register(links=links)
        await intake.until(lambda: len(told(intake)) == 2)
        assert intake.uplinks[0].kind == "join"
        assert {uplink.device_id for uplink in intake.uplinks} == {DEVICE}
        assert told(intake) == [("/3303/0/5700", 21.5), ("/3304/0/5700", 40.0)]
        assert int(device.temperature.asked[0].opt.accept) == content_format
        device.temperature.measure(-5.5)
        await intake.until(lambda: len(told(intake)) == 3)
        assert told(intake)[-1] == ("/3303/0/5700", -5.5)
        assert (await device.ask(Code.POST, location)).code == Code.CHANGED
        assert server.registry.count == 1
        assert (await device.ask(Code.DELETE, location)).code == Code.DELETED
        assert server.registry.count == 0
        assert (await device.ask(Code.POST, location)).code == Code.NOT_FOUND
        # The next notification is told that nobody listens, and the observation ends.
        device.temperature.measure(3)
        async with asyncio.timeout(10):
            while device.temperature._observations:
                await asyncio.sleep(0.05)
        assert len(told(intake)) == 3


async def test_a_notification_is_acknowledged_after_the_commit_and_comes_again_until_then() -> None:
    intake, port = RecordingIntake(), free_udp_port()
    async with served(intake, port), device_of(port) as device:
        await device.register()
        await intake.until(lambda: len(told(intake)) == 2)
        intake.failure = Overloaded("The writer is behind.", retry_after=1)
        device.temperature.measure(7)
        await intake.until(lambda: intake.attempts == 4)
        assert len(told(intake)) == 2
        intake.failure = None
        await intake.until(lambda: len(told(intake)) == 3)
        assert told(intake)[-1] == ("/3303/0/5700", 7)


async def test_a_notification_of_many_blocks_is_taken_whole() -> None:
    intake, port = RecordingIntake(), free_udp_port()
    async with served(intake, port), device_of(port) as device:
        many = {f"{number}": float(number) for number in range(5000, 5300)}
        device.temperature.resources = dict(many)
        await device.register(links=b'</>;rt="oma.lwm2m";ct="60 112",</3303/0>')
        await intake.until(lambda: len(told(intake)) == 300)
        device.temperature.measure(-5.5)
        await intake.until(lambda: len(told(intake)) == 601)
        assert dict(told(intake)[300:]) == {f"/3303/0/{name}": value for name, value in (many | {"5700": -5.5}).items()}
        assert len(intake.uplinks) == 3


async def test_a_device_whose_key_is_revoked_is_not_heard_though_it_is_observed() -> None:
    intake, keyring = RecordingIntake(), Keyring({"meter.psk": DEVICE})
    registry = Registry(intake, Clock(lambda: NOW), Limits(), 10, Speakers(keyring, plain=False))
    peer, asker = Endpoint(), Observer()
    peer.asker = asker
    register = Message(code=Code.POST, uri_path=("rd",), uri_query=("lwm2m=1.1",), payload=LINKS, _mid=1, _token=b"t")
    register.remote = peer
    assert (await registry.serve(register, [])).code == Code.CREATED
    async with asyncio.timeout(10):
        while len(asker.heard) < 2:
            await asyncio.sleep(0.01)

    async def notify(value: float) -> bool:
        message = Message(
            code=Code.CONTENT, payload=b'[{"n":"/3303/0/5700","v":%f}]' % value, content_format=110, _mid=2, _token=b"o"
        )
        message.remote = peer
        return await asker.heard[0](message)

    assert await notify(21)
    assert told(intake) == [("/3303/0/5700", 21)]
    keyring.revoked.add("meter.psk")
    assert not await notify(22)
    assert len(told(intake)) == 1


class Endpoint:
    """A device in a session that its key proved."""

    device, key_id, connection = DEVICE, "meter.psk", b"session"
    key: Hashable = "session"
    blockwise_key = "session"
    hostinfo = "127.0.0.1:5683"
    asker: Any = None

    def send(self, datagram: bytes) -> None:
        """Nothing is sent here."""


class Observer:
    """Answers whoever observes, and keeps what hears of it."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []

    async def ask(self, peer: Peer, request: Message, heard: Heard | None = None) -> Message:
        """2.05 and an empty observation."""
        if heard is not None:
            self.heard.append(heard)
        answer = Message(code=Code.CHANGED, observe=1, _token=b"o", _mid=9)
        answer.remote = peer
        return answer

    def forget(self, token: bytes) -> None:
        """Nothing is kept here."""


async def test_a_device_sends_what_it_has_gathered() -> None:
    intake, port = RecordingIntake(), free_udp_port()
    pack = b'[{"bn":"/3303/0/","bt":1779999000,"n":"5700","v":20},{"n":"5700","v":21,"t":60}]'
    async with served(intake, port), device_of(port) as device:
        assert (await device.ask(Code.POST, "/dp", pack, content_format=110)).code == Code.NOT_FOUND
        await device.register(links=b"</3/0>")
        assert (await device.ask(Code.POST, "/dp", pack, content_format=110)).code == Code.CHANGED
        assert [(value.value, value.at) for value in intake.uplinks[-1].values] == [
            (20, 1_779_999_000 * SECOND),
            (21, 1_779_999_060 * SECOND),
        ]
        assert (await device.ask(Code.POST, "/dp", b"", content_format=42)).code == Code.UNSUPPORTED_CONTENT_FORMAT


async def test_a_registration_that_breaks_a_rule_is_refused() -> None:
    intake, port = RecordingIntake(), free_udp_port()
    async with served(intake, port, registrations=1) as server, device_of(port) as device:
        for query, links, code in (
            ("lt=60&lwm2m=1.1", LINKS, Code.BAD_REQUEST),
            ("ep=a%20b&lwm2m=1.1", LINKS, Code.BAD_REQUEST),
            (QUERY.replace("300", "soon"), LINKS, Code.BAD_REQUEST),
            (QUERY.replace("=1.1", "=2.0"), LINKS, Code.PRECONDITION_FAILED),
            (QUERY, b"<</3/0>", Code.BAD_REQUEST),
        ):
            answer = await device.ask(Code.POST, f"/rd?{query}", links, content_format=40)
            assert answer.code == code, answer.payload
        assert server.registry.count == 0
        # What is not understood is kept; another version of LwM2M is.
        assert [one.raw for one in intake.rejected] == [LINKS, LINKS, b"<</3/0>"]
        assert "'lt' must be a lifetime in seconds" in intake.rejected[1].reason
        await device.register()
        full = await device.ask(Code.POST, "/rd?ep=another&lwm2m=1.1", LINKS, content_format=40)
        assert full.code == Code.SERVICE_UNAVAILABLE
        # The same device again takes the place of its old registration.
        await device.register()
        assert server.registry.count == 1


async def test_values_of_a_path_are_taken_as_tlv_and_text() -> None:
    intake, port = RecordingIntake(), free_udp_port()
    async with served(intake, port), device_of(port) as device:
        tlv = b"\xe4\x16\x44" + struct.pack("!f", 21.3)
        assert (await device.ask(Code.POST, f"/up/{DEVICE}/3303/0", tlv, content_format=11542)).code == Code.CHANGED
        assert (await device.ask(Code.POST, f"/up/{DEVICE}/3/0/9", b"88", content_format=0)).code == Code.CHANGED
        assert told(intake) == [("/3303/0/5700", 21.3), ("/3/0/9", 88)]
        assert intake.uplinks[-1].battery_percent == 88


async def test_json_and_cbor_are_objects_to_be_mapped() -> None:
    intake, port = RecordingIntake(), free_udp_port()
    async with served(intake, port), device_of(port) as device:
        for payload, content_format in ((b'{"t": {"c": 21.5}}', 50), (cbor2.dumps({"t": {"c": 21.5}, 3: b"\x01"}), 60)):
            answer = await device.ask(Code.POST, f"/up/{DEVICE}", payload, content_format=content_format)
            assert answer.code == Code.CHANGED
        assert [uplink.decoded for uplink in intake.uplinks] == [{"t": {"c": 21.5}}, {"t": {"c": 21.5}, "3": "01"}]


async def test_the_time_is_told_alone_and_with_an_answer() -> None:
    intake, port = RecordingIntake(), free_udp_port()
    async with served(intake, port), device_of(port) as device:
        assert (await device.ask(Code.GET, "/time")).payload == b"1780000000"
        assert cbor2.loads((await device.ask(Code.GET, "/time", accept=60)).payload) == 1780000000
        answer = await device.ask(Code.POST, f"/up/{DEVICE}", b"1", accept=60)
        assert cbor2.loads(answer.payload) == {"time": 1780000000}
