"""Cumulative meters: one counter, whatever happens to the hardware."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.clock import SECOND
from broker.devices.model import VirtualSensor
from broker.devices.processing.state import Remaining, rewind
from broker.errors import BadRequestData
from tests.unit.devices.processing.support import HOUR, T0, Fed, binding, iri, measured, sensor

VOLUME = iri("volume")


def meter(**counter: Any) -> VirtualSensor:
    return sensor({"quantity": "volume", "counter": counter})


def segments(fed: Fed) -> list[tuple[str, str, str]]:
    return [(one.device, one.reason, one.offset) for one in fed.state.meters[VOLUME]]


def swapped(**members: Any) -> Fed:
    """Device 'old' until T0 + 10 h, then 'new'."""
    closed = {"end_readings": members.pop("end")} if "end" in members else {}
    opened = {"start_readings": members.pop("start")} if "start" in members else {}
    at = T0 + 10 * HOUR
    return Fed(meter(**members), binding("old", T0 - HOUR, at, **closed), binding("new", at, **opened))


def test_the_first_meter_s_values_are_its_own() -> None:
    fed = Fed(meter())
    assert [fed.value("volume", raw, T0 + index, "MTQ") for index, raw in enumerate((5, 7, 7.5))] == [5, 7, 7.5]
    assert segments(fed) == [("d", "start", "0")]


def test_after_a_swap_the_counter_goes_on_from_its_last_value() -> None:
    fed = swapped()
    fed.value("volume", 1234.567, T0, "MTQ", device="old")
    assert fed.value("volume", 0.012, T0 + 11 * HOUR, "MTQ", device="new") == 1234.567
    assert fed.value("volume", 0.112, T0 + 12 * HOUR, "MTQ", device="new") == 1234.667
    assert segments(fed) == [("old", "start", "0"), ("new", "swap", "1234.555")]


@pytest.mark.parametrize("name", ["volume", VOLUME])
def test_with_readings_taken_at_the_swap_it_is_exact(name: str) -> None:
    fed = swapped(end={name: 1240.1}, start={name: 0.01})
    fed.value("volume", 1234.567, T0, "MTQ", device="old")
    assert fed.value("volume", 0.212, T0 + 11 * HOUR, "MTQ", device="new") == 1240.302


def test_one_of_the_two_readings_is_taken_for_what_it_says() -> None:
    only_end, only_start = swapped(end={"volume": 1240.1}), swapped(start={"volume": 0.01})
    for fed in (only_end, only_start):
        fed.value("volume", 1234.567, T0, "MTQ", device="old")
    assert only_end.value("volume", 0.212, T0 + 11 * HOUR, "MTQ", device="new") == 1240.1
    assert only_start.value("volume", 0.212, T0 + 11 * HOUR, "MTQ", device="new") == 1234.769


def test_readings_that_cannot_be_never_let_the_counter_fall() -> None:
    fed = swapped(end={"volume": 3.0}, start={"volume": 99.0})
    fed.value("volume", 1234.567, T0, "MTQ", device="old")
    assert fed.value("volume", 0.212, T0 + 11 * HOUR, "MTQ", device="new") == 1234.567


def test_another_make_that_counts_pulses_goes_on_with_the_same_counter() -> None:
    counts = sensor(
        {"quantity": "volume", "attribute": "consumed", "counter": {}},
        {
            "quantity": "pulseCount",
            "attribute": "consumed",
            "calibration": {"scale": 0.01, "unit": "MTQ"},
            "counter": {},
        },
    )
    fed = Fed(counts, binding("old", 0, T0 + HOUR), binding("new", T0 + HOUR))
    fed.value("volume", 10.5, T0, "MTQ", device="old")
    fed.value("pulseCount", 700, T0 + 2 * HOUR, "C62", device="new")
    assert fed.value("pulseCount", 733, T0 + 3 * HOUR, "C62", device="new") == 10.83


def test_a_reset_counts_what_was_counted_since() -> None:
    fed = Fed(meter())
    fed.value("volume", 812.3, T0, "MTQ")
    assert fed.value("volume", 0.4, T0 + HOUR, "MTQ") == 812.7
    assert fed.value("volume", 0.5, T0 + 2 * HOUR, "MTQ") == 812.8
    assert segments(fed) == [("d", "start", "0"), ("d", "reset", "812.3")]


def test_a_reset_that_is_not_believed_changes_nothing() -> None:
    fed = Fed(meter(resets="implausible"))
    fed.value("volume", 812.3, T0, "MTQ")
    assert fed.failed("volume", 0.4, T0 + HOUR, "MTQ") == ("counter",)
    assert fed.value("volume", 812.9, T0 + 2 * HOUR, "MTQ") == 812.9
    assert len(segments(fed)) == 1


def test_water_that_flows_back_a_little_lets_the_counter_stand() -> None:
    fed = Fed(meter())
    assert [
        fed.value("volume", raw, T0 + index, "MTQ") for index, raw in enumerate((500.0, 499.998, 499.999, 500.004))
    ] == [
        500.0,
        500.0,
        500.0,
        500.004,
    ]
    assert len(segments(fed)) == 1


def test_a_roll_over_adds_the_register_s_size_where_it_is_near_its_end() -> None:
    fed = Fed(meter(rollsOverAt=100000))
    fed.value("volume", 99999.5, T0, "MTQ")
    assert fed.value("volume", 0.7, T0 + HOUR, "MTQ") == 100000.7
    assert segments(fed)[-1] == ("d", "rollover", "100000")


def test_far_from_its_end_a_lower_register_is_a_reset() -> None:
    fed = Fed(meter(rollsOverAt=100000))
    fed.value("volume", 50000, T0, "MTQ")
    assert fed.value("volume", 0.7, T0 + HOUR, "MTQ") == 50000.7
    assert segments(fed)[-1][1] == "reset"


def test_what_comes_late_belongs_to_its_time_and_changes_nothing() -> None:
    fed = swapped()
    for hour, raw in ((0, 100.0), (8, 108.0)):
        fed.value("volume", raw, T0 + hour * HOUR, "MTQ", device="old")
    for hour, raw in ((10, 5.0), (13, 8.0)):
        fed.value("volume", raw, T0 + hour * HOUR, "MTQ", device="new")
    before, writes = fed.state, fed.writes
    assert fed.value("volume", 104.0, T0 + 4 * HOUR, "MTQ", device="old") == 104.0
    assert fed.value("volume", 7.0, T0 + 12 * HOUR, "MTQ", device="new") == 110.0
    assert (fed.state, fed.writes) == (before, writes)


def test_what_comes_late_from_between_a_reading_and_a_reset_belongs_to_the_reset() -> None:
    fed = Fed(meter())
    for hour, raw in ((0, 100.0), (4, 1.5)):
        fed.value("volume", raw, T0 + hour * HOUR, "MTQ")
    assert fed.value("volume", 0.5, T0 + 3 * HOUR, "MTQ") == 100.5
    assert fed.value("volume", 100.2, T0 + HOUR, "MTQ") == 100.2


def test_an_implausible_reading_does_not_move_the_meter() -> None:
    fed = Fed(sensor({"quantity": "volume", "counter": {}, "checks": {"maxChangePerHour": 2}}))
    fed.value("volume", 10.0, T0, "MTQ")
    assert fed.failed("volume", 500.0, T0 + HOUR, "MTQ") == ("rate",)
    assert fed.value("volume", 11.0, T0 + 2 * HOUR, "MTQ") == 11.0


def test_readings_are_rounded_to_the_meter_s_resolution() -> None:
    fed = Fed(meter(resolution=0.001))
    assert [fed.value("volume", raw, T0 + index, "MTQ") for index, raw in enumerate((0.1 + 0.2, 1.0004, 1.0006))] == [
        0.3,
        1.0,
        1.001,
    ]


def test_the_offset_stands_in_each_value_s_lineage() -> None:
    fed = swapped()
    fed.uplink(measured("volume", 10.0, T0, "MTQ"), device="old")
    (made,) = fed.uplink(measured("volume", 2.5, T0 + 10 * HOUR, "MTQ"), device="new")
    assert (made.value, made.lineage["raw"], made.lineage["offset"]) == (10.0, 2.5, "7.5")


@pytest.mark.parametrize("counter", [{"rollsOverAt": 0}, {"resolution": -1}])
def test_sizes_must_be_positive(counter: dict[str, Any]) -> None:
    with pytest.raises(BadRequestData, match=r"outputs\[0\].counter.*more than 0"):
        meter(**counter)


# --- properties -------------------------------------------------------------------------------------------------------

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("litres"), st.integers(0, 5000)),
        st.tuples(st.just("swap"), st.integers(0, 3000)),
        st.tuples(st.just("reset"), st.integers(0, 400)),
    ),
    min_size=1,
    max_size=40,
)
MODULUS = 1_000_000
"""Litres that the tests' register has."""


