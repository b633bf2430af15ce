"""Orders that no index of MongoDB gives: what is selected is met in a stream, its keys are kept, and the first of them sorted.

By an attribute, too: one index over all values of all attributes cannot say which of an entity's values is the one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from pymongo.asynchronous.collection import AsyncCollection

from broker.errors import BadRequestData, TooManyResults
from broker.jsonio import loads
from broker.ngsild.model import Entity
from broker.query import match, mongo
from broker.query.ast import EntityQuery
from broker.query.order import sort_key
from broker.stores.base import MOST_SORTED, Page
from broker.stores.mongo.documents import Document

BATCH: Final = 200
"""Entities fetched at once, count."""

Keys = list[tuple[Any, int, str]]
"""Key, version of creation and id of entities."""


async def sorted_page(entities: AsyncCollection[Document], query: EntityQuery) -> Page:
    """The page that `query` asks for. Raises BadRequestData, TooManyResults."""
    if query.after is not None:
        raise BadRequestData("This order has no positions to go on from: use 'offset'.")
    keys, total = await _first(entities, query, query.offset + query.limit + 1)
    page = keys[query.offset :]
    found = await _read(entities, page[: query.limit])
    return Page(found, total if query.count else None, 0 < query.limit < len(page))


async def sorted_stream(entities: AsyncCollection[Document], query: EntityQuery) -> AsyncIterator[list[Entity]]:
    """All that `query` selects, sorted before the first batch; what was deleted since is passed over."""
    keys, total = await _first(entities, query, MOST_SORTED)
    if total > MOST_SORTED:
        raise TooManyResults(
            f"In this order at most {MOST_SORTED} entities can be had at once, got {total}: ask for less, or order by "
            "createdAt."
        )
    for start in range(0, len(keys), BATCH):
        batch = await _read(entities, keys[start : start + BATCH])
        if batch:
            yield batch


async def _first(entities: AsyncCollection[Document], query: EntityQuery, most: int) -> tuple[Keys, int]:
    """The keys of the first `most`, and how many are selected; at most twice as many keys are held."""
    if most > MOST_SORTED:
        raise TooManyResults(
            f"In this order 'offset' and 'limit' may come to {MOST_SORTED - 1} together, got {most - 1}: ask for less, or "
            "order by createdAt."
        )
    selection = mongo.compile_query(query)
    holds = None if selection.exact else match.compile_query(query)
    key = sort_key(query.order, query.collation)
    keys: Keys = []
    total = 0
    async with entities.find(selection.filter, {"created": 1, "doc": 1}).batch_size(BATCH) as cursor:
        async for row in cursor:
            entity: Entity = loads(row["doc"])
            if holds is not None and not holds(entity):
                continue
            total += 1
            keys.append((key(entity), row["created"], row["_id"]))
            if len(keys) >= 2 * most + BATCH:
                keys.sort()
                del keys[most:]
    keys.sort()
    return keys[:most], total


async def _read(entities: AsyncCollection[Document], keys: Keys) -> list[Entity]:
    ids = [entity_id for _, _, entity_id in keys]
    found: dict[str, Entity] = {}
    async for row in entities.find({"_id": {"$in": ids}}, {"doc": 1}):
        found[row["_id"]] = loads(row["doc"])
    return [found[entity_id] for entity_id in ids if entity_id in found]
