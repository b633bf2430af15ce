"""The instances of one entity's attributes that a temporal query means (ETSI GS CIM 009 v1.9.1, 4.11, 5.7.3.4)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from broker.clock import Micros, iso, parse_iso
from broker.ngsild.fragment import deleted_instance
from broker.ngsild.model import Instance, Iri
from broker.ngsild.temporal import Moment
from broker.query.temporal import EVERYTHING, TemporalQuery
from broker.stores.base import HistoryRow, TenantStore

PAGE: Final = 500
"""Rows of one read, count."""
_FEW: Final = 16
"""Rows of the first read, at least: some may not be meant."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which instances."""

    query: TemporalQuery = EVERYTHING
    attributes: frozenset[Iri] | None = None
    """Of these attributes; None: of all."""
    omitted: frozenset[Iri] = frozenset()
    """Not of these: they count for whether an evolution has any, and are not read."""
    datasets: frozenset[str] = frozenset()
    """Only of these datasetIds, '@none' for the default instance; empty: of any."""
    most: int = 1000
    """Of one attribute, count; that there are more is said."""


@dataclass(slots=True)
class Series:
    """The instances of one attribute, oldest first, or newest first where the last N are wanted."""

    moments: list[Moment]
    more: bool = False
    """Whether there are others that `most` left out."""


async def read_series(store: TenantStore, entity_id: str, wanted: Wanted) -> dict[Iri, Series]:
    """The attributes that have such instances, in order of their names."""
    found = {}
    for attribute in await _attributes(store, entity_id, wanted):
        if attribute in wanted.omitted:
            continue
        series = await _series(store, entity_id, attribute, wanted)
        if series.moments:
            found[attribute] = series
    return found


async def has_instances(store: TenantStore, entity_id: str, wanted: Wanted) -> bool:
    """Whether there is any such instance, of whatever dataset (5.7.4.4: datasets are selected among entities found)."""
    query = wanted.query
    since, until = _indexed(query) or (None, None)
    for attribute in await _attributes(store, entity_id, wanted):
        async for row in _rows(store, entity_id, attribute, since, until, newest_first=False, first=1):
            if _moment(row, query) is not None:
                return True
    return False


def cut(found: list[dict[Iri, Series]], *, newest_first: bool) -> bool:
    """Let all series end where the first that is not whole ends, so that they are whole up to there; whether any was not.

    An answer in part is of one interval (6.3.10): from there on, another request goes on.
    """
    ends = [series.moments[-1].at for each in found for series in each.values() if series.more]
    if not ends:
        return False
    end = max(ends) if newest_first else min(ends)
    for each in found:
        for series in each.values():
            series.moments = [m for m in series.moments if (m.at >= end if newest_first else m.at <= end)]
    return True


async def _attributes(store: TenantStore, entity_id: str, wanted: Wanted) -> list[Iri]:
    if wanted.attributes is not None:
        return sorted(wanted.attributes)
    return await store.history_attributes(entity_id)


async def _series(store: TenantStore, entity_id: str, attribute: Iri, wanted: Wanted) -> Series:
    query = wanted.query
    most = wanted.most if query.last is None else min(query.last, wanted.most)
    # One more says whether there are others, where it is not the request that wants no more.
    size = most if query.last is not None and query.last <= wanted.most else most + 1
    newest_first = query.last is not None
    interval = _indexed(query)
    since, until = interval or (None, None)
    kept: list[tuple[Moment, HistoryRow]] = []
    async for row in _rows(store, entity_id, attribute, since, until, newest_first=newest_first, first=size):
        if wanted.datasets and (row.dataset_id or "@none") not in wanted.datasets:
            continue
        moment = _moment(row, query)
        if moment is None:
            continue
        kept.append((moment, row))
        if interval is not None and len(kept) == size:
            break
        if len(kept) >= 2 * size + PAGE:
            _order(kept, size, newest_first=newest_first)
    if interval is None:
        _order(kept, size, newest_first=newest_first)
    moments = [
        moment if row.instance is not None else moment._replace(instance=await _deletion(store, row))
        for moment, row in kept[:most]
    ]
    return Series(moments, more=len(kept) > most)


def _indexed(query: TemporalQuery) -> tuple[Micros | None, Micros | None] | None:
    """The interval of history rows to read; None where their order says nothing of the time that is asked for."""
    return (query.since, query.until) if query.timeproperty == "observedAt" or not query.conveyed else None


def _order(kept: list[tuple[Moment, HistoryRow]], size: int, *, newest_first: bool) -> None:
    """By a time that the history is not ordered by."""
    kept.sort(key=lambda each: (each[0].at, each[1].version), reverse=newest_first)
    del kept[size:]


def _moment(row: HistoryRow, query: TemporalQuery) -> Moment | None:
    """Where the row stands in time; None where it is not meant."""
    # A deletion from the core API is a row without an instance, which has deletedAt and no other time (4.5.7).
    instance: Instance = row.instance or {"type": "Property", "deletedAt": iso(row.recorded_at)}
    text: str | None = instance.get(query.timeproperty)
    if text is None:
        if query.conveyed:
            return None
        text = instance.get("deletedAt") or instance.get("modifiedAt") or iso(row.recorded_at)
        return Moment(row.observed_at, text, instance)
    at = parse_iso(text)
    if at is None or (query.since is not None and at < query.since) or (query.until is not None and at >= query.until):
        return None
    return Moment(at, text, instance)


async def _deletion(store: TenantStore, row: HistoryRow) -> Instance:
    """What stands for a deletion: of the type that the instance had before."""
    kind = "Property"
    for limit in (_FEW, PAGE):
        before = await store.history(
            row.entity_id, row.attribute, until=row.observed_at + 1, limit=limit, newest_first=True
        )
        kinds = [
            each.instance["type"] for each in before if each.instance is not None and each.dataset_id == row.dataset_id
        ]
        if kinds:
            kind = kinds[0]
            break
    held: Instance = {"type": kind}
    if row.dataset_id:
        held["datasetId"] = row.dataset_id
    return deleted_instance(held, iso(row.recorded_at))


async def _rows(
    store: TenantStore,
    entity_id: str,
    attribute: Iri,
    since: Micros | None,
    until: Micros | None,
    *,
    newest_first: bool,
    first: int,
) -> AsyncIterator[HistoryRow]:
    """Rows in order of observation, read in pages: each begins at the moment where the one before it ended."""
    size = min(PAGE, max(_FEW, first))
    seen = 0
    while True:
        page = await store.history(
            entity_id, attribute, since=since, until=until, limit=seen + size, newest_first=newest_first
        )
        for row in page[seen:]:
            yield row
        if len(page) < seen + size:
            return
        edge = page[-1].observed_at
        seen = sum(row.observed_at == edge for row in page)
        since, until = (since, edge + 1) if newest_first else (edge, until)
        size = PAGE
