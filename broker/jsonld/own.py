"""The @contexts that this product publishes: which URLs mean them, and what they say.

Their names are the product's, so every broker that serves one serves the same: whatever the host, none is fetched.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Any, Final

from broker.jsonio import loads
from broker.jsonld.stored import own_id

PUBLISHED: Final = ("knutpunkt-v1", "knutpunkt-smart-data-models-v1")
"""`schemas/context/<name>.jsonld`. A published one is never changed but by adding terms; else it gets a new number.

The first says the names as they are stored when nobody says otherwise. The second says the IRIs of the Smart Data Models.
"""

PATH: Final = "/context/"

_URL = re.compile(rf"(?:https?://[^?#]+)?{PATH}({'|'.join(PUBLISHED)})\.jsonld", re.ASCII)


def published_name(url: str) -> str | None:
    """The name in a URL of the form that this product serves its @contexts at, or in the path alone; None for any other."""
    found = _URL.fullmatch(url)
    return found[1] if found is not None else None


def is_ours(url: str) -> bool:
    """Whether it is a URL, or the path alone, of an @context that this broker serves: a published or a stored one."""
    return published_name(url) is not None or own_id(url) is not None


@cache
def published_text(name: str) -> bytes:
    """The document, as it is served."""
    return (resources.files("schemas") / "context" / f"{name}.jsonld").read_bytes()


@cache
def published_terms(name: str) -> dict[str, Any]:
    """Its definitions: term -> IRI, or an object with '@id'."""
    definitions: dict[str, Any] = loads(published_text(name))["@context"]
    return definitions
