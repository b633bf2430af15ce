"""A route as each resource's file declares it: `routes(services) -> list[Route]`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CONDITIONS = ("If-Match", "If-None-Match")
"""Headers of operations that change one entity (`broker.api.conditional`)."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one resource. A GET route serves HEAD too.

    From `parameters` on, fields say what the route takes and gives; the API's description (`broker.api.openapi`) is made of
    them and of the handler's docstring. What follows from the path, such as NGSILD-Tenant, is not said here.
    """

    method: str
    path: str
    """Template, e.g. '/api/v1/devices/{device}'. Also the label in metrics."""
    handler: Handler
    public: bool = False
    """Asks for no token."""
    own_check: bool = False
    """The handler checks who asks: some have a secret of their own in place of the token."""
    parameters: frozenset[str] = frozenset()
    """Query parameters: the very set that the handler passes to `broker.api.parameters.parameters`."""
    options: frozenset[str] = frozenset()
    """Keywords of the query parameter `options`."""
    headers: tuple[str, ...] = ()
    """Request headers of this operation in particular: CONDITIONS, 'Prefer'."""
    context: bool = True
    """On a path of NGSI-LD: names in it are read in an @context."""
    body: str = ""
    """Schema of the request's body (a file in `schemas/openapi` has it); '': there is none."""
    takes: tuple[str, ...] = ()
    """Media types of the request's body where they are not those that follow from path and method."""
    answers: Mapping[int, str] = field(default_factory=dict)
    """Status -> schema of the answer; 'X[]': a list of X; '': no body. Errors that every such route has need no mention."""
    paged: bool = False
    """An answer of ours has the header Link when another page follows."""
    media: tuple[str, ...] = ("application/json",)
    """Media types of an answer with data."""
