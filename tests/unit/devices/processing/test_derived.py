"""Derived values: levels, consumption, dew point, means, durations, formulas."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.clock import SECOND, parse_iso
from broker.devices.processing.container import fraction
from broker.devices.processing.contract import Container
from broker.devices.processing.derive import dew_point
from broker.devices.processing.state import Remaining, rewind
from broker.devices.processing.windows import end_of, start_of
from broker.errors import BadRequestData
from tests.unit.devices.processing.support import HOUR, MINUTE, T0, Fed, iri, measured, sensor

UPRIGHT = {"distanceEmpty": 1.4, "distanceFull": 0.2}


def moment(text: str) -> int:
    at = parse_iso(text)
    assert at is not None
    return at


def filling(container: dict[str, Any], **more: Any) -> Fed:
    return Fed(
        sensor(
            {"quantity": "distance"}, derived=[{"kind": "filling", "of": "distance", "container": container, **more}]
        )
    )


def derived(fed: Fed, *given: Any, attribute: str) -> list[tuple[Any, int]]:
    """Value and time of what is derived, minutes or so since T0."""
    return [(made.value, made.at) for made in fed.uplink(*given) if made.attribute == iri(attribute)]


@pytest.mark.parametrize(
    ("gives", "expected", "unit"),
    [("level", 0.3, "MTR"), ("fraction", 0.25, "C62"), ("percentage", 25.0, "P1"), ("volume", 0.165, "MTQ")],
)
def test_a_distance_becomes_what_is_asked_for(gives: str, expected: float, unit: str) -> None:
    fed = filling({**UPRIGHT, "capacity": 0.66}, gives=gives)
    distance, made = fed.uplink(measured("distance", 1.1, T0, "MTR"))
    assert (distance.value, made.value, made.unit) == (1.1, expected, unit)
    assert (made.at, made.binding.device, made.lineage["derived"], made.lineage["from"]) == (
        T0,
        "d",
        "filling",
        {"distance": 1.1},
    )
    assert fed.writes == 0


def test_a_container_is_never_less_than_empty_nor_more_than_full() -> None:
    fed = filling(UPRIGHT)
    given_distances = [1.5, 1.4, 0.2, 0.1]
    made = [derived(fed, measured("distance", one, T0, "MTR"), attribute="filling") for one in given_distances]
    assert [one[0][0] for one in made] == [0, 0, 100, 100]


def test_a_lying_cylinder_is_half_full_in_the_middle_and_less_than_linear_below() -> None:
    lying = Container(distance_empty=2, distance_full=0, shape="horizontalCylinder")
    assert fraction(lying, 1) == 0.5
    assert fraction(lying, 1.5) == pytest.approx(0.195501, abs=1e-6)  # a quarter of the diameter: tables of tanks
    assert (fraction(lying, 2), fraction(lying, 0)) == (0, 1)


@given(st.floats(0, 2), st.floats(0, 2), st.sampled_from(["upright", "horizontalCylinder", "table"]))
def test_nearer_is_never_emptier(one: float, other: float, shape: Any) -> None:
    table = ((0.0, 0.0), (0.5, 0.1), (2.0, 1.0)) if shape == "table" else ()
    container = Container(distance_empty=2, distance_full=0, shape=shape, table=table)
    assert 0 <= fraction(container, max(one, other)) <= fraction(container, min(one, other)) <= 1


def test_a_table_says_what_odd_containers_hold() -> None:
    fed = filling({**UPRIGHT, "shape": "table", "table": [[0, 0], [0.6, 0.2], [1.2, 1]]})
    assert derived(fed, measured("distance", 1.1, T0, "MTR"), attribute="filling") == [(10.0, T0)]


def test_consumption_since_the_last_observation_is_exact() -> None:
    fed = Fed(sensor({"quantity": "volume", "counter": {}}, derived=[{"kind": "difference", "of": "volume"}]))
    made = [
        derived(fed, measured("volume", raw, T0 + index * HOUR, "MTQ"), attribute="difference")
        for index, raw in enumerate((0.1, 0.3, 0.3, 1.4))
    ]
    assert made == [[], [(0.2, T0 + HOUR)], [(0.0, T0 + 2 * HOUR)], [(1.1, T0 + 3 * HOUR)]]


def test_a_day_s_consumption_comes_when_the_day_is_over_in_its_time_zone() -> None:
    day = {"kind": "difference", "of": "volume", "per": "day", "timeZone": "Europe/Stockholm"}
    fed = Fed(sensor({"quantity": "volume", "counter": {}}, derived=[day]))
    midnight = moment("2026-06-10T22:00:00Z")
    steps = [(-3, 1.0), (-1, 1.5), (1, 2.5), (23, 4.0), (24, 4.25), (25, 4.5)]
    made = [
        derived(fed, measured("volume", raw, midnight + hour * HOUR, "MTQ"), attribute="difference")
        for hour, raw in steps
    ]
    assert made == [[], [], [(0.5, midnight)], [], [(2.75, midnight + 24 * HOUR)], []]


@given(
    st.lists(st.tuples(st.integers(1, 200), st.integers(0, 900)), min_size=1, max_size=40),
    st.sampled_from(["hour", "day"]),
)
def test_what_the_windows_consumed_sums_up_to_the_counter(steps: list[tuple[int, int]], per: str) -> None:
    window = {"kind": "difference", "of": "volume", "per": per, "timeZone": "Europe/Stockholm"}
    fed = Fed(sensor({"quantity": "volume", "counter": {}}, derived=[window]))
    at, litres = T0 + 7 * MINUTE, 0
    rows = [(at, litres)]
    ends: list[int] = []
    total = Decimal(0)
    fed.value("volume", 0, at, "MTQ")
    for minutes, more in steps:
        at, litres = at + minutes * MINUTE, litres + more
        rows.append((at, litres))
        for value, end in derived(fed, measured("volume", litres / 1000, at, "MTQ"), attribute="difference"):
            total += Decimal(repr(value))
            ends.append(end)
    assert ends == sorted(set(ends))
    before_last_end = [raw for when, raw in rows if ends and when <= ends[-1]]
    assert total == Decimal(before_last_end[-1] if before_last_end else 0) / 1000


def test_days_are_as_long_as_summer_time_makes_them() -> None:
    for at, hours in (("2026-03-29T12:00:00Z", 23), ("2026-10-25T12:00:00Z", 25), ("2026-06-10T12:00:00Z", 24)):
        start = start_of(moment(at), "day", "Europe/Stockholm")
        assert end_of(start, "day", "Europe/Stockholm") - start == hours * HOUR
        assert datetime.fromtimestamp(start / SECOND, tz=UTC).minute == 0


SATURATION = {-10: 2.8627, 0: 6.1078, 10: 12.272, 20: 23.373, 30: 42.430, 40: 73.777}
"""hPa over water, by °C: Smithsonian Meteorological Tables (Goff-Gratch)."""


@pytest.mark.parametrize("celsius", SATURATION)
def test_the_dew_point_is_where_the_vapour_that_there_is_would_be_all_that_can_be(celsius: int) -> None:
    for dew, pressure in SATURATION.items():
        if dew <= celsius:
            assert dew_point(celsius, 100 * pressure / SATURATION[celsius]) == pytest.approx(dew, abs=0.06)


def test_the_dew_point_takes_both_from_one_uplink_or_the_other_from_a_little_before() -> None:
    dew = {"kind": "dewPoint", "maxAgeSeconds": 600}
    fed = Fed(sensor({"quantity": "temperature", "unit": "FAH"}, {"quantity": "humidity"}, derived=[dew]))
    both = (measured("temperature", 20.0, T0, "CEL"), measured("humidity", 50.0, T0, "P1"))
    assert derived(fed, *both, attribute="dewPoint") == [(9.26, T0)]
    later = measured("humidity", 60.0, T0 + 5 * MINUTE, "P1")
    assert derived(fed, later, attribute="dewPoint") == [(12.0, T0 + 5 * MINUTE)]
    assert derived(fed, measured("humidity", 60.0, T0 + HOUR, "P1"), attribute="dewPoint") == []


def test_a_running_mean_forgets_what_has_left_its_window() -> None:
    fed = Fed(sensor({"quantity": "co2"}, derived=[{"kind": "mean", "of": "co2", "windowSeconds": 1800}]))
    given_values = [(0, 400.0), (10, 500.0), (20, 900.0), (30, 700.0)]
    made = [
        derived(fed, measured("co2", value, T0 + m * MINUTE, "59"), attribute="mean")[0][0] for m, value in given_values
    ]
    assert made == [400, 450, 600, 700]


def test_how_long_a_door_is_open_counts_up_and_its_end_says_how_long_it_was() -> None:
    fed = Fed(sensor({"quantity": "open"}, derived=[{"kind": "duration", "of": "open"}]))
    steps = [(0, False), (10, True), (15, True), (40, False), (50, False), (60, True)]
    made = [
        derived(fed, measured("open", value, T0 + minute * MINUTE), attribute="duration")[0][0]
        for minute, value in steps
    ]
    assert made == [0, 0, 300, 1800, 0, 0]


def test_a_formula_is_of_outputs_and_earlier_derived_values_by_name() -> None:
    fed = Fed(
        sensor(
            {"quantity": "distance"},
            {"quantity": "temperature", "channel": "outside", "name": "outside"},
            derived=[
                {"kind": "filling", "of": "distance", "container": UPRIGHT, "gives": "level", "name": "level"},
                {"kind": "formula", "expression": "round(level * 1000, 1) + (outside < 0)", "unit": "LTR"},
            ],
        )
    )
    given_values = (measured("distance", 1.1, T0, "MTR"), measured("temperature", -4.0, T0, "CEL", "outside"))
    assert derived(fed, *given_values, attribute="formula") == [(301.0, T0)]


def test_what_a_formula_has_no_value_for_is_left_out() -> None:
    fed = Fed(sensor({"quantity": "co2"}, derived=[{"kind": "formula", "expression": "1 / (co2 - 400)"}]))
    assert derived(fed, measured("co2", 400.0, T0, "59"), attribute="formula") == []
    assert derived(fed, measured("co2", 402.0, T0, "59"), attribute="formula") == [(0.5, T0)]


def test_an_implausible_value_is_not_made_into_anything() -> None:
    fed = filling(UPRIGHT)
    assert derived(fed, measured("distance", -1.0, T0, "MTR"), attribute="filling") == []


def test_what_comes_late_is_derived_only_where_it_suffices_itself() -> None:
    fed = Fed(
        sensor(
            {"quantity": "distance"},
            derived=[
                {"kind": "filling", "of": "distance", "container": UPRIGHT},
                {"kind": "mean", "of": "distance", "windowSeconds": 3600},
            ],
        )
    )
    fed.uplink(measured("distance", 1.1, T0 + HOUR, "MTR"))
    before = fed.state
    made = fed.uplink(measured("distance", 0.8, T0, "MTR"))
    assert [one.attribute for one in made] == [iri("distance"), iri("filling")]
    assert fed.state == before


def test_an_uplink_with_a_log_is_derived_time_by_time() -> None:
    fed = Fed(
        sensor({"quantity": "volume", "counter": {}}, derived=[{"kind": "difference", "of": "volume", "per": "hour"}])
    )
    log = [measured("volume", hour / 10, T0 + hour * HOUR, "MTQ") for hour in range(4)]
    assert derived(fed, *log, attribute="difference") == [(0.1, T0 + hour * HOUR) for hour in (1, 2, 3)]


@pytest.mark.parametrize(
    ("derived_value", "message"),
    [
        ({"kind": "mean", "of": "co2", "windowSeconds": 60}, r"derived\[0\].*no output or earlier derived value 'co2'"),
        ({"kind": "duration", "of": "temperature"}, r"derived\[0\].*must be a boolean"),
        ({"kind": "mean", "of": "open", "windowSeconds": 60}, r"derived\[0\].*must be a number"),
        ({"kind": "mean", "of": "temperature", "windowSeconds": 0}, r"derived\[0\].windowSeconds"),
        (
            {"kind": "filling", "of": "temperature", "container": {"distanceEmpty": 1, "distanceFull": 2}},
            r"distanceEmpty.*more than",
        ),
        ({"kind": "filling", "of": "temperature", "container": UPRIGHT, "gives": "volume"}, r"capacity.*must be given"),
        ({"kind": "filling", "of": "temperature", "container": {**UPRIGHT, "shape": "table"}}, r"container.table"),
        ({"kind": "difference", "of": "temperature", "timeZone": "Stockholm"}, r"derived\[0\].timeZone.*IANA"),
        ({"kind": "dewPoint", "humidity": "temperature"}, r"derived\[0\].humidity.*must be in one of P1"),
        ({"kind": "formula", "expression": "temperature", "unit": "XXX"}, r"derived\[0\].unit"),
        ({"kind": "formula", "expression": "1 + 1"}, r"must use at least one"),
        ({"kind": "formula", "expression": "__import__('os')"}, r"derived\[0\].expression.*functions are"),
        ({"kind": "mean", "of": "temperature", "windowSeconds": 60, "attribute": "temperature"}, r"another output"),
    ],
)
def test_what_cannot_be_derived_is_refused_by_member_and_rule(derived_value: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequestData, match=message):
        sensor({"quantity": "temperature"}, {"quantity": "open"}, derived=[derived_value])


def test_one_name_for_two_outputs_must_be_made_clear() -> None:
    twice = ({"quantity": "temperature"}, {"quantity": "temperature", "channel": "2", "attribute": "other"})
    with pytest.raises(BadRequestData, match=r"several outputs are 'temperature'"):
        sensor(*twice, derived=[{"kind": "mean", "of": "temperature", "windowSeconds": 60}])
    named = ({**twice[0], "name": "inside"}, twice[1])
    sensor(*named, derived=[{"kind": "mean", "of": "inside", "windowSeconds": 60}])


@given(
    st.lists(st.tuples(st.integers(1, 200), st.integers(0, 500)), min_size=2, max_size=25),
    st.data(),
)
def test_what_is_applied_again_after_a_rewind_consumes_the_same_in_every_hour(
    steps: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Also where the rewind goes to the middle of an hour that was opened by a value which is taken away."""
    fed = Fed(
        sensor({"quantity": "volume", "counter": {}}, derived=[{"kind": "difference", "of": "volume", "per": "hour"}])
    )
    readings, at, litres = [], T0, 0
    for minutes, used in steps:
        at, litres = at + minutes * MINUTE, litres + used
        readings.append(measured("volume", litres / 1000, at, "MTQ"))
    before = [derived(fed, one, attribute="difference") for one in readings]
    after = fed.state
    back_to = data.draw(st.integers(1, len(readings) - 1))
    since = data.draw(st.integers(readings[back_to - 1].observed_at + 1, readings[back_to].observed_at))
    last = readings[back_to - 1]
    fed.state = rewind(fed.state, since, {iri("volume"): Remaining(last.observed_at, last.value)})
    assert [derived(fed, one, attribute="difference") for one in readings[back_to:]] == before[back_to:]
    assert fed.state == after
