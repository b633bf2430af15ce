"""A route as each resource's file declares it: `routes(services) -> list[Route]`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one resource. A GET route serves HEAD too."""

    method: str
    path: str
    """Template, e.g. '/api/v1/devices/{device}'. Also the label in metrics."""
    handler: Handler
    public: bool = False
    """Asks for no token."""
