"""How many digits of a score are written."""

import pytest

from omnimat.leaderboard.board import Board
from omnimat.leaderboard.scale import Scale


def scale(metric="mae", unit="eV/atom", higher=False) -> Scale:
    return Scale.of(Board("task", metric, unit, higher, "data", "0", "1"))


@pytest.mark.parametrize(
    ("value", "num_test", "text"),
    [
        (0.0693388, 1_940, "0.0693"),
        (0.0468700, 8_939, "0.04687"),
        (0.0693388, 25, "0.069"),
        (12_345.0, 40, "12,345"),
        (0.0, 40, "0"),
        (1e-12, 40, "1e-12"),
    ],
)
def test_an_error_has_the_digits_that_its_test_supports(value, num_test, text):
    assert scale().score(value, None, num_test) == text


@pytest.mark.parametrize(("num_test", "text"), [(62, "35"), (400, "35.1"), (9_046, "35.12")])
def test_per_cent_are_no_finer_than_one_material(num_test, text):
    assert scale("top-1", "", higher=True).score(0.3512, None, num_test) == text


@pytest.mark.parametrize(
    ("mean", "std", "num_test", "text"),
    [
        (0.110, 0.0141, 40, "0.110 ± 0.014"),
        (0.5, 0.000001, 40, "0.5000 ± 0.0000"),
        (0.8972, 0.0021, 62, "0.897 ± 0.002"),
    ],
)
def test_a_deviation_shows_at_most_one_digit_more(mean, std, num_test, text):
    assert scale().score(mean, std, num_test) == text
