"""Messages of every network as its documentation has them, with values of our own: `tests/recorded/<folder>/<file>`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from broker.clock import Micros, parse_iso
from broker.config import GenericNetwork
from broker.pipeline.intake import UplinkKind

FOLDER = Path(__file__).parents[1] / "recorded"
RECEIVED = parse_iso("2026-03-02T08:20:30Z") or 0
COMMAND = "0199c0de-0000-7000-8000-00000000beef"
"""The command that recorded answers to downlinks speak of."""
AT = "2026-03-02T08:15:42.120"

CITY = GenericNetwork(
    name="city",
    topic="city/{area}/{event}",
    device="dev.id",
    name_path="dev.name",
    payload="hex",
    f_port="port",
    f_cnt="seq",
    frame="id",
    time="ts",
    time_format="ms",
    rssi="rx.0.rssi",
    snr="rx.0.snr",
    gateway="rx.0.gw",
    battery="bat",
    latitude="pos.lat",
    longitude="pos.lon",
    events={"up": "up", "join": "join", "status": "status", "place": "location"},
)
BEACHES = GenericNetwork(
    name="beaches", topic="beaches/all", each="messages", device="sensor", values="data", time="at"
)


@dataclass(frozen=True)
class Recorded:
    """One message: where it comes, and what is read from it. `at` is when it was observed: None when it was received."""

    network: str
    file: str
    kind: UplinkKind
    device: str
    topic: str = ""
    """'': it only comes over HTTP."""
    event: str = "up"
    at: str | None = None
    f_cnt: int | None = None
    rssi: float | None = None
    gateway: str | None = None
    gateway_location: tuple[float, float] | None = None
    battery: float | None = None
    margin: int | None = None
    location: tuple[float, float] | None = None
    told: str | None = None
    """What it says of a command."""
    temperature: bool = False
    """It says 22.5 °C, in bytes that Elsys sent, as a named value or as an object."""
    others: tuple[str, ...] = field(default=())
    """Devices of further messages in the same body."""

    @property
    def body(self) -> bytes:
        """As it comes."""
        return (FOLDER / self.file).read_bytes()

    @property
    def observed_at(self) -> Micros:
        """When it was observed."""
        return RECEIVED if self.at is None else parse_iso(self.at) or 0

    def __str__(self) -> str:
        return self.file


def _chirpstack(folder: str, network: str, ending: str, eui: str) -> list[Recorded]:
    v3 = network == "chirpstack-v3"
    topic = f"application/8d5b1c1e/device/{eui}/event/"

    def one(event: str, kind: UplinkKind, **members: object) -> Recorded:
        given: dict[str, object] = {"topic": topic + event, "event": event} | members
        return Recorded(network, f"{folder}/{event}.{ending}", kind, eui, **given)  # type: ignore[arg-type]

    up = one(
        "up",
        "up",
        at=f"{AT}334Z",
        f_cnt=88 if v3 else 1042,
        rssi=-88 if v3 else -97,
        gateway="24e124fffef45b04" if v3 else "24e124fffef45b03",
        gateway_location=(18.09, 64.63) if v3 else (18.07, 64.62),
        temperature=True,
    )
    return [
        up,
        one("join", "join", at="2026-03-02T07:00:00.1Z" if v3 else "2026-03-02T08:10:01.003Z"),
        one("ack", "ack", at="2026-03-02T08:15:43Z" if v3 else f"{AT}Z"),
        one("txack", "txack", at="2026-03-02T08:15:43Z" if v3 else "2026-03-02T08:15:43.001Z"),
        one("error", "log", at="2026-03-02T08:15:42.3Z") if v3 else one("log", "log", at="2026-03-02T08:20:11.9Z"),
        one("status", "status", at="2026-03-02T08:15:44.5Z", battery=91.5 if v3 else 87.8, margin=12 if v3 else 11),
        one(
            "location",
            "location",
            at="2026-03-02T08:15:45Z",
            location=(18.0712, 64.6201),
        ),
    ]


_V4, _V3, _TTS, _NETMORE = "a81758fffe03f6c2", "a81758fffe03f6c3", "a81758fffe03f6c4", "a81758fffe03f6c5"
_ACTILITY, _ZIGBEE, _YGGIO, _GENERIC = "a81758fffe03f6c6", "00158d0001b79112", "a81758fffe03f6c8", "a81758fffe03f6ca"
_DOWN = "v3/inomhusklimat@ttn/devices/rum-216/"
_THING = "mqtt/things/A81758FFFE03F6C6/uplink"
_NETMORE_TOPIC = "client/c123/edge/e123/netmore"


def _things_stack(file: str, kind: UplinkKind, where: str, **members: object) -> Recorded:
    given: dict[str, object] = {"topic": _DOWN + where} | members
    return Recorded("the-things-stack", f"the-things-stack/{file}.json", kind, _TTS, **given)  # type: ignore[arg-type]


def _actility(file: str, kind: UplinkKind, **members: object) -> Recorded:
    given: dict[str, object] = {"topic": _THING} | members
    return Recorded("actility", f"actility/{file}.json", kind, _ACTILITY, **given)  # type: ignore[arg-type]


MESSAGES: list[Recorded] = [
    *_chirpstack("chirpstack", "chirpstack", "json", _V4),
    *_chirpstack("chirpstack-protobuf", "chirpstack", "bin", _V4),
    *_chirpstack("chirpstack-v3", "chirpstack-v3", "json", _V3),
    *_chirpstack("chirpstack-v3-protobuf", "chirpstack-v3", "bin", _V3),
    Recorded(
        "chirpstack-v3", "chirpstack-v3/up_json_v3.json", "up", _V3, f"application/12/device/{_V3}/rx", at=f"{AT}334Z",
        f_cnt=88, rssi=-88, gateway="24e124fffef45b04", gateway_location=(18.09, 64.63), temperature=True,
    ),
    _things_stack(
        "up", "up", "up", at=f"{AT}334Z", f_cnt=311, rssi=-84, gateway="24e124fffef45b06",
        gateway_location=(18.0123, 64.6001), battery=93.7, temperature=True,
    ),
    _things_stack("join", "join", "join", at="2026-03-02T07:00:00.9Z"),
    _things_stack("down_queued", "log", "down/queued", at="2026-03-02T08:15:50Z", told="accepted"),
    _things_stack("down_sent", "txack", "down/sent", at="2026-03-02T08:15:50Z", told="transmitted"),
    _things_stack("down_ack", "ack", "down/ack", at="2026-03-02T08:15:50Z", told="acknowledged"),
    _things_stack("down_nack", "ack", "down/nack", at="2026-03-02T08:15:50Z", told="retried"),
    _things_stack("down_failed", "log", "down/failed", at="2026-03-02T08:15:50Z", told="failed"),
    _things_stack(
        "location_solved", "location", "location/solved", at="2026-03-02T08:15:45Z", location=(18.0712, 64.6201)
    ),
    _things_stack("service_data", "log", "service/data", at="2026-03-02T08:15:45Z"),
    Recorded(
        "netmore", "netmore/http.json", "up", _NETMORE, at="2026-03-02T08:15:42.079435Z", f_cnt=76533, rssi=-87,
        gateway="7076ff0056081cca", gateway_location=(18.0071, 64.5953), battery=100, temperature=True,
        others=("a81758fffe03f6d5",),
    ),
    Recorded(
        "netmore", "netmore/raw.json", "up", _NETMORE, f"{_NETMORE_TOPIC}/raw/evt/blink/{_NETMORE}/elsys_ers_co2",
        at="2026-03-02T08:15:42.079435Z", f_cnt=76533, rssi=-87, gateway="7076ff0056081cca",
        gateway_location=(18.0071, 64.5953), battery=100, temperature=True,
    ),
    Recorded(
        "netmore", "netmore/point.json", "up", _NETMORE,
        f"{_NETMORE_TOPIC}/dp/evt/lorac/blink/uwpa/{_NETMORE}/s/temperature", at="2026-03-02T08:15:42.079Z",
        temperature=True,
    ),
    Recorded(
        "netmore", "netmore/point_snr.json", "status", _NETMORE,
        f"{_NETMORE_TOPIC}/dp/evt/lorac/blink/uwpa/{_NETMORE}/s/snr", at="2026-03-02T08:15:42.079Z",
    ),
    _actility(
        "uplink", "up", at="2026-03-02T08:15:42.911Z", f_cnt=368, rssi=-84, gateway="10001274",
        gateway_location=(18.0071, 64.5953), battery=78.7, margin=9, temperature=True,
    ),
    _actility(
        "uplink_texts", "up", at="2026-03-02T08:15:52.882Z", f_cnt=369, rssi=-80, gateway="004A18E4", gateway_location=(18.0123, 64.6001),
        temperature=True,
    ),
    _actility("join", "join", at="2026-03-02T07:00:00.49Z"),
    _actility("status", "status", at="2026-03-02T08:16:00.49Z", battery=100, margin=-3),
    _actility("location", "location", at="2026-03-02T08:15:45.336Z", location=(18.0712, 64.6201)),
    _actility("downlink_sent", "txack", at="2026-03-02T08:15:50.787Z", told="transmitted"),
    _actility("downlink_failed", "txack", at="2026-03-02T08:15:50.787Z", told="failed"),
    Recorded(
        "zigbee2mqtt", "zigbee2mqtt/values.json", "up", _ZIGBEE, "zigbee2mqtt/skola/rum 218", at=f"{AT}Z", battery=87,
        temperature=True,
    ),
    Recorded(
        "zigbee2mqtt", "zigbee2mqtt/values_plain.json", "up", _ZIGBEE, "zigbee2mqtt/0x00158d0001b79112", temperature=True
    ),
    Recorded("zigbee2mqtt", "zigbee2mqtt/joined.json", "join", _ZIGBEE, "zigbee2mqtt/bridge/event"),
    Recorded(
        "zigbee2mqtt", "zigbee2mqtt/online.json", "status", _ZIGBEE, "zigbee2mqtt/0x00158d0001b79112/availability"
    ),
    Recorded(
        "yggio", "yggio/update.json", "up", _YGGIO,
        "yggio/output/v2/675fc0dd-9e9f-4e9e-b041-827eefcd46a1/iotnode/5f3b6b9b4f4ddef3ad47df9f", temperature=True,
    ),
    Recorded(
        "yggio", "yggio/update_generic.json", "up", "5f3b6b9b4f4ddef3ad47dfa0",
        "publish/5f3b6b9b4f4ddef3ad47dfa0/knutpunkt",
    ),
    Recorded(
        "iot-open", "iot-open/value.json", "up", "a81758fffe03f6c9", "4711/obj/lora/A81758FFFE03F6C9/temperature",
        at=f"{AT}Z", temperature=True,
    ),
    Recorded(
        "iot-open", "iot-open/value_msg.json", "up", "4711.zwave.dorr-1", "4711/evt/zwave/dorr-1/open",
        at="2026-03-02T08:15:42Z",
    ),
    Recorded(
        "city", "generic/up.json", "up", _GENERIC, "city/norr/up", at=f"{AT}Z", f_cnt=9, rssi=-91, gateway="tak-1",
        battery=88, temperature=True,
    ),
    Recorded("city", "generic/join.json", "join", _GENERIC, "city/norr/join", event="join", at="2026-03-02T07:00:00Z"),
    Recorded(
        "city", "generic/status.json", "status", _GENERIC, "city/norr/status", event="status", at="2026-03-02T08:16:40Z",
        battery=87,
    ),
    Recorded(
        "city", "generic/location.json", "location", _GENERIC, "city/norr/place", event="place", at="2026-03-02T08:15:45Z",
        location=(18.0712, 64.6201),
    ),
]  # fmt: skip
"""Each of one device's; those of nobody and those in parts are tested by themselves."""

SILENT = [
    ("the-things-stack", "the-things-stack/down_push.json", "v3/inomhusklimat@ttn/devices/rum-216/down/push"),
    ("the-things-stack", "the-things-stack/normalized.json", "v3/inomhusklimat@ttn/devices/rum-216/up/normalized"),
    ("zigbee2mqtt", "zigbee2mqtt/bridge_state.json", "zigbee2mqtt/bridge/state"),
    ("zigbee2mqtt", "zigbee2mqtt/offline.json", "zigbee2mqtt/0x00158d0001b79112/availability"),
    ("zigbee2mqtt", "zigbee2mqtt/values.json", "zigbee2mqtt/0x00158d0001b79112/set"),
    ("zigbee2mqtt", "zigbee2mqtt/values.json", "zigbee2mqtt/0x00158d0001b79112/get/state"),
]
"""(network, file, topic) of messages that are understood and tell of no device."""
