"""Settings: one typed object. A TOML file, overridden by KNUTPUNKT_… environment variables, overridden by flags.

Every setting has a unit (in its name or its text), a default and a line of documentation; `knutpunkt config` prints them
all. An unknown or invalid setting stops the start with a message that names it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import Meta, Struct


class InvalidSetting(Exception):
    """A setting is unknown or has no valid value; the text names it, where it came from and what would be right."""


def _doc(text: str, **bounds: Any) -> Meta:
    return Meta(description=text, **bounds)


class Http(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The HTTP server: NGSI-LD and management API."""

    host: Annotated[str, _doc("Address to listen on. Loopback unless told otherwise.")] = "127.0.0.1"
    port: Annotated[int, _doc("TCP port.", ge=0, le=65535)] = 1026
    token: Annotated[
        str,
        _doc(
            "Bearer token that every route but /health, /docs and /openapi.json asks for; '' asks for none. Keep it in the environment."
        ),
    ] = ""
    personal_token: Annotated[
        str,
        _doc(
            "Bearer token that goes for 'token', too, and is granted personal data; '' grants it to nobody. Keep it in the environment."
        ),
    ] = ""
    keepalive_seconds: Annotated[float, _doc("How long an idle connection stays open, seconds.", gt=0)] = 75.0
    compress_bytes: Annotated[
        int, _doc("Answers from this size on are packed for clients that take gzip, bytes; 0 for never.", ge=0)
    ] = 16 * 1024

    def __post_init__(self) -> None:
        """Raises ValueError: one secret cannot both withhold and grant."""
        if self.personal_token and self.personal_token == self.token:
            raise ValueError("'personal_token' must be another than 'token', which would grant personal data to all")


class StoreSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where entities, history, outbox and registry are kept."""

    url: Annotated[
        str, _doc("sqlite:///PATH (embedded, one process) or mongodb://… (replica set, several processes).")
    ] = "sqlite:///knutpunkt.db"
    entity_cache: Annotated[int, _doc("Entities the embedded store keeps in memory, count.", ge=0)] = 20_000
    readers: Annotated[int, _doc("Reading connections of the embedded store, count.", ge=1, le=64)] = 4


class Mqtt(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One MQTT broker to subscribe to. In TOML a table [[mqtt]] each; as a flag or in the environment a URL each."""

    url: Annotated[str, _doc("mqtt://[user:password@]host[:1883] or mqtts://… for TLS.")]
    name: Annotated[str, _doc("Name in logs, metrics and lineage; by default the host.")] = ""
    network: Annotated[
        str,
        _doc(
            "Which network server's messages, several with commas: chirpstack, chirpstack-v3, the-things-stack, netmore, "
            "actility, yggio, iot-open, zigbee2mqtt, or the name of a [[networks]]. auto: each is recognised by topic and shape."
        ),
    ] = "auto"
    topics: Annotated[
        tuple[str, ...],
        _doc("Topic filters; empty for the usual ones of the networks named; with auto those of all but iot-open."),
    ] = ()
    version: Annotated[
        str, _doc("MQTT version: 5, or 3.1.1 (The Things Stack's server knows no other).", pattern=r"^(5|3\.1\.1)$")
    ] = "5"
    qos: Annotated[
        int,
        _doc(
            "Quality of service, 1 or 0. At 0 (The Things Stack's server knows no other) what comes while we are away or busy "
            "is lost.",
            ge=0,
            le=1,
        ),
    ] = 1
    share: Annotated[str, _doc("Shared subscription group ($share/GROUP/…); '' for none. For several processes.")] = ""
    client_id: Annotated[str, _doc("Client id; must stay the same across restarts. '' makes one from the name.")] = ""
    username: Annotated[str, _doc("User name, if not in the URL.")] = ""
    password: Annotated[str, _doc("Password, if not in the URL. Keep it in the environment.")] = ""
    ca_file: Annotated[str, _doc("PEM file of the authorities to trust for mqtts; '' for the system's.")] = ""
    cert_file: Annotated[str, _doc("PEM file of our certificate for mqtts; '' for none.")] = ""
    key_file: Annotated[str, _doc("PEM file of our certificate's key; '' for none.")] = ""
    receive_maximum: Annotated[
        int, _doc("Messages unacknowledged at once, count: the back-pressure.", ge=1, le=65535)
    ] = 512
    session_expiry_seconds: Annotated[
        int, _doc("How long the broker keeps our session while we are away, seconds.", ge=0)
    ] = 7 * 24 * 3600
    keepalive_seconds: Annotated[int, _doc("MQTT keep-alive, seconds.", ge=1, le=65535)] = 30


