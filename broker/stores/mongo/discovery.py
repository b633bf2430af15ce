"""Types and attributes in use, as MongoDB groups them: names from indexes, details from the entities concerned.

Counters would be exact for less, but every process that creates entities of a type would wait for the others' commits.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection

from broker.ngsild.model import Iri
from broker.stores.base import AttributeInfo, TypeInfo
from broker.stores.mongo.documents import Document

Stages = list[dict[str, Any]]


async def read_types(entities: AsyncCollection[Document]) -> list[Iri]:
    """The types in use, in order."""
    return sorted(await entities.distinct("types"))


async def read_attributes(entities: AsyncCollection[Document]) -> list[Iri]:
    """The attributes in use, in order."""
    return sorted(await entities.distinct("names"))


async def read_type_details(entities: AsyncCollection[Document], entity_type: Iri | None) -> list[TypeInfo]:
    """All types in order, or one."""
    of_type: Stages = [] if entity_type is None else [{"$match": {"types": entity_type}}]
    each_type = [*of_type, {"$project": {"types": 1, "shapes": 1}}, {"$unwind": "$types"}, *of_type]
    counts = {row["_id"]: row["count"] for row in await _grouped(entities, each_type, "$types")}
    attributes: dict[Iri, dict[Iri, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row in await _grouped(entities, [*each_type, {"$unwind": "$shapes"}], {"type": "$types", "shape": "$shapes"}):
        kind, _, attribute = row["_id"]["shape"].partition(" ")
        attributes[row["_id"]["type"]][attribute].add(kind)
    return [
        TypeInfo(each, counts[each], {name: frozenset(kinds) for name, kinds in sorted(attributes[each].items())})
        for each in sorted(counts)
    ]


async def read_attribute_details(entities: AsyncCollection[Document], attribute: Iri | None) -> list[AttributeInfo]:
    """All attributes in order, or one."""
    with_it: Stages = [] if attribute is None else [{"$match": {"names": attribute}}]
    counts: dict[Iri, int] = defaultdict(int)
    kinds: dict[Iri, set[str]] = defaultdict(set)
    types: dict[Iri, set[Iri]] = defaultdict(set)
    shapes = [*with_it, {"$project": {"shapes": 1}}, {"$unwind": "$shapes"}]
    for row in await _grouped(entities, shapes, "$shapes"):
        kind, _, name = row["_id"].partition(" ")
        counts[name] += row["count"]
        kinds[name].add(kind)
    each = [*with_it, {"$project": {"types": 1, "names": 1}}, {"$unwind": "$names"}, *with_it, {"$unwind": "$types"}]
    for row in await _grouped(entities, each, {"name": "$names", "type": "$types"}):
        types[row["_id"]["name"]].add(row["_id"]["type"])
    return [
        AttributeInfo(name, counts[name], frozenset(kinds[name]), frozenset(types[name]))
        for name in sorted(counts)
        if attribute is None or name == attribute
    ]


async def _grouped(entities: AsyncCollection[Document], stages: Stages, key: Any) -> list[Document]:
    grouping = {"$group": {"_id": key, "count": {"$sum": 1}}}
    return await (await entities.aggregate([*stages, grouping])).to_list()
