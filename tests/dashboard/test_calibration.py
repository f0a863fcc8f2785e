"""Shares that a model says against shares that come true."""

import numpy as np
import pandas as pd
import pytest

from omnimat.inference.conformal import Calibration, Level
from omnimat_dashboard.calibration import MIN_IN_BIN, of_intervals, of_probabilities, of_seeds


def table(predictions, targets, **columns) -> pd.DataFrame:
    ids = [f"mp-{place}" for place in range(len(predictions))]
    told = {"material_id": ids, "target": list(targets), "prediction": list(predictions)}
    return pd.DataFrame(told | columns)


def test_the_calibration_error_is_the_gap_of_each_bin_by_its_size():
    sure = table(["a"] * 4, ["a", "a", "a", "b"], probability=[0.95, 0.95, 0.97, 0.97])
    unsure = table(["a"] * 2, ["a", "b"], probability=[0.52, 0.54])
    found = of_probabilities([sure, unsure])
    assert found.lines == [
        ("50% to 60%", "2", "53.0", "50.0"),
        ("90% to 100%", "4", "96.0", "75.0"),
    ]
    error = (2 * 3 + 4 * 21) / 6
    assert found.told.startswith(f"Expected calibration error {error:.1f} points")
    assert (found.figure["x"], found.figure["y"]) == ([53, 96], [50, 75])
    assert found.figure["spans"] == [35.355, 21.651]  # sqrt(1/4 / 2), sqrt(3/16 / 4)


@pytest.mark.parametrize(
    ("share", "word"), [(0.5, "surer than"), (0.8, "in 80.0%."), (1.0, "may be surer")]
)
def test_a_model_is_called_too_sure_only_beyond_chance(share, word):
    targets = ["a"] * round(500 * share) + ["b"] * round(500 * (1 - share))
    assert word in of_probabilities([table(["a"] * 500, targets, probability=0.8)]).told


def test_without_probabilities_nothing_is_said():
    told, silent = table(["a"], ["a"], probability=[1.0]), table(["a"], ["a"])
    assert of_probabilities([told, silent]) is None
    assert of_probabilities([table(["a"], ["a"], probability=[np.nan])]) is None


def test_intervals_are_wider_where_the_members_are_apart():
    # All means are 0. The errors are 0.5, 0.75 and 2 spreads plus floor.
    members = [table([1.0, 3.0, 1.0], [1.0, 3.0, 4.0]), table([-1.0, -3.0, -1.0], [1.0, 3.0, 4.0])]
    levels = (Level(coverage=0.5, factor=0.8), Level(coverage=0.9, factor=2.0))
    told = {"floor": 1.0, "factor": 2.0, "coverage": 0.9, "num_calibration": 20}
    found = of_intervals(members, Calibration(**told, levels=levels), "mine")
    assert found.lines == [("50.0", "66.7"), ("90.0", "100.0")]
    assert found.told == "Farthest off: 66.7% held for 50% wanted, of 3 test materials."
    several = table([np.zeros(3)], [np.zeros(3)])
    assert of_intervals([several], Calibration(**told, levels=levels), "mine") is None


def test_seeds_are_compared_with_the_error_of_their_mean():
    number = 2 * MIN_IN_BIN
    spreads = np.arange(number) + 1.0
    off = 10 * spreads
    seeds = [table(off + spreads, np.zeros(number)), table(off - spreads, np.zeros(number))]
    seeds[1] = seeds[1].sample(frac=1, random_state=0)  # in another order
    found = of_seeds(seeds, "eV/atom")
    halves = spreads.reshape(2, -1).mean(axis=1)
    [line] = found.figure["series"]
    assert (line["x"], line["y"]) == (halves.tolist(), (10 * halves).tolist())
    assert [cells[0] for cells in found.lines] == [str(MIN_IN_BIN)] * 2
    assert "error 1.00:" in found.told
    assert found.columns[1] == "Spread (eV/atom)"


def test_one_seed_few_materials_and_equal_seeds_say_nothing():
    many, few = table(np.arange(50.0), np.zeros(50)), table(np.arange(5.0), np.zeros(5))
    assert of_seeds([many], "") is None
    assert of_seeds([few, few.assign(prediction=1.0)], "") is None
    assert of_seeds([many, many], "") is None
