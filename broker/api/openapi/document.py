"""The whole description, as an OpenAPI 3.1 document."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, Final

from broker.api.openapi.headers import ANSWER, REQUEST
from broker.api.openapi.operation import operation
from broker.api.openapi.schemas import schemas
from broker.api.openapi.tags import TAGS
from broker.api.route import Route
from broker.config import Settings

ABOUT: Final = """\
An NGSI-LD context broker (ETSI GS CIM 009 v1.9.1) with the registry of the devices behind it.

An acknowledgement is a promise: 2xx comes after the commit. Errors are ProblemDetails (RFC 7807). A query parameter that an \
operation does not know, or one given twice, is refused. A path of NGSI-LD works with and without a slash at its end; GET \
serves HEAD too, and OPTIONS says which methods there are. Every answer has the header X-Request-Id, taken from the request \
when it brings one; the log has it."""


def describe(routes: Iterable[Route], settings: Settings) -> dict[str, Any]:
    """The OpenAPI Object that describes `routes`."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = operation(route, settings)
    used = {name for item in paths.values() for each in item.values() for name in each["tags"]}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Knutpunkt",
            "version": version("knutpunkt"),
            "summary": "A city's sensor hub",
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": settings.base_url.rstrip("/") or "/"}],
        "tags": [tag for tag in TAGS if tag["name"] in used],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "parameters": {name: {"name": name, "in": "header", **header} for name, header in REQUEST.items()},
            "headers": ANSWER,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The setting `http.token`; a broker without it asks for none.",
                }
            },
        },
    }
