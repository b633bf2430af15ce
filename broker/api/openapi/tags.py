"""The groups that operations are shown in, by path, in the order in which a newcomer needs them."""

from __future__ import annotations

from typing import Final

_GROUPS: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("Entities", "Create, query, change and delete entities.", ("/ngsi-ld/v1/entities",)),
    ("Attributes", "Change attributes of one entity.", ("/ngsi-ld/v1/entities/{entity}/attrs",)),
    ("Batch operations", "Many entities in one request.", ("/ngsi-ld/v1/entityOperations",)),
    ("Temporal evolution", "What entities were like, and when.", ("/ngsi-ld/v1/temporal/",)),
    ("Subscriptions", "Be told of changes.", ("/ngsi-ld/v1/subscriptions",)),
    ("Delivery", "How notifications fare: look, pause, replay, discard.", ("/api/v1/subscriptions",)),
    ("Live stream", "Changes as they happen, for browsers and scripts.", ("/api/v1/stream",)),
    ("Discovery", "Which entity types and attributes there are.", ("/ngsi-ld/v1/types", "/ngsi-ld/v1/attributes")),
    ("JSON-LD contexts", "@contexts that the broker hosts and keeps.", ("/ngsi-ld/v1/jsonldContexts", "/context/")),
    ("NGSI-LD", "The rest of NGSI-LD.", ("/ngsi-ld/",)),
    ("Devices", "The registry: devices, and what makes of device send.", ("/api/v1/devices", "/api/v1/device-models")),
    ("Device keys", "What proves over CoAP which device speaks.", ("/api/v1/devices/{device}/keys",)),
    (
        "Virtual sensors",
        "Identities that last, and which device is which.",
        ("/api/v1/virtual-sensors", "/api/v1/bindings", "/api/v1/swaps", "/api/v1/devices/{device}/claim"),
    ),
    (
        "Import and export",
        "The registry as tables and lists, out of it and into it.",
        ("/api/v1/export", "/api/v1/import"),
    ),
    (
        "Commands",
        "Tell a sensor something, and follow what becomes of it.",
        ("/api/v1/commands", "/api/v1/virtual-sensors/{sensor}/commands"),
    ),
    ("Places", "Buildings, rooms and any place: import, and all that is known of one.", ("/api/v1/places",)),
    (
        "Alarms",
        "What is wrong with virtual sensors, who takes care, what is planned.",
        (
            "/api/v1/alarms",
            "/api/v1/virtual-sensors/{sensor}/health",
            "/api/v1/virtual-sensors/{sensor}/shelve",
            "/api/v1/virtual-sensors/{sensor}/unshelve",
        ),
    ),
    ("Receivers", "Tell people of alarms and thresholds: e-mail, Teams, webhooks.", ("/api/v1/receivers",)),
    ("Smart Data Models", "Do the entities keep to the published models?", ("/api/v1/model-check",)),
    ("Uplinks and history", "What came in, what waits, what was observed.", ("/api/v1/",)),
    ("Tenants", "Who shares this broker.", ("/api/v1/tenants",)),
    ("Operations", "Health, metrics, and this description.", ("/",)),
)

TAGS: Final = [{"name": name, "description": description} for name, description, _ in _GROUPS]


def tag_of(path: str) -> str:
    """The group of a path: that with the longest prefix of it."""
    matches = ((len(prefix), name) for name, _, prefixes in _GROUPS for prefix in prefixes if path.startswith(prefix))
    return max(matches)[1]
