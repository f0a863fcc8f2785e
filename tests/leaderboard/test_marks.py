"""Marks: which results differ from the best of their board."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from upath import UPath

from omnimat.base.confined import Confined
from omnimat.leaderboard.comparison import material_scores
from omnimat.leaderboard.contest import contests_of_boards
from omnimat.leaderboard.marks import (
    MAX_COMPARED,
    Comparer,
    corrected_p_values,
    marks,
    marks_of_contests,
)
from omnimat.leaderboard.store import LeaderboardStore

NUM_MATERIALS = 60


@pytest.fixture
def store(tmp_path):
    return LeaderboardStore(f"sqlite:///{tmp_path / 'board.sqlite'}")


@pytest.fixture
def add(store, make_rows):
    """A function that adds a result, whose errors are an error plus some that vary by material."""

    def add(name, error, num_materials=NUM_MATERIALS, num_seeds=2, **changes):
        generator = np.random.default_rng(sum(map(ord, name)))
        ids = [f"m{i}" for i in range(num_materials)]
        tables = []
        for seed in range(num_seeds):
            errors = error + 0.1 * generator.random(num_materials) + 0.001 * seed
            tables.append(pd.DataFrame({"material_id": ids, "target": 0.0, "prediction": errors}))
        store.upsert(make_rows(name, tables, **({"value": error} | changes)))

    return add


@pytest.fixture
def scores_of(tmp_path):
    return partial(material_scores, storage=Confined(UPath(tmp_path)))


@pytest.fixture
def marked(store, scores_of):
    """A function that gives the marks of the only board, by model."""

    def marked():
        ranked = store.summaries()
        found = marks(ranked, lambda one: store.rows(group_id=one), Comparer(scores_of))
        known = [one for one in ranked if one.group_id in found.of]
        return {one.model: found.of[one.group_id] for one in known}, found

    return marked


def test_results_that_do_not_differ_are_told_from_those_that_are_worse(add, marked):
    for name, error in (("first", 1.0), ("second", 1.001), ("third", 2.0)):
        add(name, error)
    told, found = marked()
    assert {name: mark.kind for name, mark in told.items()} == {
        "first": "best",
        "second": "tied",
        "third": "worse",
    }
    assert "1 of the others does not differ" in told["first"].sentence
    assert told["second"].sentence.startswith("does not differ from the best (p = ")
    assert "over 60 materials, 2 seeds)" in told["second"].sentence
    assert "among 3 (Holm)" in found.note


def test_a_single_seed_is_said_to_cover_no_seeds(add, marked):
    add("first", 1.0, num_seeds=1)
    add("second", 1.001)
    told, _ = marked()
    assert "1 and 2 seeds, so other seeds are not covered" in told["second"].sentence


def test_what_cannot_be_compared_is_not_silently_worse(add, marked):
    add("first", 1.0)
    add("gone", 1.1, predictions_uri="/nowhere/p.parquet")
    add("few", 1.2, num_materials=19)
    add("other", 1.3, num_seeds=1)
    told, found = marked()
    assert {name: mark.kind for name, mark in told.items()} == {
        "first": "best",
        "gone": "unknown",
        "few": "unknown",
        "other": "worse",
    }
    assert told["first"].sentence == "best of those that could be compared"
    assert "/nowhere/p.parquet" in told["gone"].sentence
    assert "fewer than 20 materials" in told["few"].sentence
    assert "among 2" in found.note


def test_if_the_best_has_no_predictions_nothing_is_marked_as_best(add, marked):
    add("first", 1.0, predictions_uri="/nowhere/p.parquet")
    add("second", 1.1)
    told, found = marked()
    assert {name: mark.kind for name, mark in told.items()} == {"second": "unknown"}
    assert found.note == "No result could be compared with the best."


@pytest.mark.parametrize("damaged", ["first", "second"])
def test_a_row_that_cannot_be_read_is_not_compared_and_ends_nothing(
    add, marked, execute, tmp_path, damaged
):
    for name, error in (("first", 1.0), ("second", 1.1), ("third", 2.0)):
        add(name, error)
    execute(
        f"sqlite:///{tmp_path / 'board.sqlite'}",
        "UPDATE leaderboard_rows SET num_test = 0 WHERE seed = 0 AND group_id = "
        f"(SELECT group_id FROM leaderboard_groups WHERE model = '{damaged}')",
    )
    told, _ = marked()
    assert "was changed by hand" in told["second"].sentence
    kinds = {"second": "unknown", "third": "unknown" if damaged == "first" else "worse"}
    assert {name: told[name].kind for name in kinds} == kinds


def test_a_metric_that_is_no_mean_over_materials_is_said_to_be_none(add, marked):
    for name in ("first", "second"):
        add(name, 1.0, metric="rmse")
    told, found = marked()
    assert not told
    assert "rmse is no mean over materials" in found.note


def test_a_rank_by_other_materials_is_no_rank_on_those_of_both(add, marked):
    """The value that ranks may be one of more materials, or be made up."""
    add("first", 2.0, value=0.5)
    add("second", 1.0)
    told, _ = marked()
    assert told["second"].kind == "tied"
    assert told["second"].sentence.startswith("better than the best on the materials")


def test_only_the_first_results_are_compared(add, marked):
    for place in range(MAX_COMPARED + 1):
        add(f"model-{place:02}", 1.0 + place, num_seeds=1)
    told, found = marked()
    assert len(told) == MAX_COMPARED
    assert [mark.kind for mark in told.values()] == ["best", *["worse"] * (MAX_COMPARED - 1)]
    assert found.note.startswith(f"The first {MAX_COMPARED} results are compared")


def test_boards_are_marked_until_too_many_files_are_read(store, add, scores_of):
    for task in ("a", "b"):
        for name in ("first", "second"):
            add(f"{name} {task}", 1.0, task=task)
    contests = contests_of_boards(store.summaries())
    boards = [one.board for one in contests]
    all_marked, left_out = marks_of_contests(store, contests, scores_of, 8)
    assert (list(all_marked), left_out) == (boards, [])
    some, left_out = marks_of_contests(store, contests, scores_of, 7)
    assert (list(some), left_out) == (boards[:1], boards[1:])


def test_p_values_are_corrected_for_all_pairs_the_clearest_first():
    # Four results: 6 pairs; without the clearest 3, then 1, and never below one that is clearer.
    assert corrected_p_values([0.3, 0.01, 0.02]) == pytest.approx([0.3, 0.06, 0.06])
    assert corrected_p_values([0.04]) == [0.04]
    assert corrected_p_values([0.5, 0.5]) == [1.0, 1.0]
    assert corrected_p_values([]) == []
