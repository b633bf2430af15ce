"""What headers of requests and answers are (ETSI GS CIM 009 v1.9.1, 6.3; RFC 7240, 9110)."""

from __future__ import annotations

from typing import Any, Final

REQUEST: Final[dict[str, dict[str, Any]]] = {
    "NGSILD-Tenant": {
        "description": "Tenant that the request is for; without it the default one (6.3.14).",
        "schema": {"type": "string"},
    },
    "Link": {
        "description": (
            "URL of the JSON-LD @context that names are read in (6.3.5): "
            '<URL>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json". '
            "Not with a body of application/ld+json, which has its own; without either, the core @context."
        ),
        "schema": {"type": "string"},
    },
    "Prefer": {
        "description": (
            "ngsi-ld=1.5: data as that version of NGSI-LD has it (6.3.6). body=json: GeoJSON without '@context'."
        ),
        "schema": {"type": "string"},
    },
    "Last-Event-ID": {
        "description": "Id of the last event that was received: the stream goes on behind it.",
        "schema": {"type": "string"},
    },
    "If-Match": {
        "description": "Change it only if its ETag is one of these; '*' is any (RFC 9110, 13.1.1).",
        "schema": {"type": "string"},
    },
    "If-None-Match": {
        "description": "Not if its ETag is one of these (RFC 9110, 13.1.2).",
        "schema": {"type": "string"},
    },
}
"""OpenAPI does not let Accept stand among them: it follows from an answer's media types."""

ANSWER: Final[dict[str, dict[str, Any]]] = {
    "Location": {"description": "Path of what was created.", "schema": {"type": "string"}},
    "Link": {
        "description": "The @context that names are in (6.3.6); the 'next' and the 'prev' page (6.3.10; RFC 8288).",
        "schema": {"type": "string"},
    },
    "NGSILD-Results-Count": {
        "description": "How many there are in all, with count=true (6.3.13).",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Content-Range": {
        "description": (
            "The interval that the answer is of, and lastN or '*' (6.3.10): date-time 2026-11-21T06:00:00Z-"
            "2026-11-21T07:00:00Z/*. To have more, ask again from its end on."
        ),
        "schema": {"type": "string"},
    },
    "ETag": {
        "description": "The version and the representation, for If-Match and If-None-Match.",
        "schema": {"type": "string"},
    },
    "Retry-After": {"description": "Seconds after which to try again.", "schema": {"type": "integer"}},
}
