"""Tests of tables for the terminal."""

import pytest
from rich.console import Console

from omnimat.leaderboard.contest import contests_of_boards
from omnimat.leaderboard.ranking import is_variation, ranking_tables
from omnimat.leaderboard.store import LeaderboardStore


@pytest.fixture
def summaries_of(tmp_path):
    def summaries_of(rows):
        store = LeaderboardStore(f"sqlite:///{tmp_path / 'board.sqlite'}")
        store.upsert(rows)
        return store.summaries()

    return summaries_of


def lines_of(summaries, width=80) -> list[str]:
    console = Console(width=width, record=True)
    wanted = {one.group_id for one in summaries}
    console.print(ranking_tables(contests_of_boards(summaries), wanted, {}))
    return console.export_text().splitlines()


def test_names_are_shown_as_they_are(make_row, summaries_of):
    rows = [make_row(model="[red]name[/red]"), make_row(task="gap", unit="eV")]
    text = "\n".join(lines_of(summaries_of(rows)))
    assert all(row.group_id[:8] in text for row in rows)
    assert "[red]name[/red]" in text
    assert "MAE (eV), lower is better" in text


def test_80_columns_keep_names_scores_and_ids(make_row, summaries_of):
    long = "structure (potnet) + xrd (xrd_cnn) + composition (roost), fine-tuned, 10 % of training"
    rows = [
        make_row(model=f"{long} {one}", seed=seed, value=0.1 + one / 9 + seed / 99)
        for one in range(3)
        for seed in range(2)
    ]
    lines = lines_of(summaries_of(rows))
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert all(row.group_id[:8] in text for row in rows)
    assert "0.1051 ± 0.0071" in text
    words = " ".join(line[4:30].strip() for line in lines)
    assert " ".join(words.split()).count("10 % of training") == 3
    assert "…" not in text


def test_a_table_is_of_one_metric_and_has_all_tasks(make_row, summaries_of):
    rows = [
        make_row(task=task, metric=metric, unit="", value=value, higher_is_better=higher)
        for task in ("retrieval a -> b", "retrieval b -> a")
        for metric, value, higher in [("mean rank", 7.5, False), ("top-10", 0.75, True)]
    ]
    lines = lines_of(summaries_of(rows))
    (top,) = [place for place, line in enumerate(lines) if "top-10 (%), higher" in line]
    (rank,) = [place for place, line in enumerate(lines) if "mean rank, lower" in line]
    for task in ("retrieval a -> b", "retrieval b -> a"):
        first, second = [place for place, line in enumerate(lines) if task in line]
        assert rank < first < top < second
        assert "7.5" in lines[first + 1]
        assert "75" in lines[second + 1]


def test_a_variant_is_told_unless_the_name_tells_it(make_row, summaries_of):
    rows = [
        make_row(model="potnet, fine-tuned from x", variant="finetuned"),
        make_row(model="potnet", variant="from_scratch"),
    ]
    text = "\n".join(lines_of(summaries_of(rows)))
    assert "potnet, from scratch" in text
    assert ", finetuned" not in text


def test_a_metric_counted_in_another_way_is_a_variation(make_row, summaries_of):
    rows = [make_row(metric=metric) for metric in ("top-1", "top-1, merged", "top-1 of 1024")]
    told = {one.board.metric: is_variation(one.board) for one in summaries_of(rows)}
    assert told == {"top-1": False, "top-1, merged": True, "top-1 of 1024": False}
