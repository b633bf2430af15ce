"""The temporal query: which instances of an evolution are meant (ETSI GS CIM 009 v1.9.1, 4.11, 5.2.21).

timerel before (timeAt exclusive), after (timeAt inclusive), between (timeAt inclusive, endTimeAt exclusive), on the
timeproperty observedAt, createdAt, modifiedAt or deletedAt; lastN of them for each attribute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from broker.clock import Micros, parse_iso
from broker.errors import BadRequestData

TimeProperty = Literal["observedAt", "createdAt", "modifiedAt", "deletedAt"]
TimeRelation = Literal["before", "after", "between"]

_LARGEST: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class TemporalQuery:
    """What is asked of time."""

    timeproperty: TimeProperty = "observedAt"
    relation: TimeRelation | None = None
    """None: no interval."""
    since: Micros | None = None
    """Inclusive."""
    until: Micros | None = None
    """Exclusive."""
    last: int | None = None
    """The newest so many of each attribute, newest first; None: all, oldest first."""
    conveyed: bool = False
    """Whether an instance must have the timeproperty to be meant (4.11): an interval or the timeproperty was asked for."""


EVERYTHING: Final = TemporalQuery()


def parse_temporal(given: Mapping[str, str], *, required: bool = False) -> TemporalQuery:
    """What timerel, timeAt, endTimeAt, timeproperty and lastN ask for. Raises BadRequestData, naming the parameter.

    `required`: a query needs an interval (5.7.4.4), a retrieval does not (5.7.3.3).
    """
    relation = given.get("timerel")
    if relation is None:
        if required:
            raise BadRequestData("A temporal query must be given: 'timerel' and 'timeAt' are missing.")
        for name in ("timeAt", "endTimeAt"):
            if name in given:
                raise BadRequestData(f"'{name}' must be given together with 'timerel', which is missing.")
    elif relation not in get_args(TimeRelation):
        raise BadRequestData(f"'timerel' must be before, after or between, got '{relation[:60]}'.")
    timeproperty = given.get("timeproperty", "observedAt")
    if timeproperty not in get_args(TimeProperty):
        known = ", ".join(get_args(TimeProperty))
        raise BadRequestData(f"'timeproperty' must be one of {known}, got '{timeproperty[:60]}'.")
    since, until = _interval(given, relation)
    return TemporalQuery(
        timeproperty=cast("TimeProperty", timeproperty),
        relation=cast("TimeRelation | None", relation),
        since=since,
        until=until,
        last=_last(given),
        conveyed=relation is not None or "timeproperty" in given,
    )


def _interval(given: Mapping[str, str], relation: str | None) -> tuple[Micros | None, Micros | None]:
    if relation is None:
        return None, None
    at = _moment(given, "timeAt", relation)
    if relation == "between":
        return at, _moment(given, "endTimeAt", relation)
    if "endTimeAt" in given:
        raise BadRequestData(f"'endTimeAt' must be given with 'timerel=between' only, got it with '{relation}'.")
    return (at, None) if relation == "after" else (None, at)


def _moment(given: Mapping[str, str], name: str, relation: str) -> Micros:
    text = given.get(name)
    if text is None:
        raise BadRequestData(f"'{name}' must be given with 'timerel={relation}'; it is missing.")
    at = parse_iso(text)
    if at is None:
        raise BadRequestData(f"'{name}' must be an ISO 8601 date-time with 'Z', got '{text[:60]}'.")
    return at


def _last(given: Mapping[str, str]) -> int | None:
    text = given.get("lastN")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 10) or not 1 <= int(text) <= _LARGEST:
        raise BadRequestData(f"'lastN' must be a whole number from 1 to {_LARGEST}, got '{text[:60]}'.")
    return int(text)
