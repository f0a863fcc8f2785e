"""A task that was judged by folds: one board of means, a page for each, and their comparison."""

import csv
import io
import re

import pytest

from omnimat.base.confined import Confined
from omnimat.leaderboard.comparison import compare
from omnimat_dashboard import write_site


@pytest.fixture
def client(folds, serve):
    root, store, _ = folds
    with serve(*store.rows(), root=root) as client:
        yield client


def plain(text) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def test_a_task_with_folds_is_one_column_and_one_board(client, folds):
    means = folds[2]
    board = means["near"].summary.board
    text = client.get("/").text
    assert text.count(f'href="./board/{board.board_id}"') == 1
    for mean in means.values():
        assert f'href="./result/{mean.mean_id}"' in text
    page = client.get(f"/board/{board.board_id}").text
    lines = [plain(one) for one in page.split('<tr class="result"')[1:]]
    assert [re.search(r"(\S+) (near|middle|far|part)", one).groups() for one in lines] == [
        ("1", "near"),
        ("2", "middle"),
        ("3", "far"),
        ("\N{EN DASH}", "part"),
    ]
    assert "1/2 folds" in lines[-1]
    assert "have no rank" in page
    for member in means["near"].members:
        assert f'href="../board/{member.board.board_id}"' in page
        above = client.get(f"/board/{member.board.board_id}").text
        assert f'href="../board/{board.board_id}"' in above


def test_a_mean_that_is_searched_for_is_compared_with_the_best_of_all(client):
    text = client.get("/?q=far+folds").text
    assert text.count("cell-worse") == 1
    assert 'class="number cell-best' not in text


def test_the_downloads_of_a_board_of_means_hold_the_means(client, folds):
    means = folds[2]
    address = f"/download/{means['near'].summary.board.board_id}"
    lines = list(csv.DictReader(io.StringIO(client.get(f"{address}.csv").text)))
    found = {line["model"]: float(line["mean"]) for line in lines}
    assert found == {name: mean.summary.mean for name, mean in means.items()}
    assert "2 folds" in client.get(f"{address}.tex").text


def test_programs_get_the_means_and_the_rows_of_their_folds(client, folds):
    _, store, means = folds
    boards = client.get("/api/boards").json()
    (board,) = [one for one in boards if one["task"] == "formation energy, 2 folds"]
    asked = {"board": board["board_id"]}
    found = {one["model"]: one for one in client.get("/api/summaries", params=asked).json()}
    assert {name: one["mean"] for name, one in found.items()} == {
        name: mean.summary.mean for name, mean in means.items()
    }
    assert (board["num_results"], board["num_rows"]) == (len(means), len(store.rows()))
    asked = {"group_id": found["near"]["group_id"]}
    rows = client.get("/api/rows", params=asked).json()
    assert {row["row_id"] for row in rows} == {row.row_id for row in rows_of(store, means["near"])}


def test_a_mean_has_a_page_that_leads_to_its_folds(client, folds):
    mean = folds[2]["part"]
    text = client.get(f"/result/{mean.mean_id}").text
    assert "1 fold is missing, so this mean has no rank" in plain(text)
    assert "to come" in text
    for one in mean.members:
        assert f'href="../result/{one.group_id}"' in text


def rows_of(store, mean):
    return [row for one in mean.members for row in store.rows(group_id=one.group_id)]


def test_means_are_compared_as_in_the_terminal(client, folds):
    root, store, means = folds
    a, b = means["near"], means["far"]
    text = plain(client.get(f"/compare?a={a.mean_id}&b={b.mean_id}").text)
    paired = compare(rows_of(store, a), rows_of(store, b), Confined(root)).paired
    assert paired.num_materials == 60
    assert "A is better" in text
    assert f"p {paired.p_value:.2g} materials 60" in text
    assert "fold.test" not in text
    part = means["part"]
    text = plain(client.get(f"/compare?a={a.mean_id}&b={part.mean_id}").text)
    assert "are results of 2 and of 1 boards" in text
    assert "not ranked" in text
    several = "&".join(f"of={means[name].mean_id}" for name in ("near", "middle", "far"))
    assert plain(client.get(f"/compare?{several}").text).count("2 folds") >= 3


def test_means_are_in_the_folder_that_is_written(folds, tmp_path):
    root, _, means = folds
    write_site(f"sqlite:///{root / 'leaderboard.sqlite'}", str(root), tmp_path)
    for mean in means.values():
        assert (tmp_path / "result" / f"{mean.mean_id}.html").exists()
    assert (tmp_path / "board" / f"{means['near'].summary.board.board_id}.html").exists()
