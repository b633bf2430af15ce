"""Names and ids in paths, checked."""

from __future__ import annotations

from aiohttp import web

from broker.errors import BadRequestData
from broker.ngsild.names import is_name, is_uri


def entity_id(request: web.Request) -> str:
    """The entity that the path names. Raises BadRequestData when it is no URI (5.6.1-5.6.6, 5.7.1)."""
    return _uri(request.match_info["entity"], "An entity's id")


def place_id(request: web.Request) -> str:
    """The place that the path names: an entity. Raises BadRequestData when it is no URI."""
    return _uri(request.match_info["place"], "A place's id")


def subscription_id(request: web.Request) -> str:
    """The subscription that the path names. Raises BadRequestData when it is no URI (5.8.2, 5.8.3, 5.8.5)."""
    return _uri(request.match_info["subscription"], "A subscription's id")


def attribute_name(request: web.Request) -> str:
    """The attribute that the path names, not yet expanded. Raises BadRequestData when it is no name (4.6.2)."""
    name = request.match_info["attribute"]
    if not is_name(name) and not is_uri(name):
        raise BadRequestData(
            f"An attribute's name must be a letter, then letters, digits and '_', or a URI; got '{name[:100]}'."
        )
    return name


def _uri(text: str, what: str) -> str:
    if not is_uri(text):
        raise BadRequestData(f"{what} must be a URI, got '{text[:100]}'.")
    return text
