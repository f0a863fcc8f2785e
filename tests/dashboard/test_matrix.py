"""What the first page says at a glance: a matrix, heat maps of retrieval, curves of labels."""

from datetime import UTC, datetime

import pytest

from omnimat.leaderboard.board import Board, Summary
from omnimat.leaderboard.contest import Contest, contests_of_boards, contests_of_folds
from omnimat.leaderboard.folds import FoldMean
from omnimat.leaderboard.marks import Mark, Marks
from omnimat_dashboard.fractions import label_curves
from omnimat_dashboard.heat_map import MERGED, METRIC, gain_of_merging, heat_maps
from omnimat_dashboard.matrix import MAX_COLUMNS, MAX_LINES, Column, matrices
from omnimat_dashboard.text import Scale


def board(task, metric="mae", unit="eV", *, higher=False, dataset="data") -> Board:
    return Board(task, metric, unit, higher, dataset, "0", "1")


def result(of, model, mean, *, config="c", variant="finetuned") -> Summary:
    name = f"{of.task}-{of.metric}-{model}-{config}"
    newest = datetime(2026, 11, 20, tzinfo=UTC)
    return Summary(of, name, model, variant, config, mean, None, 1, 400, (0,), "recomputed", newest)


def column(contest, kinds=None) -> Column:
    marks = Marks("", {name: Mark(kind, kind) for name, kind in (kinds or {}).items()})
    number = len(contest.ranked)
    return Column(contest, Scale.of(contest.board), marks, number, None, {})


def test_models_stand_in_the_order_of_their_places():
    energy, gap = board("energy"), board("gap")
    found = [result(energy, "a", 0.1), result(energy, "b", 0.2), result(gap, "b", 0.3)]
    (matrix,) = matrices(map(column, contests_of_boards(found)))
    assert [line.model for line in matrix.lines] == ["a", "b"]
    assert [cell and cell.one.mean for cell in matrix.lines[0].cells] == [0.1, None]
    assert [cell and cell.one.mean for cell in matrix.lines[1].cells] == [0.2, 0.3]


def test_a_model_shows_its_best_configuration_and_says_so():
    energy = board("energy")
    found = [result(energy, "a", 0.1 * place, config=str(place)) for place in (1, 2, 3)]
    kinds = {found[0].group_id: "best"}
    (matrix,) = matrices([column(Contest(energy, found), kinds)])
    ((cell,),) = [line.cells for line in matrix.lines]
    assert (cell.one.mean, cell.kind) == (0.1, "best")
    assert cell.told == "best; the best of 3 configurations"


def test_no_matrix_is_too_wide_or_too_long():
    boards = [board(f"task {number}") for number in range(MAX_COLUMNS + 1)]
    contests = [Contest(one, [result(one, f"m{m:02}", m) for m in range(20)]) for one in boards]
    first, second = matrices(map(column, contests))
    assert (len(first.columns), len(second.columns)) == (MAX_COLUMNS, 1)
    assert (len(first.lines), first.num_left_out) == (MAX_LINES, 20 - MAX_LINES)
    other = Contest(board("x", dataset="other"), [])
    assert len(matrices(map(column, (contests[0], other)))) == 2


@pytest.fixture
def folded():
    def fold_mean(model, means, num_folds=2):
        members = [
            result(board(f"energy, fold {fold} of {num_folds}"), model, mean, config=model)
            for fold, mean in enumerate(means)
        ]
        return FoldMean("energy", "fold", num_folds, tuple(members), f"mean-{model}")

    return fold_mean


def test_a_mean_over_some_folds_follows_those_over_all(folded):
    (contest,) = contests_of_folds([folded("part", (0.1,)), folded("whole", (0.3, 0.5))])
    (matrix,) = matrices([column(contest)])
    assert [line.model for line in matrix.lines] == ["whole", "part"]
    cells = [line.cells[0] for line in matrix.lines]
    assert [(cell.extent, cell.is_whole) for cell in cells] == [
        ("2 folds", True),
        ("1/2 folds", False),
    ]
    assert cells[0].one.mean == pytest.approx(0.4)
    assert [one.task for one in contest.folds] == [
        "energy, fold 0 of 2",
        "energy, fold 1 of 2",
    ]


def test_retrieval_is_one_map_a_model_with_chance_beside():
    found = [
        result(board(f"retrieval {pair}", metric, "", higher=True), model, value)
        for pair, value in (("structure -> dos", 0.5), ("dos -> structure", 0.25))
        for metric in (METRIC, "top-1")
        for model in ("a", "b")
    ]
    contests = contests_of_boards(found)
    chances = {one.group_id: [0.01] for one in found}
    first, second = heat_maps(contests, chances, METRIC)
    assert (first.first.model, second.first.model) == ("a", "b")
    assert (first.queries, first.targets) == (["dos", "structure"], ["dos", "structure"])
    heat = first.heats["structure", "dos"]
    assert (heat.score, heat.shade, heat.chance) == ("50.0", 5, "1")
    assert first.heats["dos", "structure"].shade == 2
    assert first.chance == "1"
    (validation,) = heat_maps(
        [Contest(one := board("retrieval a -> b (validation split)", METRIC, ""), [found[0]])],
        {},
        METRIC,
    )
    assert one.metric == METRIC
    assert (validation.rest, validation.chance) == ("(validation split)", "")


def test_what_counting_duplicates_gains_is_said():
    def maps(metric, share):
        found = [result(board("retrieval a -> b", metric, "", higher=True), "m", share)]
        return heat_maps(contests_of_boards(found), {}, metric)

    plain = maps(METRIC, 0.5)
    assert gain_of_merging(plain, maps(MERGED, 0.625)) == "12.5"
    assert gain_of_merging(plain, []) == ""


def test_curves_of_labels_join_the_parts_of_one_model(folded):
    energy = board("energy")
    found = [
        result(energy, "a", 0.1, config="all"),
        result(energy, "a, 10 % of training", 0.3, config="tenth"),
        result(energy, "b", 0.2, config="all"),
    ]
    configs = {"tenth": {"train_fraction": 0.1}, "all": {}}
    ((title, figure),) = label_curves([Contest(energy, found)], configs)
    (line,) = figure["series"]
    assert (title, line["name"], line["x"], line["y"]) == (
        "energy",
        "a, finetuned",
        [10.0, 100.0],
        [0.3, 0.1],
    )
    assert label_curves([Contest(energy, found[::2])], configs) == []
