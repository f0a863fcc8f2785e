"""Figures as plain data."""

import numpy as np
import pytest

from omnimat_dashboard.figures import MAX_POINTS, NUM_OUTLIERS, cloud, notable


def test_those_farthest_off_are_chosen_and_others_the_same_each_time():
    x = np.zeros((5_000, 1))
    y = np.random.default_rng(0).standard_normal((5_000, 1))
    rows = notable(x, y, MAX_POINTS)
    assert len(set(rows.tolist())) == MAX_POINTS
    assert rows.tolist() == sorted(notable(x, y, MAX_POINTS).tolist())
    farthest = np.argsort(-np.abs(y[:, 0]))[:NUM_OUTLIERS]
    assert set(farthest.tolist()) <= set(rows.tolist())
    rest = np.setdiff1d(rows, farthest)
    assert np.abs(y[rest]).mean() == pytest.approx(np.abs(y).mean(), rel=0.1)  # not the next ones


@pytest.mark.parametrize("num_components", [1, 3])
def test_a_large_cloud_is_a_density_with_points_that_say_who_they_are(num_components):
    number = MAX_POINTS + 2
    x = np.random.default_rng(0).standard_normal((number, num_components))
    y = x + 0.1
    y[7] = np.nan  # takes no part
    y[11] = 50.0
    ids = [f"mp-{place}" for place in range(number)]
    found = cloud(x, y, ids, ids=ids, axes=("true", "predicted"))
    assert found["kind"] == "density"
    assert found["num_points"] == sum(found["counts"]) == (number - 1) * num_components
    assert "mp-11" in found["ids"]
    assert "mp-7" not in found["ids"]
    assert found["labels"] == found["ids"]
    assert len(found["ids"]) == MAX_POINTS // num_components
    for place, one in enumerate(found["clouds"]):
        shown = [int(name.removeprefix("mp-")) for name in found["ids"]]
        np.testing.assert_allclose(one["y"], y[shown, place], rtol=1e-4)
