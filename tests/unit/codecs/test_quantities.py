import pytest

from broker.codecs.quantities import (
    UnitError,
    accepted_units,
    convert,
    quantity,
    quantity_names,
    unit,
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
    ],
)
def test_conversions_give_the_double_nearest_to_the_exact_result(
    value: float, source: str, target: str, expected: float
) -> None:
    assert convert(value, source, target) == expected


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
    for name in quantity_names():
        own, *others = accepted_units(name)
        for other in others:
            assert convert(convert(1.0, own, other), other, own) == pytest.approx(1.0)


def test_senml_units_are_known_by_their_code() -> None:
    assert unit_of_senml("Cel") == "CEL"
    assert unit_of_senml("%RH") == "P1"
    assert unit_of_senml("m3") == "MTQ"
    assert unit_of_senml("furlong") is None