class Register:
    """A register of litres, and the truth beside it."""

    def __init__(self) -> None:
        self.raw = self.start = 990_000
        self.used = 0

    def use(self, litres: int) -> None:
        self.raw, self.used = (self.raw + litres) % MODULUS, self.used + litres

    def reset(self, litres: int) -> None:
        """Right after a reading; then so many litres. Where it could be taken for something else, it is not reset."""
        if 2 * litres < self.raw < MODULUS * 0.9:
            self.raw = 0
        self.use(litres)


@given(EVENTS)
@settings(max_examples=200)
def test_the_virtual_counter_is_the_truth_to_the_litre_over_swaps_resets_and_roll_overs(
    events: list[tuple[str, int]],
) -> None:
    at, register = T0, Register()
    fed = Fed(meter(rollsOverAt=MODULUS / 1000), binding("d0", 0))
    base = Decimal(register.raw) / 1000
    values = [fed.value("volume", register.raw / 1000, at, "MTQ", device="d0")]
    for what, amount in events:
        at += HOUR
        device = fed.bindings[-1].device
        if what == "litres":
            register.use(amount)
        elif what == "reset":
            register.reset(amount)
        else:
            register.use(amount // 2)  # what no uplink of the old meter said
            read_off = {"volume": register.raw / 1000}
            *others, last = fed.bindings
            closed = binding(
                last.device, last.valid_from, at - SECOND, start_readings=last.start_readings, end_readings=read_off
            )
            device, register.raw = f"d{len(fed.bindings)}", amount
            register.use(amount // 3)  # … and what the new one counted before its first
            fed.bindings = [*others, closed, binding(device, at - SECOND, start_readings={"volume": amount / 1000})]
        values.append(fed.value("volume", register.raw / 1000, at, "MTQ", device=device))
        assert Decimal(repr(values[-1])) == base + Decimal(register.used) / 1000
    assert values == sorted(values)


@given(st.lists(st.floats(0, 1e9, allow_nan=False), min_size=1, max_size=40))
def test_whatever_a_register_shows_the_counter_never_falls(readings: list[float]) -> None:
    fed = Fed(sensor({"quantity": "genericValue", "counter": {}}))
    values = [fed.value("genericValue", raw, T0 + index) for index, raw in enumerate(readings)]
    assert values == sorted(values)


@given(st.lists(st.integers(0, 5000), min_size=2, max_size=30), st.data())
def test_what_is_applied_again_after_a_rewind_gives_the_same_values_and_state(
    litres: list[int], data: st.DataObject
) -> None:
    fed = Fed(meter(), binding("old", 0, T0 + 15 * HOUR), binding("new", T0 + 15 * HOUR))

    def take(hour: int) -> Any:
        raw = sum(litres[: hour + 1]) if hour < 15 else sum(litres[15 : hour + 1])
        return fed.value("volume", raw / 1000, T0 + hour * HOUR, "MTQ", device="old" if hour < 15 else "new")

    values = [take(hour) for hour in range(len(litres))]
    after = fed.state
    back_to = data.draw(st.integers(0, len(litres) - 1))
    remaining = {VOLUME: Remaining(T0 + (back_to - 1) * HOUR, values[back_to - 1])} if back_to else {}
    fed.state = rewind(fed.state, T0 + back_to * HOUR, remaining)
    assert [take(hour) for hour in range(back_to, len(litres))] == values[back_to:]
    assert fed.state == after
