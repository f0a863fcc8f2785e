"""The mean over folds: only of results that differ in nothing but their fold."""

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from omnimat.cli.main import main
from omnimat.leaderboard.contest import contests_of_folds
from omnimat.leaderboard.folds import fold_means
from omnimat.leaderboard.marks import marks_of_contests
from omnimat.leaderboard.store import LeaderboardStore


@pytest.fixture
def row_of_fold(make_row):
    def make(test, value, *, rate=1e-3, num_folds=5, name="fold", **changes):
        fold = {"property": name, "test": test, "num_folds": num_folds}
        fold |= {"validation_fraction": 0.1, "seed": 0}
        values = {"task": f"hardness, {name} {test} of {num_folds}", "unit": "GPa", "value": value}
        return make_row(**values | {"config": {"lr": rate, "fold": fold}} | changes)

    return make


@pytest.fixture
def means_of(tmp_path):
    def means_of(rows):
        store = LeaderboardStore(f"sqlite:///{tmp_path / 'board.sqlite'}")
        store.upsert(rows)
        summaries = store.summaries()
        return fold_means(summaries, store.configs(one.config_hash for one in summaries))

    return means_of


def test_seeds_are_averaged_within_a_fold_and_then_folds(row_of_fold, means_of):
    values = {"0": (1.0, 2.0), "1": (3.0,), "2": (6.0,)}
    rows = [
        row_of_fold(fold, value, seed=seed, num_folds=3)
        for fold, of_seeds in values.items()
        for seed, value in enumerate(of_seeds)
    ]
    (mean,) = means_of(rows)
    assert [one.mean for one in mean.members] == [1.5, 3.0, 6.0]
    assert mean.summary.mean == 3.5
    assert mean.summary.std == pytest.approx(((4 + 0.25 + 6.25) / 2) ** 0.5)
    assert (mean.task, mean.extent, mean.summary.seeds) == ("hardness", "3 folds", (0,))


def test_whatever_else_differs_is_another_method(row_of_fold, means_of, make_row):
    others = [
        {"model": "other"},
        {"variant": "frozen"},
        {"dataset_fingerprint": "f" * 16},
        {"metric": "rmse"},
        {"rate": 2e-3},
        {"num_folds": 6},
        {"name": "group"},
    ]
    rows = [row_of_fold(fold, 1.0) for fold in "01"]
    rows += [row_of_fold("1", 1.0, **changes) for changes in others]
    rows += [make_row()]  # of no fold
    means = means_of(rows)
    assert sorted(len(mean.members) for mean in means) == [1] * len(others) + [2]


def test_the_best_method_is_first(row_of_fold, means_of):
    rows = [
        row_of_fold(fold, value, model=model)
        for fold in "01"
        for model, value in (("poor", 3.0), ("good", 1.0))
    ]
    assert [mean.members[0].model for mean in means_of(rows)] == ["good", "poor"]


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "hardness, fold 3 of 5"},
        {"config": {"fold": {"test": "1"}}},
        {"config": {"fold": "1"}},
        {"config": {}},
    ],
)
def test_a_result_that_contradicts_its_configuration_has_no_mean(row_of_fold, means_of, changes):
    assert means_of([row_of_fold("1", 1.0, **changes)]) == []


@pytest.mark.parametrize("folds", [True, False])
def test_show_prints_the_mean_and_how_many_folds_it_is_over(
    tmp_path, monkeypatch, row_of_fold, make_row, folds
):
    monkeypatch.setenv("OMNIMAT_STORAGE", str(tmp_path))
    rows = [row_of_fold(fold, float(fold)) for fold in "013"] if folds else [make_row()]
    LeaderboardStore(f"sqlite:///{tmp_path / 'leaderboard.sqlite'}").upsert(rows)
    result = CliRunner().invoke(main, ["leaderboard", "show"])
    assert result.exit_code == 0, result.output
    assert ("3/5 folds" in result.output) == folds
    assert ("1.3 ± 1.5" in result.output) == folds


def test_show_has_the_mean_in_place_of_its_folds_unless_asked(tmp_path, monkeypatch, row_of_fold):
    monkeypatch.setenv("OMNIMAT_STORAGE", str(tmp_path))
    rows = [row_of_fold(fold, float(fold), num_folds=2) for fold in "01"]
    LeaderboardStore(f"sqlite:///{tmp_path / 'leaderboard.sqlite'}").upsert(rows)

    def show(*options):
        return CliRunner().invoke(main, ["leaderboard", "show", *options]).output

    assert "hardness, 2 folds" in show()
    assert "fold 1 of 2" not in show()
    assert show("--task", "hardness") == show()
    for options in (("--folds",), ("--task", "hardness, fold 1 of 2")):
        assert "hardness, fold 1 of 2" in show(*options)
        assert "hardness, 2 folds" not in show(*options)


def test_means_over_all_folds_are_ranked_before_others(row_of_fold, means_of):
    rows = [row_of_fold(fold, 3.0, model="whole", num_folds=2) for fold in "01"]
    rows += [row_of_fold("0", 1.0, model="part", num_folds=2)]
    (contest,) = contests_of_folds(means_of(rows))
    assert [one.model for one in contest.ranked] == ["whole", "part"]
    assert [contest.is_whole(one) for one in contest.ranked] == [True, False]
    assert [contest.extent(one) for one in contest.ranked] == ["2 folds", "1/2 folds"]


def test_means_are_compared_by_the_pooled_materials_of_their_folds(row_of_fold, means_of, tmp_path):
    numbers = np.random.default_rng(0)
    rows, scores = [], {}
    for model, level in (("good", 0.1), ("same", 0.1), ("bad", 0.3)):
        for fold in "01":
            row = row_of_fold(fold, level, model=model, num_folds=2)
            rows.append(row)
            ids = [f"mp-{fold}-{place}" for place in range(15)]  # too few in one fold alone
            scores[row.row_id] = pd.Series(level + numbers.normal(0, 0.02, 15), index=ids)
    (contest,) = contests_of_folds(means_of(rows))
    store = LeaderboardStore(f"sqlite:///{tmp_path / 'board.sqlite'}")
    marked, left_out = marks_of_contests(store, [contest], lambda row: scores[row.row_id], 6)
    kinds = {one.model: marked[contest.board].of[one.group_id].kind for one in contest.ranked}
    assert kinds["bad"] == "worse"
    assert sorted((kinds["good"], kinds["same"])) == ["best", "tied"]
    assert left_out == []
    assert marks_of_contests(store, [contest], dict.get, 5) == ({}, [contest.board])
