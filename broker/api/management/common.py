"""What the management routes share: reading bodies and parameters, answering."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from broker.api.body import read_json
from broker.api.services import Services
from broker.clock import Micros, iso, parse_network_time
from broker.errors import BadRequestData
from broker.jsonio import dumps

MERGE_PATCH = "application/merge-patch+json"
PAGE = 100
PAGE_MOST = 1000


def answer(value: Any, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.Response(status=status, body=dumps(msgspec.to_builtins(value)), content_type="application/json")


async def body(request: web.Request, services: Services, *, patch: bool = False) -> dict[str, Any]:
    """The request's JSON object. `patch`: a merge patch, which may say so in its content type."""
    document = await read_json(request, services.settings.limits, *((MERGE_PATCH,) if patch else ()))
    if not isinstance(document, dict):
        raise BadRequestData("The body must be a JSON object.")
    return document


def members(document: dict[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """`document`, or BadRequestData naming the member that is not known."""
    allowed = list(known)
    for name in document:
        if name not in allowed:
            raise BadRequestData(f"The member '{name}' is not known here; known are: {', '.join(sorted(allowed))}.")
    return document


def text(document: dict[str, Any], name: str, *, required: bool = False) -> str | None:
    """A member that is a string."""
    value = document.get(name)
    if value is None and not required:
        return None
    if not isinstance(value, str) or not value:
        raise BadRequestData(f"'{name}' must be a non-empty string, got {_shown(value)}.")
    return value


def flag(document: dict[str, Any], name: str) -> bool:
    """A member that is true or false; false when it is not there."""
    value = document.get(name, False)
    if not isinstance(value, bool):
        raise BadRequestData(f"'{name}' must be true or false, got {_shown(value)}.")
    return value


def moment(value: Any, name: str) -> Micros | None:
    """A member or parameter that is an ISO 8601 date-time."""
    if value is None:
        return None
    at = parse_network_time(value) if isinstance(value, str) else None
    if at is None:
        raise BadRequestData(
            f"'{name}' must be an ISO 8601 date-time such as 2026-01-31T12:00:00Z, got {_shown(value)}."
        )
    return at


def page_limit(given: Mapping[str, str]) -> int:
    """The parameter `limit`."""
    value = given.get("limit")
    if value is None:
        return PAGE
    if not value.isascii() or not value.isdigit() or not 1 <= int(value[:9]) <= PAGE_MOST:
        raise BadRequestData(f"'limit' must be a whole number from 1 to {PAGE_MOST}, got {_shown(value)}.")
    return int(value)


def shown_times(body: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """`body` with the times under `names` as ISO 8601 text."""
    return {key: iso(value) if key in names and isinstance(value, int) else value for key, value in body.items()}


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
