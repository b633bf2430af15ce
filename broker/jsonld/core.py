"""The pinned core @context: which URLs mean it, and its text.

Every published version is answered with the pinned one: it is protected and versions only add terms (ETSI GS CIM 009
v1.9.1, 4.4). No network is needed.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import Any, Final

from broker.jsonio import loads

CORE_URL: Final = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld"

_CORE_URLS = re.compile(r"https?://uri\.etsi\.org/ngsi-ld/v1/ngsi-ld-core-context(-v1\.\d{1,2})?\.jsonld")


def is_core_url(url: str) -> bool:
    """Whether `url` is the core @context, of whatever version."""
    return _CORE_URLS.fullmatch(url) is not None


def core_definitions() -> dict[str, Any]:
    """The term definitions of the core @context."""
    text = (resources.files("schemas") / "context" / "ngsi-ld-core-context-v1.9.jsonld").read_bytes()
    definitions: dict[str, Any] = loads(text)["@context"]
    # The one scoped @context names a remote document. Its terms stand inside a proof, which is never expanded here.
    definitions["ngsildproof"] = definitions["ngsildproof"]["@id"]
    return definitions
