"""A page of entities: MongoDB filters, sorts and pages where its filter is exact; else the matcher finishes the stream."""

from __future__ import annotations

from pymongo.asynchronous.collection import AsyncCollection

from broker.jsonio import loads
from broker.ngsild.model import Entity
from broker.query import match, mongo
from broker.query.ast import EntityQuery
from broker.stores.base import Page
from broker.stores.mongo.documents import Document

ORDER = [("created", 1), ("_id", 1)]
"""Creation, which no change moves: a page keeps its place while entities change."""

BATCH = 200
"""Entities fetched at once while the matcher finishes, count: so many are matched before others get the loop."""


async def find_page(entities: AsyncCollection[Document], query: EntityQuery) -> Page:
    """The entities that `query` selects, in order of creation."""
    selection = mongo.compile_query(query)
    if selection.exact:
        return await _exact_page(entities, selection.filter, query)
    return await _finished_page(entities, selection.filter, query)


async def _exact_page(entities: AsyncCollection[Document], where: mongo.Filter, query: EntityQuery) -> Page:
    found: list[Entity] = []
    if query.limit > 0:
        cursor = entities.find(where, {"_id": 0, "doc": 1}).sort(ORDER).skip(query.offset).limit(query.limit)
        found = [loads(row["doc"]) for row in await cursor.to_list()]
    return Page(found, await entities.count_documents(where) if query.count else None)


async def _finished_page(entities: AsyncCollection[Document], where: mongo.Filter, query: EntityQuery) -> Page:
    holds = match.compile_query(query)
    found: list[Entity] = []
    total = 0
    if query.limit > 0 or query.count:
        async with entities.find(where, {"_id": 0, "doc": 1}).sort(ORDER).batch_size(BATCH) as cursor:
            async for row in cursor:
                entity: Entity = loads(row["doc"])
                if not holds(entity):
                    continue
                total += 1
                if query.offset < total <= query.offset + query.limit:
                    found.append(entity)
                if len(found) == query.limit and not query.count:
                    break
    return Page(found, total if query.count else None)
