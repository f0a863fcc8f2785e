"""The paired bootstrap against theory, and against what it must not be moved by."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from upath import UPath

from omnimat.base.confined import Confined
from omnimat.base.errors import UserError
from omnimat.base.provenance import sha256_of
from omnimat.leaderboard.bootstrap import paired_bootstrap
from omnimat.leaderboard.comparison import compare, material_scores


def test_interval_is_that_of_the_normal_theory():
    """Of 2,000 materials the mean difference is as good as normal (central limit theorem)."""
    generator = np.random.default_rng(0)
    a, b = generator.exponential(1.0, 2000), generator.exponential(1.1, 2000)
    found = paired_bootstrap(a, b)
    error = (a - b).std(ddof=1) / np.sqrt(2000)
    expected = stats.norm.interval(0.95, loc=(a - b).mean(), scale=error)
    assert found.difference == pytest.approx((a - b).mean(), abs=1e-12)
    # A quantile of 10,000 draws at 2.5 % has an error of 0.027 deviations; four of these.
    assert (found.low, found.high) == pytest.approx(expected, abs=0.11 * error)


def test_p_value_is_that_of_the_z_test():
    generator = np.random.default_rng(1)
    a = generator.normal(0.0, 1.0, 1000)
    b = a + generator.normal(0.06, 1.0, 1000)
    found = paired_bootstrap(a, b)
    z = (a - b).mean() / ((a - b).std(ddof=1) / np.sqrt(1000))
    p_value = 2 * stats.norm.sf(abs(z))
    assert 0.001 < p_value < 0.2  # neither end is a test
    # 10,000 draws tell a probability p / 2 within sqrt(p / 2 / 10000); four of these, doubled.
    assert found.p_value == pytest.approx(p_value, abs=8 * np.sqrt(p_value / 2 / 10_000))


def test_equal_models_differ_rarely():
    """Of 200 pairs without a difference about 5 % are called different."""
    generator = np.random.default_rng(2)
    calls = [
        paired_bootstrap(*generator.normal(size=(2, 100)), num_resamples=500).is_significant
        for _ in range(200)
    ]
    # Binomial(200, 0.05) is beyond 3 and 20 with a probability of 0.3 % and 0.2 %.
    assert 3 <= sum(calls) <= 20


def test_what_is_hard_for_both_cancels_out():
    generator = np.random.default_rng(3)
    hard = generator.exponential(10.0, 300)
    easy = paired_bootstrap(np.full(300, 1.0), np.full(300, 1.1))
    both = paired_bootstrap(hard + 1.0, hard + 1.1)
    assert (both.low, both.high) == pytest.approx((easy.low, easy.high), abs=1e-9)
    assert both.is_significant


def test_order_of_models_turns_the_sign_only():
    a, b = np.random.default_rng(4).normal(size=(2, 50))
    one, other = paired_bootstrap(a, b), paired_bootstrap(b, a)
    assert other.difference == pytest.approx(-one.difference, abs=1e-15)
    # Interpolated quantiles are symmetric but for rounding.
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low), abs=1e-12)
    assert other.p_value == one.p_value


def test_the_seed_decides_the_draws():
    a, b = np.random.default_rng(5).normal(size=(2, 40))
    assert paired_bootstrap(a, b, 200) == paired_bootstrap(a, b, 200)
    assert paired_bootstrap(a, b, 200) != paired_bootstrap(a, b, 200, seed=1)


def test_drawing_in_parts_draws_the_same(monkeypatch):
    a, b = np.random.default_rng(6).normal(size=(2, 30))
    whole = paired_bootstrap(a, b, 100)
    monkeypatch.setattr("omnimat.leaderboard.bootstrap._DRAWS_AT_A_TIME", 70)
    assert paired_bootstrap(a, b, 100) == whole


def test_no_difference_at_all():
    found = paired_bootstrap([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 100)
    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)
    assert not found.is_significant


@pytest.mark.parametrize(
    ("a", "b"), [([], []), ([1.0], [1.0, 2.0]), ([[1.0]], [[1.0]]), ([np.nan], [1.0])]
)
def test_what_cannot_be_compared_is_refused(a, b):
    with pytest.raises(ValueError, match=r"scores|a score"):
        paired_bootstrap(a, b)


@pytest.fixture
def storage(tmp_path):
    return Confined(UPath(tmp_path))


@pytest.fixture
def make_rows(tmp_path, make_row):
    def make(name, tables, **changes):
        rows = []
        for seed, table in enumerate(tables):
            path = tmp_path / f"{name}-{seed}.parquet"
            table.to_parquet(path)
            written = {"predictions_uri": path.name, "predictions_sha256": sha256_of(path)}
            rows.append(make_row(model=name, seed=seed, **(written | changes)))
        return rows

    return make


def table(ids, target, prediction):
    return pd.DataFrame({"material_id": ids, "target": target, "prediction": prediction})


IDS = [f"m{i}" for i in range(40)]


def test_materials_are_paired_by_id_and_averaged_over_seeds(make_rows, storage):
    generator = np.random.default_rng(7)
    target, errors = generator.normal(size=40), generator.normal(size=(3, 40))
    a = make_rows("a", [table(IDS, target, target + error) for error in errors[:2]])
    shuffled = generator.permutation(40)
    other = table(IDS, target, target + errors[2]).iloc[shuffled]
    b = make_rows("b", [pd.concat([other, table(["extra"], [0.0], [9.0])])])
    found = compare(a, b, storage)
    means = np.abs(errors[:2]).mean(axis=0), np.abs(errors[2])
    # Ids are drawn in the order of the first table, so even the resamples are the same.
    assert found.paired == paired_bootstrap(*means)
    assert found.num_not_shared == 1


def test_classes_are_right_or_wrong_and_more_is_better(make_rows, storage):
    right = ["cubic"] * 40
    wrong = ["cubic"] * 10 + ["trigonal"] * 30
    changes = {"metric": "accuracy", "unit": "", "higher_is_better": True}
    a = make_rows("a", [table(IDS, right, wrong)], **changes)
    b = make_rows("b", [table(IDS, right, right)], **changes)
    found = compare(a, b, storage)
    assert (found.paired.mean_a, found.paired.mean_b) == (0.25, 1.0)
    assert found.verdict.startswith("B is better: A - B = -0.75 (95 % interval")


def test_components_of_a_material_are_one_score(make_rows, storage):
    [row] = make_rows("a", [table(["x", "y"], [[1.0, 2.0], [0.0, 0.0]], [[2.0, 4.0], [0.0, 1.0]])])
    assert material_scores(row, storage).to_dict() == {"x": 1.5, "y": 0.5}


def test_a_difference_that_is_none_is_said_to_be_none(make_rows, storage):
    generator = np.random.default_rng(8)
    tables = [table(IDS, np.zeros(40), generator.normal(size=40)) for _ in range(2)]
    found = compare(make_rows("a", tables[:1]), make_rows("b", tables[1:]), storage)
    assert found.verdict.startswith("no difference is shown: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "other"}, "not on one board: task differ"),
        ({"metric": "rmse"}, "not on one board: metric differ"),
        ({"predictions_sha256": "0"}, "was changed after the row was written"),
        ({"predictions_uri": "/nowhere/p.parquet"}, "/nowhere/p.parquet"),
        ({"predictions_uri": "embeddings.npz"}, "cannot be compared material by material"),
    ],
)
def test_rows_that_cannot_be_compared_say_why(make_rows, storage, changes, message):
    a = make_rows("a", [table(IDS, np.zeros(40), np.ones(40))])
    b = make_rows("b", [table(IDS, np.zeros(40), np.ones(40))], **changes)
    with pytest.raises(UserError, match=message):
        compare(a, b, storage)


def test_rows_without_a_material_in_common_say_so(make_rows, storage):
    a = make_rows("a", [table(["x"], [0.0], [1.0])])
    b = make_rows("b", [table(["y"], [0.0], [1.0])])
    with pytest.raises(UserError, match="no material in common"):
        compare(a, b, storage)
