"""A page of entities: MongoDB filters, sorts and pages where its filter is exact; else the matcher finishes the stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

from pymongo.asynchronous.collection import AsyncCollection

from broker.jsonio import loads
from broker.ngsild.model import Entity
from broker.query import match, mongo
from broker.query.ast import EntityQuery, Path
from broker.stores.base import Page
from broker.stores.mongo.documents import Document
from broker.stores.mongo.sorted_query import sorted_page, sorted_stream
from broker.stores.position import Position, read_position, write_position

ORDER: Final = [("created", 1), ("_id", 1)]
"""Creation, which no change moves: a page keeps its place while entities change."""

BATCH: Final = 200
"""Entities fetched at once while the matcher finishes, count: so many are matched before others get the loop."""

Sort = list[tuple[str, int]]
_SHOWN: Final = {"created": 1, "since": 1, "doc": 1}
_KINDS: Final[dict[str, tuple[type, ...]]] = {"created": (int,), "since": (int,), "_id": (str,)}
_Found = list[tuple[Position, Entity]]


def index_order(query: EntityQuery) -> Sort | None:
    """The fields by which an index has the order asked for; None when no index has it."""
    if not query.order:
        return ORDER
    term = query.order[0]
    if len(query.order) == 1 and term.path == Path("createdAt") and term.reference is None:
        return [("since", -1 if term.descending else 1), *ORDER]
    return None


async def find_page(entities: AsyncCollection[Document], query: EntityQuery) -> Page:
    """The entities that `query` selects, in its order. Raises BadRequestData, TooManyResults."""
    order = index_order(query)
    if order is None:
        return await sorted_page(entities, query)
    position = read_position(query, tuple(_KINDS[field] for field, _ in order))
    selection = mongo.compile_query(query)
    if not selection.exact and query.count:
        return await _counted_page(entities, selection.filter, query, order, position)
    where = selection.filter if position is None else behind(selection.filter, order, position)
    skip = query.offset if position is None else 0
    found: _Found = []
    if query.limit > 0:
        if selection.exact:
            cursor = entities.find(where, _SHOWN).sort(order).skip(skip).limit(query.limit + 1)
            found = [_found(row, order) for row in await cursor.to_list()]
        else:
            found = await _finished(entities, where, query, order, skip)
    return _made(query, found, await _count(entities, selection.filter, query) if query.count else None)


def behind(where: mongo.Filter, order: Sort, position: Position) -> mongo.Filter:
    """The filter, for those behind a position: an index that has the order begins there."""
    equal: mongo.Filter = {}
    later: list[mongo.Filter] = []
    for (field, way), value in zip(order, position, strict=True):
        later.append(equal | {field: {"$gt" if way == 1 else "$lt": value}})
        equal = equal | {field: value}
    first, way = order[0]
    begin = {first: {"$gte" if way == 1 else "$lte": position[0]}}
    return {"$and": [*([where] if where else []), begin, {"$or": later}]}


async def stream(entities: AsyncCollection[Document], query: EntityQuery) -> AsyncIterator[list[Entity]]:
    """All that `query` selects, in batches, from one cursor: each entity is met once, as it is when its batch is read."""
    order = index_order(query)
    if order is None:
        async for sorted_batch in sorted_stream(entities, query):
            yield sorted_batch
        return
    selection = mongo.compile_query(query)
    holds = match.compile_query(query)
    batch: list[Entity] = []
    async with entities.find(selection.filter, _SHOWN).sort(order).batch_size(BATCH) as cursor:
        async for row in cursor:
            entity: Entity = loads(row["doc"])
            if selection.exact or holds(entity):
                batch.append(entity)
            if len(batch) == BATCH:
                yield batch
                batch = []
    if batch:
        yield batch


async def _count(entities: AsyncCollection[Document], where: mongo.Filter, query: EntityQuery) -> int:
    """How many an exact filter selects.

    What has expired is seldom there for long: it is counted by its own index and taken off, so that the rest can be
    counted on the index that serves the query.
    """
    if query.excluded is not None:
        # By their ids these are found at once, and the rest is again counted on the index that serves the query.
        rest = replace(query, excluded=None)
        all_of_them = await _count(entities, mongo.compile_query(rest).filter, rest)
        return all_of_them - await entities.count_documents(mongo.left_out(query))
    if query.now is None:
        return await entities.count_documents(where)
    all_of_them = await entities.count_documents(mongo.compile_query(replace(query, now=None)).filter)
    return all_of_them - await entities.count_documents(mongo.ended(query))


async def _finished(
    entities: AsyncCollection[Document], where: mongo.Filter, query: EntityQuery, order: Sort, skip: int
) -> _Found:
    """The page and the entity behind it."""
    holds = match.compile_query(query)
    found: _Found = []
    async with entities.find(where, _SHOWN).sort(order).batch_size(BATCH) as cursor:
        async for row in cursor:
            each = _found(row, order)
            if not holds(each[1]):
                continue
            if skip:
                skip -= 1
                continue
            found.append(each)
            if len(found) > query.limit:
                break
    return found


async def _counted_page(
    entities: AsyncCollection[Document],
    where: mongo.Filter,
    query: EntityQuery,
    order: Sort,
    position: Position | None,
) -> Page:
    """The page and how many there are, all candidates being read."""
    holds = match.compile_query(query)
    skip = query.offset if position is None else 0
    found: _Found = []
    total = 0
    async with entities.find(where, _SHOWN).sort(order).batch_size(BATCH) as cursor:
        async for row in cursor:
            each = _found(row, order)
            if not holds(each[1]):
                continue
            total += 1
            if (
                (position is None or _is_behind(each[0], position, order))
                and (skip := skip - 1) < 0
                and len(found) <= query.limit
            ):
                found.append(each)
    return _made(query, found, total)


def _found(row: Document, order: Sort) -> tuple[Position, Entity]:
    return tuple(row.get(field) for field, _ in order), loads(row["doc"])


def _is_behind(one: Position, other: Position, order: Sort) -> bool:
    if one[0] != other[0] and order[0][1] == -1:
        return bool(one[0] < other[0])
    return one > other


def _made(query: EntityQuery, found: _Found, total: int | None) -> Page:
    more = 0 < query.limit < len(found)
    found = found[: query.limit]
    following = write_position(query, found[-1][0]) if more and found else None
    return Page([entity for _, entity in found], total, more, following)