class GenericNetwork(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A network whose JSON messages are described here. In TOML a table [[networks]] each.

    A path is names and indexes with dots between ('data.0.value'); '' for none.
    """

    name: Annotated[str, _doc("Its name, for mqtt.network and sources.network.", pattern="^[a-z][a-z0-9-]{0,39}$")]
    topic: Annotated[
        str,
        _doc(
            "Topic with {device}, {event} or {name of your own} for a level, '+' and '#' as in filters: "
            "'city/{area}/{device}/up'. '' where messages only come over HTTP."
        ),
    ] = ""
    each: Annotated[
        str, _doc("Path to the array of messages in one body; '.' where the body is it; '' for one message.")
    ] = ""
    device: Annotated[str, _doc("Path to the device's hardware id; '' where the topic has {device}.")] = ""
    name_path: Annotated[str, _doc("Path to the device's name.")] = ""
    payload: Annotated[str, _doc("Path to the payload's bytes.")] = ""
    encoding: Annotated[str, _doc("How the payload is written: hex or base64.", pattern="^(hex|base64)$")] = "hex"
    values: Annotated[
        str, _doc("Path to the object of decoded values, for codec 'object'; '.' for the whole message.")
    ] = ""
    f_port: Annotated[str, _doc("Path to the port.")] = ""
    f_cnt: Annotated[str, _doc("Path to the frame counter.")] = ""
    frame: Annotated[str, _doc("Path to what identifies the frame, so that one delivered twice is known.")] = ""
    time: Annotated[str, _doc("Path to the time of observation.")] = ""
    time_format: Annotated[
        str, _doc("How the time is written: iso (RFC 3339), s, ms or us since 1970.", pattern="^(iso|s|ms|us)$")
    ] = "iso"
    rssi: Annotated[str, _doc("Path to the signal strength, dBm.")] = ""
    snr: Annotated[str, _doc("Path to the signal-to-noise ratio, dB.")] = ""
    gateway: Annotated[str, _doc("Path to the gateway's id.")] = ""
    battery: Annotated[str, _doc("Path to the battery's level, percent.")] = ""
    latitude: Annotated[str, _doc("Path to the device's latitude, degrees.")] = ""
    longitude: Annotated[str, _doc("Path to the device's longitude, degrees.")] = ""
    event: Annotated[
        str, _doc("Path to what kind of message it is; '' where the topic has {event}, or all are uplinks.")
    ] = ""
    events: Annotated[
        dict[str, str],
        _doc(
            "What the kinds are called there -> up, join, status, log or location; others are passed over. Empty: all are "
            "uplinks."
        ),
    ] = {}


class Source(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who pushes uplinks to /api/v1/uplinks/{name}, by a secret of its own. In TOML a table [[sources]] each."""

    name: Annotated[str, _doc("Its name in the path.", pattern="^[a-z0-9][a-z0-9._-]{0,63}$")]
    network: Annotated[str, _doc("Which network server's messages (see mqtt.network), or the name of a [[networks]].")]
    token: Annotated[str, _doc("The secret that it sends. Keep the file readable to the broker alone.", min_length=16)]
    header: Annotated[
        str,
        _doc(
            "Header that has it; in Authorization after 'Bearer ', in any other alone.",
            pattern="^[A-Za-z][A-Za-z0-9-]{0,63}$",
        ),
    ] = "Authorization"
    user: Annotated[str, _doc("User name, if it sends the secret as password of basic authentication; '' if not.")] = ""


class Coap(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The CoAP server for NB-IoT devices. Off unless enabled."""

    enabled: Annotated[bool, _doc("Serve CoAP.")] = False
    host: Annotated[str, _doc("Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, _doc("UDP port, and with coap.tcp the TCP port.", ge=0, le=65535)] = 5683
    plain: Annotated[
        bool,
        _doc(
            "Take unprotected messages too, from devices that have no key: whoever reaches the port can speak for those. "
            "Only in a network where nobody else is, such as a private APN."
        ),
    ] = False
    oscore: Annotated[bool, _doc("Take messages protected by OSCORE (RFC 8613).")] = True
    tcp: Annotated[bool, _doc("Serve CoAP over TCP (RFC 8323), on the same port.")] = False
    dtls: Annotated[bool, _doc("Serve DTLS 1.2 with a pre-shared key a device; needs GnuTLS (libgnutls30).")] = False
    dtls_port: Annotated[int, _doc("UDP port of DTLS.", ge=0, le=65535)] = 5684
    key_secret: Annotated[
        str,
        _doc(
            "Encrypts devices' keys in the store: 32 bytes in hexadecimal (`openssl rand -hex 32`); '' stores them plainly. "
            "Keep it in the environment, and safe: without it the keys must be provisioned anew.",
            pattern="^([0-9a-fA-F]{64})?$",
        ),
    ] = ""
    requests: Annotated[int, _doc("Requests being worked on at once, count; beyond it devices get 5.03.", ge=1)] = 2000
    remembered: Annotated[
        int,
        _doc(
            "Messages remembered at most to answer their retransmissions, count, for 247 s and some 0.5 KB each; what was "
            "applied is known for ever.",
            ge=1,
        ),
    ] = 50_000
    sessions: Annotated[
        int, _doc("DTLS sessions at once, count, some 12 KB each; beyond it the longest idle goes.", ge=1)
    ] = 10_000
    session_idle_seconds: Annotated[
        float, _doc("How long a DTLS session or TCP connection may be idle before it is closed, seconds.", gt=0)
    ] = 3600.0
    connections: Annotated[int, _doc("TCP connections at once, count; beyond it new ones are closed.", ge=1)] = 2000
    contexts: Annotated[int, _doc("OSCORE contexts kept in memory, count; one that goes costs a write.", ge=1)] = (
        100_000
    )
    registrations: Annotated[int, _doc("LwM2M registrations at once, count.", ge=1)] = 100_000


class Limits(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits of inputs. What exceeds one is refused with a message that names the limit."""

    body_bytes: Annotated[int, _doc("Body of an HTTP request, bytes.", ge=1024)] = 4 * 1024 * 1024
    import_bytes: Annotated[int, _doc("Body of an import into the registry, bytes.", ge=1024)] = 64 * 1024 * 1024
    import_rows: Annotated[int, _doc("Rows of one import into the registry, count.", ge=1)] = 100_000
    json_depth: Annotated[int, _doc("Nesting of JSON, levels.", ge=4, le=500)] = 64
    batch_entities: Annotated[int, _doc("Entities in one batch operation, count.", ge=1)] = 10_000
    query_characters: Annotated[int, _doc("Length of q, characters.", ge=16)] = 8192
    query_terms: Annotated[int, _doc("Terms in one q, count.", ge=1)] = 100
    join_level: Annotated[int, _doc("Largest `joinLevel` of linked entity retrieval, levels.", ge=1)] = 10
    join_entities: Annotated[
        int, _doc("Linked entities that one request retrieves beside those it asks for, count.", ge=1)
    ] = 5000
    query_linked: Annotated[
        int, _doc("Entities that a condition of q on linked entities may lead to, count.", ge=1, le=10_000)
    ] = 1000
    temporal_entities: Annotated[
        int, _doc("Entities that a query of temporal evolutions may look at, count.", ge=1)
    ] = 10_000
    temporal_instances: Annotated[
        int, _doc("Instances of one attribute in an answer; where there are more, it is in part (206), count.", ge=1)
    ] = 1000
    query_results: Annotated[int, _doc("Largest `limit` of a query, entities.", ge=1)] = 1000
    pattern_characters: Annotated[int, _doc("Length of a regular expression, characters.", ge=1)] = 512
    geometry_vertices: Annotated[int, _doc("Vertices of a geometry in a query or an entity, count.", ge=4)] = 10_000
    uplink_bytes: Annotated[int, _doc("One uplink message, bytes; a longer one is kept, not understood.", ge=256)] = (
        256 * 1024
    )
    uplink_kept_bytes: Annotated[
        int, _doc("How much is kept of a message beyond uplink_bytes, bytes; its full length is noted.", ge=256)
    ] = 1024 * 1024
    clock_ahead_seconds: Annotated[
        int, _doc("How far ahead of ours a device's or network's time may be, seconds.", ge=0)
    ] = 300
    clock_behind_days: Annotated[int, _doc("How old an observation may be, days.", ge=1)] = 10 * 365
    context_bytes: Annotated[int, _doc("A remote @context, bytes.", ge=1024)] = 1024 * 1024
    context_seconds: Annotated[float, _doc("Time to fetch a remote @context, seconds.", gt=0)] = 5.0
    receivers: Annotated[int, _doc("Ready receivers (e-mail, Teams, webhooks), count.", ge=0)] = 500
    contexts_cached: Annotated[int, _doc("Compiled @contexts kept in memory, count.", ge=1)] = 500
    contexts_stored: Annotated[
        int,
        _doc(
            "@contexts kept in the store, count of each kind: beyond it the least used cached or implicitly created ones "
            "go, and no more can be hosted.",
            ge=1,
        ),
    ] = 1000


class Codecs(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Codecs in JavaScript: what one decoding may use, and where it is done."""

    threads: Annotated[
        int, _doc("Threads that run scripts, count; the devices of one model share one.", ge=1, le=64)
    ] = 2
    script_seconds: Annotated[
        float, _doc("Processor time of one decoding; a script that needs more is stopped, seconds.", gt=0, le=10)
    ] = 0.25
    script_megabytes: Annotated[int, _doc("Memory of one script, MB.", ge=2, le=1024)] = 16
    queued: Annotated[int, _doc("Uplinks that wait for a thread, count; beyond it, intake is refused.", ge=1)] = 10_000
    wait_seconds: Annotated[
        float,
        _doc("How long an uplink waits for its codec before its network is asked to send it again, seconds.", gt=0),
    ] = 10.0


class Writer(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The writer: group commit and its queue."""

    queue_commands: Annotated[
        int, _doc("Commands waiting at most, count; beyond it, intake waits or is refused.", ge=1)
    ] = 2000
    group_commands: Annotated[int, _doc("Commands in one commit at most, count.", ge=1)] = 256


class Delivery(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Notifications to apps."""

    timeout_seconds: Annotated[float, _doc("Time an endpoint has to answer, seconds.", gt=0)] = 10.0
    retry_first_seconds: Annotated[float, _doc("Pause before the first retry, seconds; doubles with jitter.", gt=0)] = (
        0.5
    )
    retry_longest_seconds: Annotated[float, _doc("Longest pause between retries, seconds.", gt=0)] = 300.0
    give_up_hours: Annotated[
        float, _doc("How long a notification is retried before it goes to the dead letters, hours.", gt=0)
    ] = 24.0
    told_days: Annotated[
        int, _doc("How long it is remembered who was told of a change, for its lineage, days.", ge=0)
    ] = 7
    host_connections: Annotated[int, _doc("Connections to one host at once, count.", ge=1)] = 32
    connections: Annotated[
        int, _doc("Connections to all hosts at once, count; at most half of the files the system lets us open.", ge=1)
    ] = 4096
    private_networks: Annotated[
        bool,
        _doc(
            "Endpoints and @contexts may be at loopback and private addresses. True suits a broker inside a city's network."
        ),
    ] = True
    mqtt_connections: Annotated[
        int, _doc("Connections to MQTT brokers that are endpoints, in all, count; those that wait take turns.", ge=1)
    ] = 200
    mqtt_idle_seconds: Annotated[
        float, _doc("After how long without a notification such a connection is closed, seconds.", gt=0)
    ] = 60.0
    lease_seconds: Annotated[
        float, _doc("How long a process holds a subscription's delivery before renewing, seconds.", gt=0)
    ] = 10.0


class Streams(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Live streams of changes (Server-Sent Events)."""

    connections: Annotated[
        int, _doc("Streams at once in one process, count; beyond it, 503. 0: none are served.", ge=0)
    ] = 100
    heartbeat_seconds: Annotated[
        float, _doc("A stream on which nothing came for so long says that it lives, seconds.", gt=0)
    ] = 15.0
    resume_hours: Annotated[
        float,
        _doc(
            "How far back a stream can go on from where it broke off, hours. So long are changes recorded, from the first "
            "stream on until so long after the last.",
            gt=0,
        ),
    ] = 24.0
    write_seconds: Annotated[
        float, _doc("A reader that takes nothing for so long is cut off; it may come back and go on, seconds.", gt=0)
    ] = 60.0
    origins: Annotated[
        tuple[str, ...],
        _doc("Web pages that may read streams: origins such as https://map.example.org, or *. None by default (CORS)."),
    ] = ()


class Smtp(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The mail server for receivers that are told by e-mail."""

    host: Annotated[str, _doc("Its name; '' for none: then no e-mail is sent.")] = ""
    port: Annotated[int, _doc("TCP port: 587 with STARTTLS, 465 with TLS, 25 without.", ge=1, le=65535)] = 587
    security: Annotated[
        str,
        _doc(
            "starttls, tls (from the first byte on) or none. With the first two the server's certificate is verified.",
            pattern="^(starttls|tls|none)$",
        ),
    ] = "starttls"
    username: Annotated[str, _doc("User name; '' for none.")] = ""
    password: Annotated[str, _doc("Password. Keep it in the environment.")] = ""
    sender: Annotated[
        str,
        _doc(
            "Address that e-mails are from.",
            pattern=r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$",
        ),
    ] = "knutpunkt@localhost"


class Actuation(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Commands to sensors."""

    expire_seconds: Annotated[int, _doc("How long a command may wait that does not say it itself, seconds.", ge=1)] = (
        24 * 3600
    )
    longest_seconds: Annotated[int, _doc("The longest that a command may wait, seconds.", ge=1)] = 30 * 24 * 3600
    queued_per_sensor: Annotated[int, _doc("Open commands of one virtual sensor, count.", ge=1)] = 20
    queued: Annotated[
        int,
        _doc("Open commands in all, count; found by the last look at them, so that it can be exceeded by a few.", ge=1),
    ] = 10_000
    look_seconds: Annotated[
        float, _doc("How often it is looked for commands that can be sent or have expired, seconds.", gt=0)
    ] = 2.0
    handover_seconds: Annotated[
        float, _doc("Time an MQTT broker has to acknowledge that it has a command, seconds.", gt=0)
    ] = 5.0
    keep_days: Annotated[int, _doc("How long commands that have ended are kept, days.", ge=1)] = 365


class QuarantineSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Uplinks that nobody has claimed."""

    keep_days: Annotated[
        int, _doc("How long an uplink waits in quarantine before it is discarded, days; 0 for ever.", ge=0)
    ] = 365


class RawUplinks(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long the bytes of uplinks are kept. Without them an uplink cannot be decoded again, nor attributed anew."""

    keep_days: Annotated[
        str,
        _doc(
            "The bytes of applied uplinks, days; 0: they go as soon as they are applied. A tenant may have its own (docs/reprocess.md).",
            pattern=r"^(forever|0|[1-9]\d{0,4})$",
        ),
    ] = "forever"


class Reprocess(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Decoding kept uplinks again."""

    preview_seconds: Annotated[
        float,
        _doc("How long it may be looked for what would change; what was found by then is told, seconds.", gt=0, le=600),
    ] = 20.0


class Tenancy(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Tenants (ETSI GS CIM 009, 5.5.10): data of several owners, apart from each other."""

    creation: Annotated[
        str,
        _doc(
            "implicit: creating an entity or a subscription for a tenant that is not there creates it; explicit: only "
            "the management API does.",
            pattern="^(implicit|explicit)$",
        ),
    ] = "implicit"
    most: Annotated[int, _doc("Tenants beside the default one, count.", ge=0)] = 100


class Places(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Places: entities that contain others, by relationships."""

    relationships: Annotated[
        str,
        _doc(
            "Relationships that lead from what is contained to what contains it, names or IRIs, comma-separated; where an "
            "entity has several, the first of these is its place."
        ),
    ] = "isSpaceOfBuilding,containedInPlace,refPointOfInterest"
    types: Annotated[
        str, _doc("Entity types that are places even when nothing is in them, names or IRIs, comma-separated.")
    ] = "AdministrativeArea,Place,Site,Building,BuildingSpace,Room,PointOfInterest,Beach,Park,ParkingSpot,SportsField"
    contained: Annotated[
        int,
        _doc("Entities within one place that one request looks at, count; an answer says when there are more.", ge=1),
    ] = 10_000
    levels: Annotated[
        int, _doc("How deep places within places are followed, and how far up, levels.", ge=1, le=100)
    ] = 20
    import_rows: Annotated[int, _doc("Places in one import, count.", ge=1)] = 20_000


class Alarms(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Alarms of virtual sensors."""

    scan_seconds: Annotated[
        float, _doc("How often it is looked which sensors are silent and which delays have passed, seconds.", gt=0)
    ] = 30.0
    registry_seconds: Annotated[
        float,
        _doc(
            "After a change of the registry all virtual sensors are looked through, at most once in this time, seconds.",
            gt=0,
        ),
    ] = 300.0


class Log(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Logs, on standard error."""

    format: Annotated[str, _doc("json or console.", pattern="^(json|console)$")] = "console"
    level: Annotated[str, _doc("debug, info, warning or error.", pattern="^(debug|info|warning|error)$")] = "info"


class Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All settings."""

    http: Http = Http()
    store: StoreSettings = StoreSettings()
    mqtt: tuple[Mqtt, ...] = ()
    networks: tuple[GenericNetwork, ...] = ()
    sources: tuple[Source, ...] = ()
    coap: Coap = Coap()
    limits: Limits = Limits()
    codecs: Codecs = Codecs()
    writer: Writer = Writer()
    delivery: Delivery = Delivery()
    streams: Streams = Streams()
    smtp: Smtp = Smtp()
    actuation: Actuation = Actuation()
    tenants: Tenancy = Tenancy()
    places: Places = Places()
    quarantine: QuarantineSettings = QuarantineSettings()
    raw_uplinks: RawUplinks = RawUplinks()
    reprocess: Reprocess = Reprocess()
    alarms: Alarms = Alarms()
    log: Log = Log()
    base_url: Annotated[
        str,
        _doc(
            "How others reach this broker (in Link headers and locations of its own @contexts); '' for the request's."
        ),
    ] = ""
    shutdown_seconds: Annotated[float, _doc("Time an orderly stop may take, seconds.", gt=0)] = 10.0


def documented(section: type[Struct]) -> list[tuple[str, str]]:
    """(setting, documentation) of a section, in order."""
    hints = get_type_hints(section, include_extras=True)
    return [
        (field, next((meta.description or "" for meta in getattr(hints[field], "__metadata__", ())), ""))
        for field in section.__struct_fields__
    ]


def load_settings(
    file: Path | None = None, environment: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None
) -> Settings:
    """The settings from a TOML file, then the environment, then flags (`{"http.port": 1027, "mqtt": ["mqtt://…"]}`).

    An environment variable is KNUTPUNKT_ and the setting's path in capitals: KNUTPUNKT_HTTP_PORT, KNUTPUNKT_BASE_URL;
    KNUTPUNKT_MQTT is a comma-separated list of URLs. Raises InvalidSetting.
    """
    tree = _read_file(file) if file is not None else {}
    for path, text, origin in [*_from_environment(environment or {}), *_from_flags(flags or {})]:
        _place(tree, path, text, origin)
    try:
        return msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidSetting(f"Settings: {error}") from None


def _read_file(file: Path) -> dict[str, Any]:
    try:
        tree = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise InvalidSetting(f"The settings file '{file}' cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"The settings file '{file}' is not valid TOML: {error}.") from None
    try:
        msgspec.convert(tree, Settings, strict=True)
    except msgspec.ValidationError as error:
        raise InvalidSetting(f"The settings file '{file}': {error}") from None
    return tree


def _paths() -> dict[str, tuple[str, ...]]:
    """Environment variable -> path of the setting."""
    known: dict[str, tuple[str, ...]] = {}
    for field, hint in get_type_hints(Settings).items():
        if isinstance(hint, type) and issubclass(hint, Struct):
            known |= {f"KNUTPUNKT_{field}_{name}".upper(): (field, name) for name in hint.__struct_fields__}
        else:
            known[f"KNUTPUNKT_{field}".upper()] = (field,)
    return known


NOT_SETTINGS = frozenset({"KNUTPUNKT_CONFIG", "KNUTPUNKT_URL", "KNUTPUNKT_TOKEN", "KNUTPUNKT_TTN_DEVICES"})
"""Environment variables of the command line, and of the tests (beside KNUTPUNKT_TEST_…) the device repository's checkout."""


def _from_environment(environment: Mapping[str, str]) -> list[tuple[tuple[str, ...], Any, str]]:
    known = _paths()
    found: list[tuple[tuple[str, ...], Any, str]] = []
    for variable, text in environment.items():
        if not variable.startswith("KNUTPUNKT_") or variable in NOT_SETTINGS or variable.startswith("KNUTPUNKT_TEST_"):
            continue
        if variable not in known:
            raise InvalidSetting(
                f"The environment variable {variable} is not a setting; `knutpunkt config` lists them."
            )
        found.append((known[variable], _urls(text.split(",")) if variable == "KNUTPUNKT_MQTT" else text, variable))
    return found


def _from_flags(flags: Mapping[str, Any]) -> list[tuple[tuple[str, ...], Any, str]]:
    return [
        (tuple(path.split(".")), _urls(value) if path == "mqtt" else value, f"--{path.replace('.', '-')}")
        for path, value in flags.items()
        if value is not None and value != ()
    ]


def _urls(urls: Any) -> list[dict[str, str]]:
    return [{"url": url.strip()} for url in urls if url.strip()]


def _place(tree: dict[str, Any], path: tuple[str, ...], value: Any, origin: str) -> None:
    """Put `value` at `path`, having checked it alone so that the message names where it came from."""
    single: dict[str, Any] = {}
    for where in (single, tree):
        branch = where
        for name in path[:-1]:
            branch = branch.setdefault(name, {})
        branch[path[-1]] = value
    try:
        msgspec.convert(single, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidSetting(f"{origin}: {error}, got {value!r}.") from None
