"""The temporal query's parameters (ETSI GS CIM 009 v1.9.1, 4.11, 5.2.21)."""

import pytest

from broker.clock import parse_iso
from broker.errors import BadRequestData
from broker.query.temporal import EVERYTHING, TemporalQuery, parse_temporal

SIX, SEVEN = "2026-11-21T06:00:00Z", "2026-11-21T07:00:00Z"


def asked(**given: str) -> TemporalQuery:
    return parse_temporal(given)


def test_an_interval_includes_its_beginning_and_not_its_end() -> None:
    assert (asked(timerel="after", timeAt=SIX).since, asked(timerel="after", timeAt=SIX).until) == (
        parse_iso(SIX),
        None,
    )
    before = asked(timerel="before", timeAt=SIX)
    assert (before.since, before.until) == (None, parse_iso(SIX))
    between = asked(timerel="between", timeAt=SIX, endTimeAt=SEVEN)
    assert (between.since, between.until) == (parse_iso(SIX), parse_iso(SEVEN))


def test_without_an_interval_all_is_meant() -> None:
    assert parse_temporal({}) == EVERYTHING
    assert not asked(lastN="3").conveyed and asked(lastN="3").last == 3


def test_an_interval_or_a_timeproperty_means_instances_that_have_it() -> None:
    assert asked(timerel="after", timeAt=SIX).conveyed
    deleted = asked(timeproperty="deletedAt")
    assert deleted.conveyed and deleted.timeproperty == "deletedAt" and deleted.relation is None


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"timerel": "since", "timeAt": SIX}, "'timerel' must be before, after or between, got 'since'"),
        ({"timerel": "after"}, "'timeAt' must be given with 'timerel=after'"),
        ({"timerel": "before", "timeAt": "2026-11-21"}, "'timeAt' must be an ISO 8601 date-time with 'Z'"),
        ({"timerel": "before", "timeAt": "2026-11-21T06:00:00+01:00"}, "'timeAt' must be an ISO 8601 date-time"),
        ({"timerel": "between", "timeAt": SIX}, "'endTimeAt' must be given with 'timerel=between'"),
        ({"timerel": "between", "timeAt": SIX, "endTimeAt": "soon"}, "'endTimeAt' must be an ISO 8601 date-time"),
        ({"timerel": "after", "timeAt": SIX, "endTimeAt": SEVEN}, "'endTimeAt' must be given with 'timerel=between'"),
        ({"timeAt": SIX}, "'timeAt' must be given together with 'timerel'"),
        ({"endTimeAt": SIX}, "'endTimeAt' must be given together with 'timerel'"),
        ({"timeproperty": "expiresAt"}, "'timeproperty' must be one of observedAt, createdAt, modifiedAt, deletedAt"),
        *(({"lastN": text}, "'lastN' must be a whole number from 1") for text in ("0", "-1", "1.5", "x", "", "9" * 30)),
    ],
)
def test_what_is_wrong_is_named_with_the_rule(given: dict[str, str], names: str) -> None:
    with pytest.raises(BadRequestData) as refused:
        parse_temporal(given)
    assert names in refused.value.detail


def test_a_query_needs_an_interval() -> None:
    with pytest.raises(BadRequestData, match="'timerel' and 'timeAt' are missing"):
        parse_temporal({"lastN": "2"}, required=True)
