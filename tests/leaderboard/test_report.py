"""Tests of tables for the terminal."""

import pytest
from rich.console import Console

from omnimat.leaderboard.report import is_variation, terminal_table
from omnimat.leaderboard.store import LeaderboardStore


@pytest.fixture
def summaries_of(tmp_path):
    def summaries_of(rows):
        store = LeaderboardStore(f"sqlite:///{tmp_path / 'board.sqlite'}")
        store.upsert(rows)
        return store.summaries()

    return summaries_of


@pytest.mark.parametrize(
    ("values", "score"),
    [
        ((0.123456,), "0.1235"),
        ((0.1, 0.12), "0.110 ± 0.014"),
        ((100.0, 160.0), "130 ± 42"),
        ((1.0, 1.0), "1"),
        ((0.5, 0.500001), "0.50000050 ± 0.00000071"),
    ],
)
def test_scores_are_rounded_to_their_deviation(make_row, summaries_of, values, score):
    [summary] = summaries_of(make_row(seed=seed, value=value) for seed, value in enumerate(values))
    assert summary.score == score


def lines_of(summaries) -> list[str]:
    console = Console(width=160, record=True)
    console.print(terminal_table(summaries, {}))
    return console.export_text().splitlines()


def test_terminal_table_shows_names_as_they_are(make_row, summaries_of):
    rows = [make_row(model="[red]name[/red]"), make_row(task="gap", unit="eV")]
    text = "\n".join(lines_of(summaries_of(rows)))
    assert all(row.group_id[:8] in text for row in rows)
    assert "[red]name[/red]" in text
    assert "mae (eV) ↓" in text


def test_terminal_table_puts_the_metrics_of_a_task_on_one_line(make_row, summaries_of):
    rows = [
        make_row(task=task, metric=metric, unit="", value=value, higher_is_better=higher)
        for task in ("retrieval a -> b", "retrieval b -> a")
        for metric, value, higher in [
            ("mean rank", 7.5, False),
            ("top-10", 0.75, True),
            ("top-5", 0.5, True),
        ]
    ]
    lines = lines_of(summaries_of(rows))
    assert len([line for line in lines if "top-5 ↑" in line]) == 1
    for task in ("retrieval a -> b", "retrieval b -> a"):
        (line,) = [line for line in lines if task in line]
        assert line.index("0.5 ") < line.index("0.75 ") < line.index("7.5 ")


def test_many_metrics_are_told_in_several_tables(make_row, summaries_of):
    rows = [make_row(metric=f"top-{k}", unit="", value=k / 100) for k in range(1, 15)]
    lines = lines_of(summaries_of(rows))
    assert sum("formation_energy" in line for line in lines) == 3
    text = "\n".join(lines)
    assert all(f"top-{k} " in text and f"{k / 100:.4g} " in text for k in range(1, 15))


def test_a_metric_counted_in_another_way_is_a_variation(make_row, summaries_of):
    rows = [make_row(metric=metric) for metric in ("top-1", "top-1, merged", "top-1 of 1024")]
    told = {one.board.metric: is_variation(one) for one in summaries_of(rows)}
    assert told == {"top-1": False, "top-1, merged": True, "top-1 of 1024": False}
