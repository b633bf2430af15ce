"""What entities are called and where they are, in a few words: for messages to people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from broker.clock import Micros
from broker.ngsild.model import Iri
from broker.places.containment import Vocabulary, ancestors, entities_of
from broker.places.overview import name_of
from broker.stores.base import TenantStore
from broker.subscriptions.receivers.words import About


class Hidden(Protocol):
    """What is not to be told of."""

    def entity(self, entity_id: str) -> bool:
        """Whether an entity is."""
        ...


async def about(
    store: TenantStore,
    ids: Iterable[str],
    words: Vocabulary,
    name: Iri,
    hidden: Hidden | None,
    *,
    levels: int,
    now: Micros,
) -> dict[str, About]:
    """Those of the ids that there are. `name`: the attribute; what is `hidden` is not there, nor named as a place."""
    wanted = [one for one in ids if hidden is None or not hidden.entity(one)]
    found: dict[str, About] = {}
    for entity_id, entity in (await entities_of(store, wanted, now)).items():
        way = [
            (place.id, name_of(place.entity, name) if place.entity is not None else None)
            for place in await ancestors(store, entity, words, levels=levels, now=now)
            if hidden is None or not hidden.entity(place.id)
        ]
        found[entity_id] = About(entity_id, name_of(entity, name), tuple(entity["type"]), tuple(way))
    return found
