"""How numbers, units and formulas are written."""

import pytest

from omnimat.leaderboard.board import Board
from omnimat_dashboard.text import Scale, formula, hardware, size, unit, words


def scale(metric="mae", unit="eV/atom", higher=False) -> Scale:
    return Scale.of(Board("task", metric, unit, higher, "data", "0", "1"))


@pytest.mark.parametrize(
    ("mean", "std", "text"),
    [
        (0.11, 0.0141, "0.110 ± 0.014"),
        (130.0, 42.4, "130 ± 42"),
        (0.123456, None, "0.1235"),
        (1.0, 0.0, "1"),
        (12345.0, None, "12,345"),
    ],
)
def test_scores_are_rounded_to_their_deviation(mean, std, text):
    assert scale().score(mean, std) == text


def test_fractions_are_written_in_per_cent_and_nothing_else_is():
    accuracy = scale("accuracy", "", higher=True)
    assert accuracy.score(0.8972, 0.0021) == "89.72 ± 0.21"
    assert (accuracy.label, accuracy.arrow) == ("accuracy (%)", "↑")
    assert scale("top-10", "", higher=True).score(1.0, None) == "100.00"
    assert scale("mae", "").unit == ""
    assert scale("median rank", "").score(3.0, None) == "3"


def test_units_have_their_signs():
    assert unit("angstrom^3/atom") == "Å³/atom"
    assert unit("degree") == "°"
    assert scale().label == "MAE (eV/atom)"


def test_formulas_have_subscripts_and_stay_text():
    assert formula("Li0.5CoO2") == "Li<sub>0.5</sub>CoO<sub>2</sub>"
    assert formula("Ca(OH)2") == "Ca(OH)<sub>2</sub>"
    assert formula("<b>2") == "&lt;b&gt;2"


def test_words_sizes_and_machines():
    assert words("retrieval dos -> charge_density") == "retrieval dos → charge density"
    assert size(64_000_000) == "64.0 MB"
    assert hardware({"gpus": ["H200", "H200"], "cpu": "x", "cores": 8}) == "2 x H200, 8 cores of x"
    assert hardware({}) == "not recorded"
