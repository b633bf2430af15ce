"""Which device's measurement becomes which entity's attribute, at which time."""

from __future__ import annotations

import pytest

from broker.clock import SECOND, Stamp, iso
from broker.codecs.base import CodecError, Measurement
from broker.devices.model import Binding, DeviceState, Output, VirtualSensor
from broker.devices.observe import OBSERVED_BY, observe
from broker.devices.processing.observation import Observation, Source
from broker.devices.processing.process import process
from broker.devices.processing.state import EMPTY
from broker.devices.resolve import resolve
from broker.devices.state import heard
from broker.ngsild.model import Entity

T0 = 1_780_000_000 * SECOND
TEMPERATURE = "https://example.org/temperature"


def stamp(at: int) -> Stamp:
    return Stamp(at, iso(at), at)


def measured(
    value: float, at: int, *, quantity: str = "temperature", unit: str = "CEL", channel: str = ""
) -> Measurement:
    return Measurement(quantity, value, unit, at, channel)


def sensor(name: str = "s", *, channel: str = "", unit: str | None = None) -> VirtualSensor:
    return VirtualSensor(
        id=name,
        name=name,
        entity=f"urn:{name}",
        entity_type="https://example.org/Room",
        outputs=(Output(quantity="temperature", attribute=TEMPERATURE, channel=channel, unit=unit),),
    )


def binding(to: str, valid_from: int, valid_to: int | None = None, *, channel: str = "") -> Binding:
    return Binding(
        id=f"{to}-{valid_from}",
        device="d",
        virtual_sensor=to,
        valid_from=valid_from,
        valid_to=valid_to,
        channel=channel,
    )


def test_each_measurement_goes_to_the_virtual_sensor_that_the_device_was_when_it_was_observed() -> None:
    swap = T0 + 100
    bindings = [binding("old", T0, swap), binding("new", swap)]
    given = [measured(2, swap), measured(1, swap - 1), measured(0, T0 - 1)]
    resolution = resolve(given, bindings, {"old": sensor("old"), "new": sensor("new")})
    assert [(one.entity_id, one.measurement.value) for one in resolution.resolved] == [("urn:old", 1), ("urn:new", 2)]
    assert [one.value for one in resolution.unbound] == [0]


def test_a_binding_of_one_channel_takes_only_that_channel() -> None:
    bindings = [binding("a", T0, channel="1"), binding("b", T0, channel="2")]
    given = [measured(10, T0, channel="1"), measured(20, T0, channel="2"), measured(30, T0, channel="3")]
    resolution = resolve(given, bindings, {"a": sensor("a"), "b": sensor("b")})
    assert [(one.entity_id, one.measurement.value) for one in resolution.resolved] == [("urn:a", 10), ("urn:b", 20)]
    assert [one.value for one in resolution.unbound] == [30]


def test_what_the_virtual_sensor_has_no_output_for_is_unused_and_not_unbound() -> None:
    resolution = resolve(
        [measured(3.6, T0, quantity="batteryVoltage", unit="VLT")], [binding("s", T0)], {"s": sensor()}
    )
    assert not resolution.unbound
    assert [one.quantity for one in resolution.unused] == ["batteryVoltage"]


def observations(*given: Measurement, unit: str | None = None) -> list[Observation]:
    resolved = resolve(given, [binding("s", T0 - SECOND)], {"s": sensor(unit=unit)}).resolved
    return process(resolved, Source("m", 1, T0, {"s": 1}), lambda _: EMPTY, lambda _: ()).observations


def test_a_first_observation_creates_the_entity_with_unit_time_and_provenance() -> None:
    change, history = observe(
        None, observations(measured(-5.0, T0)), device_id="d1", uplink_id="u1", stamp=stamp(T0 + 5)
    )
    assert change is not None and change.after is not None
    assert change.trigger == "entityCreated"
    (instance,) = change.after["attrs"][TEMPERATURE]
    assert (instance["value"], instance["unitCode"], instance["observedAt"]) == (-5.0, "CEL", iso(T0))
    assert instance["attrs"][OBSERVED_BY][0]["object"] == "urn:ngsi-ld:Device:d1"
    assert [(row.uplink_id, row.device_id, row.observed_at) for row in history] == [("u1", "d1", T0)]


def current(value: float, at: int) -> Entity:
    change, _ = observe(None, observations(measured(value, at)), device_id="d1", uplink_id="u1", stamp=stamp(at))
    assert change is not None and change.after is not None
    return change.after


def test_an_older_observation_is_history_and_no_change() -> None:
    change, history = observe(
        current(20.0, T0 + 10), observations(measured(1.0, T0)), device_id="d1", uplink_id="u2", stamp=stamp(T0 + 20)
    )
    assert change is None
    assert [row.observed_at for row in history] == [T0]


def test_a_log_of_several_times_leaves_the_newest_as_current_and_all_in_the_history() -> None:
    log = observations(measured(3, T0 + 30), measured(1, T0 + 10), measured(2, T0 + 20))
    change, history = observe(current(0, T0 + 15), log, device_id="d1", uplink_id="u2", stamp=stamp(T0 + 40))
    assert change is not None and change.after is not None
    assert change.after["attrs"][TEMPERATURE][0]["value"] == 3
    assert [row.observed_at - T0 for row in history] == [10, 20, 30]


def test_the_virtual_sensor_s_unit_is_kept_whatever_the_device_sends() -> None:
    change, _ = observe(
        None, observations(measured(20.0, T0), unit="FAH"), device_id="d1", uplink_id="u1", stamp=stamp(T0)
    )
    assert change is not None and change.after is not None
    assert change.after["attrs"][TEMPERATURE][0]["value"] == 68.0
    assert change.after["attrs"][TEMPERATURE][0]["unitCode"] == "FAH"


def test_a_unit_that_cannot_become_the_wanted_one_is_said_with_the_quantity() -> None:
    with pytest.raises(CodecError, match="temperature"):
        observe(
            None,
            observations(measured(20.0, T0, unit="MTR")),
            device_id="d1",
            uplink_id="u1",
            stamp=stamp(T0),
        )


def test_a_late_uplink_is_counted_and_sets_nothing_back() -> None:
    state = heard(DeviceState(), uplink_id="u1", at=T0 + 10, f_cnt=7, rssi=-90.0)
    late = heard(state, uplink_id="u0", at=T0, f_cnt=6, rssi=-120.0)
    assert (late.uplinks, late.last_seen, late.f_cnt, late.rssi) == (2, T0 + 10, 7, -90.0)


def test_battery_comes_from_measurements_or_from_the_network_s_status() -> None:
    state = heard(
        DeviceState(),
        uplink_id="u",
        at=T0,
        battery_percent=80.0,
        measurements=[measured(3.6, T0, quantity="batteryVoltage", unit="VLT")],
    )
    assert (state.battery_percent, state.battery_volts) == (80.0, 3.6)
