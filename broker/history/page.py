"""Evolutions with their instances: one of them, or a page (ETSI GS CIM 009 v1.9.1, 5.7.3.4, 5.7.4.4, 6.3.10)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from broker.clock import Micros
from broker.errors import TooManyResults
from broker.history.evolutions import candidates, known_evolution
from broker.history.instances import Series, Wanted, cut, has_instances, read_series
from broker.ngsild.model import Iri
from broker.ngsild.temporal import Evolution
from broker.query.ast import EntityQuery
from broker.query.collation import collation
from broker.stores.base import TenantStore

AT_ONCE: Final = 16
"""Evolutions that are read at the same time, count."""

MOST_INSTANCES: Final = 200_000
"""Instances in one answer, count; some hundred bytes each."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a request gets."""

    evolutions: list[Evolution]
    whole: bool
    """Whether all instances that are wanted are there; else those of the beginning of the interval."""
    total: int | None = None
    """How many evolutions there are, where that is wanted."""
    more: bool = False
    """Whether others follow."""


async def find_one(
    store: TenantStore, entity_id: str, wanted: Wanted, now: Micros, *, instances: bool = True
) -> tuple[Found | None, bool]:
    """(the evolution, None when none of its instances is meant; whether anything is known of it).

    Without an interval and without attributes, an evolution that has no instances is one too. Without `instances`, none
    are read.
    """
    known = await known_evolution(store, entity_id, now)
    if known is None:
        return None, False
    series = await read_series(store, entity_id, wanted) if instances else {}
    restricted = wanted.query.conveyed or wanted.attributes is not None
    if not series and restricted and not await has_instances(store, entity_id, wanted):
        return None, True
    return _found([known], [series], wanted), True


async def find_page(
    store: TenantStore, query: EntityQuery, wanted: Wanted, now: Micros, *, most: int, instances: bool = True
) -> Found:
    """The evolutions that `query` selects and that have instances which are meant: from its offset, up to its limit.

    `most`: how many entities may be looked at. Without `instances`, none are read. Raises TooManyResults.
    """
    found: list[Evolution] = []
    shown: list[dict[Iri, Series]] = []
    passed = 0
    end = query.offset + query.limit
    async for batch in _batches(_ordered(candidates(store, query, now, most), query)):
        matching = await asyncio.gather(*(has_instances(store, each.id, wanted) for each in batch))
        for evolution, matches in zip(batch, matching, strict=True):
            if not matches:
                continue
            if query.offset <= passed < end:
                found.append(evolution)
            passed += 1
        if passed > end and not query.count:
            break
    if instances:
        count = 0
        for start in range(0, len(found), AT_ONCE):
            part = found[start : start + AT_ONCE]
            shown += await asyncio.gather(*(read_series(store, each.id, wanted) for each in part))
            count += sum(len(series.moments) for each in shown[start:] for series in each.values())
            if count > MOST_INSTANCES:
                raise TooManyResults(
                    f"The answer would have more than {MOST_INSTANCES} instances: ask for fewer with 'limit', 'lastN', "
                    "'pick' or a shorter interval."
                )
    else:
        shown = [{} for _ in found]
    return replace(
        _found(found, shown, wanted), total=passed if query.count else None, more=query.limit > 0 and passed > end
    )


def _found(evolutions: Sequence[Evolution], series: list[dict[Iri, Series]], wanted: Wanted) -> Found:
    whole = not cut(series, newest_first=wanted.query.last is not None)
    made = [
        replace(evolution, attributes={name: one.moments for name, one in each.items()})
        for evolution, each in zip(evolutions, series, strict=True)
    ]
    return Found(made, whole)


async def _ordered(found: AsyncIterator[Evolution], query: EntityQuery) -> AsyncIterator[Evolution]:
    """By id where that is asked for: an evolution can be ordered by nothing else (5.7.4.3)."""
    if not query.order:
        async for evolution in found:
            yield evolution
        return
    key = collation(query.collation)
    every = [evolution async for evolution in found]
    every.sort(key=lambda evolution: (key(evolution.id), evolution.id), reverse=query.order[0].descending)
    for evolution in every:
        yield evolution


async def _batches(found: AsyncIterator[Evolution]) -> AsyncIterator[list[Evolution]]:
    batch: list[Evolution] = []
    async for evolution in found:
        batch.append(evolution)
        if len(batch) == AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch
