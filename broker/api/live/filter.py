"""Which changes a stream tells of, and what it says of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from broker.api.form import read_form
from broker.clock import iso
from broker.config import Limits
from broker.errors import BadRequestData
from broker.jsonio import dumps
from broker.jsonld.context import Context
from broker.ngsild.model import Iri
from broker.ngsild.render import Form, render_entity
from broker.pipeline.feed_event import FeedEvent
from broker.query.builder import entity_query
from broker.query.match import compile_query

SELECTING: Final = frozenset(
    {
        "attrs",
        "coordinates",
        "expandValues",
        "geometry",
        "geoproperty",
        "georel",
        "id",
        "idPattern",
        "jsonKeys",
        "q",
        "scopeQ",
        "type",
    }
)
SHAPING: Final = frozenset({"datasetId", "format", "lang", "omit", "options", "pick"})


class Filter:
    """The parameters of one request."""

    def __init__(self, given: Mapping[str, str], names: Context, limits: Limits) -> None:
        """Raises BadRequestData, InvalidRequest, TooComplexQuery."""
        self._names = names
        self._form: Form = read_form(given, names, limits)
        for name in ("id", "type") if self._form.pick is None else ():
            if name in self._form.omit:
                raise BadRequestData(f"'omit' must not name '{name}': an event says what it is of.")
        selected = {name: value for name, value in given.items() if name in SELECTING}
        self._matches = compile_query(entity_query(selected, names.expand, limits, narrowed=False))

    def event(self, event: FeedEvent) -> bytes | None:
        """The event as it is sent; None where it is not asked for."""
        entity = event.entity
        if not self._matches(entity):
            return None
        changed = {name: trigger for name, trigger in event.attributes.items() if self._shown(name)}
        if self._form.attrs is not None and not changed and event.trigger == "entityUpdated":
            return None
        at = iso(event.row.at)
        said: dict[str, Any] = {"at": at, "changed": {self._names.compact(name): how for name, how in changed.items()}}
        if event.trigger == "entityDeleted":
            kinds = [self._names.compact(kind) for kind in entity["type"]]
            said["entity"] = {"id": entity["id"], "type": kinds[0] if len(kinds) == 1 else kinds, "deletedAt": at}
        else:
            said["entity"] = render_entity(entity, self._names, self._form)
        return message(event.trigger, said, event.id)

    def _shown(self, name: Iri) -> bool:
        form = self._form
        return (
            (form.attrs is None or name in form.attrs)
            and (form.pick is None or name in form.pick)
            and name not in form.omit
        )


def message(kind: str, said: Any, event_id: str) -> bytes:
    """One event of a stream; JSON has no line ends in it."""
    return b"event: %b\nid: %b\ndata: %b\n\n" % (kind.encode(), event_id.encode(), dumps(said))


def heartbeat(event_id: str) -> bytes:
    """A comment, and how far all is told: browsers keep the id and fire nothing."""
    return b": heartbeat\nid: %b\n\n" % event_id.encode()
