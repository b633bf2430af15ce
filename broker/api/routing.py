"""Routes onto aiohttp's router: each wrapped in the layer; what is not there is a ProblemDetail too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from re import compile as pattern

from aiohttp import web

from broker.access.token import BearerTokens
from broker.api.layer import request_ids, wrapped
from broker.api.problem import NoSuchRoute, NotAllowed
from broker.api.route import Handler, Route
from broker.config import Settings
from broker.errors import BadRequestData

_ID_ABOVE = pattern(r"(?<=/ngsi-ld/v1/entities)/\{entity\}/")
_COLLECTIONS = frozenset({"/ngsi-ld/v1/subscriptions"})
"""Whose name with a slash at the end is the collection itself (6.10), not an item of it without its id."""
_VARIABLE = pattern(r"\{[^{}]*\}")
"""Two templates that differ only in what they call a variable are one resource to those who ask."""


def with_routes(settings: Settings, routes: Sequence[Route]) -> web.Application:
    """An application of `routes`; every other path is 404 and every other method but OPTIONS 405."""
    limits = settings.limits
    check = BearerTokens(settings.http.token, settings.http.personal_token).check
    new_id = request_ids()
    app = web.Application(client_max_size=limits.body_bytes)

    def add(route: Route, method: str, path: str) -> None:
        endpoint = wrapped(
            replace(route, method=method),
            new_id=new_id,
            check=check,
            body_bytes=limits.body_bytes,
            compress_bytes=settings.http.compress_bytes,
        )
        app.router.add_route(method, path, endpoint)

    by_shape: dict[str, list[Route]] = {}
    for route in routes:
        by_shape.setdefault(_VARIABLE.sub("{}", route.path), []).append(route)
    # aiohttp tries the resources below one prefix in order; one item is asked for more often than its collection.
    shapes = sorted(by_shape.items(), key=lambda item: "{" not in item[0])
    # The standard writes collections with a slash at the end ('/entities/', 6.4.2), everyone else without: both work.
    for ending in ("", "/"):
        for _, members in shapes:
            for route in members:
                add(route, route.method, route.path + ending)
                if route.method == "GET":
                    add(route, "HEAD", route.path + ending)
            path = members[-1].path
            below = (
                _item_methods(by_shape, path)
                if ending and "{" not in path and path not in _COLLECTIONS
                else frozenset()
            )
            other = _other_methods(members, below)
            add(Route("*", path, other, public=all(r.public for r in members)), "*", path + ending)
    for path in dict.fromkeys(_ID_ABOVE.sub("//", route.path) for route in routes if _ID_ABOVE.search(route.path)):
        add(Route("*", path, _no_id), "*", path)
        add(Route("*", path, _no_id), "*", path + "/")
    add(Route("*", "(none)", _nothing_there), "*", "/{path:.*}")
    return app


def _item_methods(by_shape: Mapping[str, Sequence[Route]], path: str) -> frozenset[str]:
    """The methods of one item of the collection at `path`."""
    return frozenset(route.method for route in by_shape.get(_VARIABLE.sub("{}", path) + "/{}", ()))


async def _no_id(request: web.Request) -> web.StreamResponse:
    """What an operation on one entity answers when its id is not there (5.6.2–5.6.5, 5.6.17–5.6.19)."""
    raise BadRequestData(f"The path '{request.path[:200]}' has no id where one must stand.")


def _other_methods(members: Sequence[Route], of_items: frozenset[str]) -> Handler:
    """`of_items`: methods that an item has, when the path ends where the item's id would begin."""
    methods = {route.method for route in members} | {"OPTIONS"}
    allowed = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))

    async def other_method(request: web.Request) -> web.StreamResponse:
        """OPTIONS says which methods there are (RFC 9110, 9.3.7); any other is not one of them (6.3.2)."""
        if request.method == "OPTIONS":
            return web.Response(status=204, headers={"Allow": allowed})
        if request.method in of_items:
            return await _no_id(request)
        raise NotAllowed(request.method, allowed)

    return other_method


async def _nothing_there(request: web.Request) -> web.StreamResponse:
    raise NoSuchRoute(request.path)
