import pytest

from broker.api.ngsild.info import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "PT0S"),
        (1, "PT1S"),
        (60, "PT1M"),
        (3661, "PT1H1M1S"),
        (86_400, "P1D"),
        (93_784, "P1DT2H3M4S"),
        (400 * 86_400 + 5, "P400DT5S"),
    ],
)
def test_a_duration_is_written_as_iso_8601_says(seconds: int, text: str) -> None:
    assert duration(seconds) == text
