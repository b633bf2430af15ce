"""What query and path parameters are: by name, and by operation where one name means two things.

Clauses are ETSI GS CIM 009 v1.9.1's. A parameter that is not here is described as a text (and fails a test).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

TEXT: Final[dict[str, Any]] = {"type": "string"}
URI: Final[dict[str, Any]] = {"type": "string", "format": "uri"}
FLAG: Final[dict[str, Any]] = {"type": "boolean", "default": False}
MOMENT: Final[dict[str, Any]] = {"type": "string", "format": "date-time"}
NATURAL: Final[dict[str, Any]] = {"type": "integer", "minimum": 0, "default": 0}
FORMATS: Final[dict[str, Any]] = {"type": "string", "enum": ["normalized", "concise", "simplified", "keyValues"]}


@dataclass(frozen=True, slots=True)
class Known:
    """One parameter."""

    description: str
    schema: dict[str, Any]
    clause: str = ""
    example: Any = None
    required: bool = False


NGSI_LD: Final[dict[str, Known]] = {
    "aggrMethods": Known(
        "Methods of aggregation, with aggregatedValues alone, which is not supported yet.", TEXT, "4.5.19"
    ),
    "aggrPeriodDuration": Known(
        "Period of aggregation, with aggregatedValues alone, which is not supported yet.", TEXT, "4.5.19"
    ),
    "after": Known("Where the page begins, as the 'next' link of the page before says it.", TEXT),
    "attrs": Known(
        "Attributes, comma-separated: entities that have one of them, and of these no others. Not with 'pick' or 'omit'.",
        TEXT,
        "4.21, 6.4.3.2",
        "temperature,co2",
    ),
    "collation": Known("How texts are ordered: a language, maybe with a strength.", TEXT, "4.23", "sv"),
    "containedBy": Known(
        "Ids of entities that are not to be retrieved again as linked ones, comma-separated.", TEXT, "4.5.23"
    ),
    "coordinates": Known("Coordinates of 'geometry', as in GeoJSON.", TEXT, "4.10", "[18.0712,64.6214]"),
    "count": Known("Say in the header NGSILD-Results-Count how many there are in all.", FLAG, "6.3.13"),
    "csf": Known("Filter on context sources. Checked; this broker is the only source.", TEXT, "4.9"),
    "datasetId": Known("Attribute instances, comma-separated URIs; '@none' is the default instance.", TEXT, "4.5.5"),
    "deleteAll": Known("Delete all instances of the attribute, whatever their datasetId.", FLAG, "6.7.3.2"),
    "details": Known("Answer with details, not just names.", FLAG, "6.25.3.1, 6.27.3.1, 6.29.3.2, 6.30.3.1"),
    "drop": Known("Delete only these attributes, comma-separated, not the entities. Not with 'keep'.", TEXT, "6.4.3.3"),
    "endTimeAt": Known("End of the interval of timerel=between, not in it.", MOMENT, "4.11", "2026-11-21T07:00:00Z"),
    "entityMap": Known("Ask for an entity map. Checked; with one broker there is nothing to map.", FLAG, "6.4.3.2"),
    "entityMapLifetime": Known("How long an entity map is to live. Of no effect with one broker.", TEXT, "6.4.3.2"),
    "expandValues": Known("Attributes whose values in 'q' are names in the @context, comma-separated.", TEXT, "4.9"),
    "format": Known("Representation; decides over 'options'.", FORMATS, "6.3.7"),
    "geometry": Known(
        "Kind of the geometry that entities are compared to.",
        {
            "type": "string",
            "enum": ["Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon"],
        },
        "4.10",
    ),
    "geometryProperty": Known(
        "Attribute that becomes a Feature's geometry; needs 'Accept: application/geo+json'.", TEXT, "6.3.7"
    ),
    "geoproperty": Known("Attribute that is compared; without it 'location'.", TEXT, "4.10"),
    "georel": Known(
        "How entities lie to the geometry: near with a distance, within, contains, intersects, equals, disjoint, overlaps.",
        TEXT,
        "4.10",
        "near;maxDistance==300",
    ),
    "id": Known("Ids of entities, comma-separated.", TEXT, "6.4.3.2"),
    "idPattern": Known("Regular expression that ids match (RE2).", TEXT, "6.4.3.2"),
    "join": Known(
        "Retrieve linked entities too: beside the others (flat), or within their relationships (inline).",
        {"type": "string", "enum": ["flat", "inline", "@none"], "default": "@none"},
        "4.5.23",
    ),
    "joinLevel": Known("How many links far.", {"type": "integer", "minimum": 1, "default": 1}, "4.5.23"),
    "jsonKeys": Known("Attributes whose values in 'q' are plain JSON, comma-separated.", TEXT, "4.9"),
    "keep": Known(
        "Delete all attributes but these, comma-separated, not the entities. Not with 'drop'.", TEXT, "6.4.3.3"
    ),
    "kind": Known(
        "Only @contexts of this kind.",
        {"type": "string", "enum": ["Cached", "Hosted", "ImplicitlyCreated"]},
        "6.29.3.2",
    ),
    "lang": Known("Languages in order of preference: language properties become texts.", TEXT, "4.15", "sv,en;q=0.8"),
    "lastN": Known(
        "Only the newest so many instances of each attribute, newest first.",
        {"type": "integer", "minimum": 1},
        "5.7.3, 5.7.4",
        10,
    ),
    "limit": Known("Most on one page.", {"type": "integer", "minimum": 0, "default": 20}, "5.5.9, 6.3.10"),
    "local": Known("Only what this broker has itself.", FLAG, "5.5.13"),
    "observedAt": Known(
        "When what the body says was observed, for attributes that do not say it themselves.", MOMENT, "6.5.3.4"
    ),
    "offset": Known("How many to skip.", NATURAL, "5.5.9"),
    "omit": Known("Members to leave out, comma-separated; those of linked entities in braces.", TEXT, "4.21"),
    "options": Known("Keywords, comma-separated.", TEXT, "6.3.20"),
    "orderBy": Known(
        "What the entities are ordered by: attributes or members, each maybe with asc, desc, dist-asc or dist-desc.",
        TEXT,
        "4.23",
        "temperature;desc",
    ),
    "orderFrom": Known("Coordinates that 'dist-asc' and 'dist-desc' measure from.", TEXT, "4.23", "[18.0712,64.6214]"),
    "orderGeometry": Known("Kind of the geometry of 'orderFrom'.", {"type": "string", "default": "Point"}, "4.23"),
    "pick": Known(
        "Members to show and no others, comma-separated; those of linked entities in braces.",
        TEXT,
        "4.21",
        "id,temperature",
    ),
    "q": Known("Condition on attributes.", TEXT, "4.9", "temperature>21;co2<=900"),
    "reload": Known("Fetch a cached @context anew instead of deleting it.", FLAG, "6.30.3.2"),
    "scopeQ": Known("Condition on scopes.", TEXT, "4.19", "/Soralva/School/#"),
    "splitEntities": Known(
        "Whether entities may be split between brokers. Checked; with one broker none is.", FLAG, "6.4.3.2"
    ),
    "timeAt": Known(
        "End of the interval of timerel=before, not in it; beginning of that of after and between, in it.",
        MOMENT,
        "4.11",
        "2026-11-21T06:00:00Z",
    ),
    "timeproperty": Known(
        "The time of an instance that is compared. Instances that have none are not meant.",
        {"type": "string", "enum": ["observedAt", "createdAt", "modifiedAt", "deletedAt"], "default": "observedAt"},
        "4.8, 4.11",
    ),
    "timerel": Known(
        "Which instances are meant: those before or after timeAt, or between timeAt and endTimeAt.",
        {"type": "string", "enum": ["before", "after", "between"]},
        "4.11",
        "after",
    ),
    "type": Known(
        "Types of entities: names with ',' or '|' for or, ';' for and, parentheses; '*' is any.", TEXT, "4.17", "Room"
    ),
}

MANAGEMENT: Final[dict[str, Known]] = {
    "after": Known("Id of the last one on the page before.", {"type": "string", "default": ""}),
    "at": Known("At this time; of lineage, without it now.", MOMENT),
    "attribute": Known("Only this attribute.", TEXT, "", "co2"),
    "before": Known("Only what is from before this time.", MOMENT, "", "2026-01-31T12:00:00Z"),
    "batteryBelow": Known("Only devices whose battery has less left, percent.", {"type": "number"}, "", 20),
    "bound": Known("Only devices that are a virtual sensor now, or only those that are none.", {"type": "boolean"}),
    "by": Known("Who wants it, for the record of swaps.", TEXT, "", "Åsa"),
    "datasetId": Known("Of the instance with this datasetId; without it the default one.", URI),
    "crs": Known(
        "What coordinates are: EPSG:4326 is longitude and latitude, EPSG:3006 SWEREF 99 TM. Without it as the file says.",
        {"type": "string", "enum": ["EPSG:3006", "EPSG:4326"]},
    ),
    "deadLetters": Known(
        "Of discard: what is discarded becomes dead letters; false for away for good.",
        {"type": "boolean", "default": True},
    ),
    "depth": Known(
        "Levels of places within places to show; without it all.", {"type": "integer", "minimum": 0, "maximum": 100}
    ),
    "device": Known("Only of this device.", TEXT),
    "dryRun": Known("Write nothing; say what would be created and changed, and all that is wrong.", FLAG),
    "entity": Known("Only of this entity.", URI),
    "entityType": Known("Only with this entity type: a name, or an IRI.", TEXT, "", "WasteContainer"),
    "event": Known(
        "Kind of the message, as ChirpStack's HTTP integration says it.", {"type": "string", "default": "up"}, "", "up"
    ),
    "excel": Known("As Swedish Excel has CSV: ';' between cells, a decimal comma, a byte order mark.", FLAG),
    "format": Known("Representation; decides over the header Accept.", {"type": "string", "enum": ["json", "csv"]}),
    "from": Known("Changes made from this time on.", MOMENT, "", "2026-01-31T12:00:00Z"),
    "kind": Known(
        "Only alarms of this kind.",
        {"type": "string", "enum": ["silence", "battery", "radio", "frameLoss", "implausible", "threshold"]},
    ),
    "lastEventId": Known("As the header Last-Event-ID, for who cannot send it.", TEXT),
    "id": Known("Only these entities, comma-separated.", TEXT, "", "urn:ngsi-ld:Room:214"),
    "limit": Known("Most on one page.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
    "managedBy": Known("Only what has this owner mark (`knutpunkt apply --owner`).", TEXT, "", "city-in-git"),
    "model": Known("Only of this device model.", TEXT, "", "elsys-ers-co2"),
    "near": Known("Around a position: longitude, latitude, metres.", TEXT, "", "18.0712,64.6214,300"),
    "network": Known("Only of this kind of network.", {"type": "string", "enum": ["lorawan", "nb-iot"]}),
    "newestFirst": Known("From the newest to the oldest.", FLAG),
    "open": Known("Only those that anything more is to become of, or only those that have ended.", {"type": "boolean"}),
    "relationship": Known(
        "The relationship from a place to its parent; without it the one that suits their types.",
        TEXT,
        "",
        "containedInPlace",
    ),
    "rename": Known(
        "What columns or properties are meant to be: id, type, parent or attributes.",
        TEXT,
        "",
        "OBJEKT_ID:id,NAMN:name",
    ),
    "search": Known(
        "Only those with this text in their id, name, note or vendor, of a place in its name or street address; upper "
        "and lower case are alike.",
        TEXT,
        "",
        "skol",
    ),
    "severity": Known(
        "Only alarms of this severity.",
        {"type": "string", "enum": ["informational", "low", "medium", "high", "critical"]},
    ),
    "silentFor": Known(
        "Only devices that have not been heard for so long, or never: seconds, or an ISO 8601 duration.",
        TEXT,
        "",
        "PT2H",
    ),
    "since": Known("From this time on.", MOMENT),
    "state": Known(
        "Only alarms in this state; active: open or acknowledged.",
        {"type": "string", "enum": ["open", "acknowledged", "closed", "active"]},
    ),
    "status": Known(
        "Only uplinks that this became of.",
        {"type": "string", "enum": ["applied", "quarantined", "rejected", "discarded"]},
    ),
    "strict": Known("Attributes that neither the models nor we know are deviations, too.", FLAG),
    "ticket": Known("A ticket in place of a token, for who cannot send headers.", TEXT),
    "to": Known("Changes made before this time; without it, up to now.", MOMENT, "", "2026-01-31T13:00:00Z"),
    "swap": Known("Rows may put another device where one is; otherwise that is a problem.", FLAG),
    "type": Known(
        "Only of these types, as in NGSI-LD's 'type'; '*' is any. Without it those of the setting places.types.",
        TEXT,
        "",
        "Building",
    ),
    "unbound": Known("Only virtual sensors that no device is now, or only the others.", {"type": "boolean"}),
    "until": Known("Before this time.", MOMENT),
    "virtualSensor": Known("Only of this virtual sensor.", TEXT, "", "room-214-climate"),
    "why": Known("What for, for the record of swaps.", {"type": "string", "default": "import"}, "", "new school"),
    "within": Known("Within a rectangle: west, south, east, north.", TEXT, "", "18.05,64.61,18.09,64.63"),
}

_COMMAND_STATUS: Final = Known(
    "Only commands with this status.",
    {"type": "string", "enum": ["queued", "sent", "acknowledged", "failed", "expired", "cancelled"]},
)
_EVOLUTION_FORMAT: Final = Known(
    "Representation; decides over 'options'. temporalValues is simplified: pairs of value and time.",
    {"type": "string", "enum": ["normalized", "concise", "simplified", "temporalValues"]},
    "4.5.7, 4.5.9",
)
_NOT_OF_EVOLUTIONS: Final = Known("Not supported yet for temporal evolutions: refused with 422.", TEXT)

SPECIAL: Final[dict[tuple[str, str], Known]] = {
    ("delivery_list_", "state"): Known(
        "Only subscriptions whose delivery is in this state.",
        {
            "type": "string",
            "enum": ["idle", "delivering", "retrying", "hostResting", "throttled", "paused", "inactive", "expired"],
        },
    ),
    ("delivery_replay", "deadLetters"): Known("Send again what was given up on. Not with 'from' or 'to'.", FLAG),
    ("actuation_every", "status"): _COMMAND_STATUS,
    ("actuation_of_sensor", "status"): _COMMAND_STATUS,
    ("attributes_delete", "datasetId"): Known("The instance to delete; without it the default one.", TEXT, "6.7.3.2"),
    ("places_import_import_places", "type"): Known("Type of rows that say none.", TEXT, "", "Building"),
    ("model_check_check", "type"): Known("Only of these types, as in NGSI-LD's 'type'.", TEXT, "", "WasteContainer"),
    ("model_check_check", "limit"): Known(
        "Most deviations that are listed; all are counted.",
        {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
    ),
    ("places_listed", "after"): Known("Where the page begins, as 'next' of the page before says it.", TEXT),
    ("places_overview", "after"): Known("Id of the last entity on the page before.", TEXT),
    ("places_overview", "limit"): Known(
        "Most entities on one page.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 1000}
    ),
    ("provision_merge", "format"): Known(
        "The body is in simplified representation.",
        {"type": "string", "enum": ["simplified", "keyValues"]},
        "6.5.3.4",
    ),
    ("provision_merge", "lang"): Known(
        "Language of texts in the body that are language properties.", TEXT, "6.5.3.4", "sv"
    ),
    **{("temporal_query", name): _NOT_OF_EVOLUTIONS for name in ("csf", "georel", "q", "scopeQ")},
    ("temporal_query", "format"): _EVOLUTION_FORMAT,
    ("temporal_query", "orderBy"): Known(
        "By id alone, and with local=true: id, id;asc or id;desc.", TEXT, "4.23", "id"
    ),
    ("temporal_query", "timeAt"): Known(
        "End of the interval of timerel=before, not in it; beginning of that of after and between, in it.",
        MOMENT,
        "4.11",
        "2026-11-21T06:00:00Z",
        required=True,
    ),
    ("temporal_query", "timerel"): Known(
        "Which instances are meant: those before or after timeAt, or between timeAt and endTimeAt.",
        {"type": "string", "enum": ["before", "after", "between"]},
        "4.11",
        "after",
        required=True,
    ),
    ("temporal_retrieve", "format"): _EVOLUTION_FORMAT,
    ("received_history", "entity"): Known("The entity whose history is asked for.", URI, required=True),
}
"""By operation and name."""

STREAM: Final[dict[str, Known]] = {
    "attrs": Known("Only changes of these attributes, comma-separated; of the entities these and no others.", TEXT),
}
"""What means another thing in a stream than in a query."""

ONE_ENTITY: Final = Known("The entity is meant only if it is of these types.", TEXT, "4.17", "Room")
"""`type` where the path names an entity."""

PATH: Final[dict[str, Known]] = {
    "alarm": Known("Id of an alarm.", TEXT, "", "019ab1c2-7d3e-7000-8000-000000000003"),
    "attribute": Known("Name of an attribute: a term of the @context, or an IRI.", TEXT, "4.6.2", "temperature"),
    "binding": Known("Id of a binding.", TEXT, "", "019ab1c2-7d3e-7000-8000-000000000003"),
    "command": Known("Id of a command.", TEXT, "", "019ab1c2-7d3e-7000-8000-000000000003"),
    "context": Known(
        "Id or URL (percent-encoded) of an @context.", TEXT, "6.30.2", "019ab1c2-7d3e-7000-8000-000000000001"
    ),
    "device": Known("Hardware id: DevEUI in lower-case hex, IMEI.", TEXT, "", "a81758fffe0d0002"),
    "document": Known("File name of a published @context.", TEXT, "", "knutpunkt-v1.jsonld"),
    "entity": Known("Id of an entity.", URI, "6.5.2", "urn:ngsi-ld:Room:214"),
    "key": Known("Id of a device's key.", TEXT, "", "019ab1c2-7d3e-7000-8000-000000000003"),
    "model": Known("Id of a device model.", TEXT, "", "elsys-ers-co2"),
    "network": Known("Network server that pushes.", TEXT, "", "chirpstack"),
    "place": Known("Id of a place: of its entity.", URI, "", "urn:ngsi-ld:Building:school"),
    "reprocessing": Known("Id of a reprocessing.", TEXT, "", "019ab1c2-7d3e-7000-8000-000000000003"),
    "sensor": Known("Id of a virtual sensor.", TEXT, "", "room-214-climate"),
    "receiver": Known("Id of a receiver.", TEXT, "", "operations"),
    "subscription": Known("Id of a subscription.", URI, "6.11.2", "urn:ngsi-ld:Subscription:tour"),
    "swap": Known("Id of a swap.", TEXT, "", "019ab1c2-7d3e-7000-8000-000000000001"),
    "table": Known(
        "What of the registry; all of it is JSON only.",
        {"type": "string", "enum": ["models", "virtual-sensors", "devices", "bindings", "registry"]},
        "",
        "devices",
    ),
    "tenant": Known("Name of a tenant.", TEXT, "", "soralva"),
    "type": Known("Name of an entity type: a term of the @context, or an IRI.", TEXT, "6.26.2", "Room"),
    "uplink": Known("Id of an uplink.", TEXT, "", "019ab1c2-7d3e-7000-8000-000000000002"),
}


OPTIONS: Final[dict[str, str]] = {
    "concise": "say it with 'format' instead",
    "keyValues": "say it with 'format' instead",
    "noOverwrite": "attributes that are there stay as they are",
    "normalized": "say it with 'format' instead",
    "replace": "entities that are there are replaced (the default)",
    "simplified": "say it with 'format' instead",
    "sysAttrs": "with createdAt and modifiedAt",
    "temporalValues": "say it with 'format' instead",
    "update": "of entities that are there, only the attributes given are replaced",
}
"""Keywords of the parameter `options`."""


def query_parameter(name: str, operation: str, path: str) -> Known:
    """What the query parameter `name` of an operation is."""
    special = SPECIAL.get((operation, name))
    if special is not None:
        return special
    if name == "type" and "{entity}" in path:
        return ONE_ENTITY
    if path == "/api/v1/stream" and name in NGSI_LD:
        return STREAM.get(name, NGSI_LD[name])
    return (NGSI_LD if path.startswith("/ngsi-ld/") else MANAGEMENT).get(name, Known("", TEXT))


def path_parameter(name: str) -> Known:
    """What the variable `name` of a path is."""
    return PATH.get(name, Known("", TEXT))
