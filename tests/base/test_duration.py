import pytest

from omnimat.base.duration import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 s"), (12.345, "12.3 s"), (200, "3 min 20 s"), (3599.7, "1 h 00 min")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text
