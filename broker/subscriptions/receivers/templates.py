"""A webhook's body by a template of the receiver's own: JSON, in whose texts {…} stands for what is told. Pure.

    {"summary": "{title}", "body": "{text}", "all": "{entries}"}

Names in braces are those of FIELDS; a text that is nothing but "{entries}" becomes the list of all that is told. The template
is JSON before anything is filled in, so whatever a name of a room has in it, the body stays JSON of that shape.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from broker.errors import BadRequestData

FIELDS: Final = ("title", "text", "severity", "where", "entity", "link", "at", "receiver", "id")
ENTRIES: Final = "{entries}"
MOST: Final = 50
"""Names in braces in one template, count: what is filled in may be long."""
_FIELD: Final = re.compile(r"\{([a-z]+)\}")


def check_template(template: Any) -> None:
    """Raises BadRequestData for a name in braces that nothing stands behind, and for too many of them."""
    texts = _texts(template)
    if texts.count(ENTRIES) > 1 or sum(len(_FIELD.findall(text)) for text in texts) > MOST:
        raise BadRequestData(f"'send.template' may have '{ENTRIES}' once, and {MOST} names in braces in all.")
    for text in texts:
        for name in _FIELD.findall(text):
            if name not in FIELDS and text != ENTRIES:
                raise BadRequestData(
                    f"'send.template': there is no '{{{name[:40]}}}'; there are {', '.join(FIELDS)}, and entries alone."
                )


def fill(template: Any, fields: Mapping[str, str], entries: list[dict[str, Any]]) -> Any:
    """The body."""
    if isinstance(template, dict):
        return {name: fill(value, fields, entries) for name, value in template.items()}
    if isinstance(template, list):
        return [fill(value, fields, entries) for value in template]
    if template == ENTRIES:
        return entries
    if isinstance(template, str):
        return _FIELD.sub(lambda found: fields.get(found[1], found[0]), template)
    return template


def _texts(template: Any) -> list[str]:
    if isinstance(template, dict):
        return [text for value in template.values() for text in _texts(value)]
    if isinstance(template, list):
        return [text for value in template for text in _texts(value)]
    return [template] if isinstance(template, str) else []
