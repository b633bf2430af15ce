import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.codecs.quantities import (
    UnitError,
    accepted_units,
    convert,
    quantity,
    quantity_names,
    unit,
    unit_codes,
    unit_of_senml,
)


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        (68.9, "FAH", "CEL", 20.5),
        (-40, "FAH", "CEL", -40.0),
        (-5, "CEL", "FAH", 23.0),
        (273.15, "KEL", "CEL", 0.0),
        (21.3, "CEL", "KEL", 294.45),
        (32, "FAH", "KEL", 273.15),
        (13609, "LTR", "MTQ", 13.609),
        (0.375, "MTQ", "LTR", 375.0),
        (3614, "2Z", "VLT", 3.614),
        (101325, "PAL", "A97", 1013.25),
        (1.6, "BAR", "KPA", 160.0),
        (1013.25, "MBR", "KPA", 101.325),
        (1234, "WHR", "KWH", 1.234),
        (1, "KWH", "JOU", 3600000.0),
        (0.1, "MWH", "KWH", 100.0),
        (2116, "MMT", "MTR", 2.116),
        (0.3, "MTR", "CMT", 30.0),
        (1, "INH", "MMT", 25.4),
        (450, "59", "P1", 0.045),
        (1, "MQS", "MQH", 3600.0),
        (100, "KMH", "MTS", 27.77777777777778),
        (1, "K40", "MSK", 9.80665),
        (0.7, "D10", "G42", 7000.0),
        (20.5, "CEL", "CEL", 20.5),
        (47.5, "P1", "C62", 0.475),
        (0.07, "C62", "P1", 7.0),
        (450, "59", "C62", 0.00045),
        (8.69, "M1", "GQ", 8690000.0),
        (21.6, "KMH", "MTS", 6.0),
        (10, "KNT", "KMH", 18.52),
        (1, "3B", "KWH", 0.2777777777777778),
        (12.5, "L2", "MQH", 0.75),
        (1, "GLL", "LTR", 3.785411784),
        (3, "FOT", "MTR", 0.9144),
        (90, "MIN", "HUR", 1.5),
        (250, "61", "59", 0.25),
        (1413, "G42", "H61", 1.413),
    ],
)
def test_conversions_give_the_double_nearest_to_the_exact_result(
    value: float, source: str, target: str, expected: float
) -> None:
    assert convert(value, source, target) == expected


CODES = sorted(unit_codes())


@given(st.sampled_from(CODES), st.data(), st.integers(-(10**9), 10**9), st.integers(0, 6))
def test_there_and_back_gives_the_very_number(code: str, data: st.DataObject, digits: int, places: int) -> None:
    """Factors are exact: what a conversion rounds is less than the last digit that a sensor sends."""
    other = data.draw(st.sampled_from([one for one in CODES if unit(one).dimensions & unit(code).dimensions]))
    value = float(Decimal(digits).scaleb(-places))
    back = convert(convert(value, code, other), other, code)
    # In kelvin a value near 0 °C has the digits of 273.15.
    assert back == pytest.approx(value, rel=1e-14, abs=1e-12)


def test_a_whole_number_of_a_larger_unit_is_exact_in_the_smaller() -> None:
    for code in CODES:
        for other in CODES:
            one, two = unit(code), unit(other)
            if one.dimension == two.dimension and one.offset == two.offset == "0":
                ratio = Fraction(one.factor) / Fraction(two.factor)
                if ratio.denominator == 1 and ratio.numerator < 2**40:
                    assert convert(7, code, other) == 7 * ratio.numerator


def test_units_of_different_dimensions_do_not_convert() -> None:
    with pytest.raises(UnitError, match=r"'CEL' \(temperature\) cannot be converted to 'MTR' \(length\)"):
        convert(1, "CEL", "MTR")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 10**400])
def test_what_is_no_finite_double_does_not_convert(value: float) -> None:
    with pytest.raises(UnitError):
        convert(value, "CEL", "CEL")


def test_an_unknown_unit_or_quantity_is_named() -> None:
    with pytest.raises(UnitError, match="'XYZ'"):
        convert(1, "CEL", "XYZ")
    with pytest.raises(UnitError, match="'warmth'"):
        quantity("warmth")


def test_every_row_is_whole_or_says_why_not() -> None:
    for name in quantity_names():
        info = quantity(name)
        whole = bool(info.lwm2m) and (bool(info.senml) or not info.unit)
        assert whole != bool(info.without), name
        if info.kind == "number" and name != "genericValue":
            assert info.minimum is not None, name
            assert info.maximum is not None, name
        if info.senml:
            assert unit_of_senml(info.senml) == info.unit, name
    for code in CODES:
        assert re.fullmatch(r"[A-Z0-9]{2,3}", code)
        assert unit(code).name


def test_every_quantity_has_a_unit_of_the_table_and_limits_in_order() -> None:
    for name in quantity_names():
        info = quantity(name)
        assert info.description
        if info.unit:
            unit(info.unit)
            assert info.kind == "number"
        if info.minimum is not None and info.maximum is not None:
            assert info.minimum < info.maximum


def test_a_quantity_accepts_every_unit_that_converts_to_its_own() -> None:
    assert accepted_units("temperature") == ["CEL", "FAH", "KEL"]
    assert accepted_units("presence") == [""]
    assert accepted_units("humidity") == ["P1", "59", "61", "C62"]
    assert accepted_units("pulseCount") == ["C62"], "a count is no share"
    for name in quantity_names():
        own, *others = accepted_units(name)
        for other in others:
            assert convert(convert(1.0, own, other), other, own) == pytest.approx(1.0)


def test_senml_units_are_known_by_their_code() -> None:
    assert unit_of_senml("Cel") == "CEL"
    assert unit_of_senml("%RH") == "P1"
    assert unit_of_senml("m3") == "MTQ"
    assert unit_of_senml("furlong") is None


def test_a_share_in_senml_is_a_share_of_one() -> None:
    assert unit_of_senml("/") == "C62"
    assert unit_of_senml("count") == "C62"
    assert convert(0.5, "C62", "P1") == 50.0


def test_a_quantitys_lwm2m_resource_is_an_object_and_a_resource() -> None:
    for name in quantity_names():
        path = quantity(name).lwm2m
        if path:
            object_id, resource = path.split("/")
            assert object_id.isdecimal()
            assert resource.isdecimal()
    known = {"temperature": "3303/5700", "humidity": "3304/5700", "batteryLevel": "3/9", "volume": "3424/1", "energy": "3331/5700", "pm10": "3428/1",
             "fillLevel": "3435/2", "peopleCount": "3434/1", "latitude": "3336/6051"}  # fmt: skip
    assert {name: quantity(name).lwm2m for name in known} == known
