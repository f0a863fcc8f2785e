"""Names that strangers chose, on every page and in every door of the server."""

import json
import os
import re
import shutil
import sqlite3
from contextlib import closing

import pytest
from upath import UPath

from omnimat.base.characters import hidden_in
from omnimat.base.errors import UserError
from omnimat.leaderboard.columns import board_of
from omnimat_dashboard import write_site

AUTHORIZED = {"Authorization": "Bearer a token of these tests"}
NAMES = [
    "a\x1b[2J",
    "nu\x00ll",
    "d\x7fel",
    "\u202edoog",
    "zero\u200bwidth",
    "\u2066iso\u2069",
    "\x9b1m",
]


def body_of(rows) -> str:
    return json.dumps([row.model_dump(mode="json") for row in rows])


@pytest.fixture
def poisoned(serve, storage, tmp_path):
    """Pages of rows whose names an earlier omnimat let in, and the paths of these pages."""
    row = storage.rows[0]
    rows = [row.model_copy(update={"model": f"m{place}"}) for place in range(len(NAMES))]
    with serve(*rows, root=storage.root) as client:
        with closing(sqlite3.connect(tmp_path / "leaderboard.sqlite")) as database:
            for place, name in enumerate(NAMES):
                change = "UPDATE leaderboard_groups SET model = ?, variant = ? WHERE model = ?"
                database.execute(change, (name, name, f"m{place}"))
            database.execute(
                "UPDATE leaderboard_configs SET config = ?", ('{"a\\u202e": "b\\u001b"}',)
            )
            database.commit()
        groups = [one.group_id for one in rows]
        board = board_of(row).board_id
        results = [f"/result/{group}" for group in groups]
        compared = f"/compare?a={groups[0]}&b={groups[1]}"
        yield client, ["/", f"/board/{board}", *results, compared, f"/download/{board}.csv"]


def test_pages_show_hidden_characters_as_escapes(poisoned):
    client, paths = poisoned
    for path in paths:
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert hidden_in(answer.text, "\r\n\t") is None, path
        for script in re.findall(
            r'(?s)<script type="application/json">(.*?)</script>', answer.text
        ):
            assert hidden_in(json.loads(script)) is None, path
    board = client.get(paths[1]).text
    assert all(shown in board for shown in (r"a\x1b[2J", r"nu\x00ll", r"\u202edoog"))


def test_the_exported_folder_shows_them_so_too(poisoned, tmp_path, storage):
    write_site(f"sqlite:///{tmp_path / 'leaderboard.sqlite'}", str(storage.root), tmp_path / "site")
    pages = list(UPath(tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(NAMES)
    assert [path for path in pages if hidden_in(path.read_text(), "\r\n\t")] == []


@pytest.mark.parametrize("name", ["../../escaped", "{root}/escaped", "..", "", "a\\b"])
def test_the_exported_folder_holds_all_that_is_written(serve, storage, tmp_path, name):
    name = name.format(root=tmp_path)
    with serve(storage.rows[0], root=storage.root):
        pass
    with closing(sqlite3.connect(tmp_path / "leaderboard.sqlite")) as database:
        for table in ("groups", "rows"):
            database.execute(f"UPDATE leaderboard_{table} SET group_id = ?", (name,))
        database.commit()
    url = f"sqlite:///{tmp_path / 'leaderboard.sqlite'}"
    with pytest.raises(UserError, match="is no name of a file"):
        write_site(url, str(storage.root), tmp_path / "deep" / "site")
    assert list(tmp_path.rglob("*escaped*")) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_post_of_such_a_name_is_refused(empty_client, storage, name):
    [row] = json.loads(body_of(storage.rows[:1]))
    for field in ("model", "task", "run_name"):
        body = json.dumps([row | {field: name}])
        answer = empty_client.post("/api/rows", content=body, headers=AUTHORIZED)
        assert answer.status_code == 422
        assert f"0.{field}: it holds the hidden character U+" in answer.json()["error"]
    assert empty_client.get("/api/boards").json() == []


@pytest.mark.parametrize(
    ("once", "twice"),
    [
        ('"seed": 0', '"seed": 0, "seed": 1'),
        ('"lr": 0.001', '"lr": 0.001, "lr": 1'),
        ('"lr": 0.001', '"lr": 1e999'),
        ('"wall_time_s": 75.0', '"wall_time_s": 1e999'),
        ('"wall_time_s": 75.0', '"wall_time_s": NaN'),
    ],
)
def test_a_post_of_a_key_twice_or_of_no_number_is_refused(empty_client, storage, once, twice):
    body = body_of(storage.rows[:1])
    assert once in body
    answer = empty_client.post("/api/rows", content=body.replace(once, twice), headers=AUTHORIZED)
    assert (answer.status_code, answer.json()["error"].count("\n")) == (422, 0)
    assert empty_client.get("/api/boards").json() == []


NOT_OPENED, NOT_HERE = "so it is not opened", "is not in this storage"
# What lies in the place of a file, and what is said of it; a listing of runs shows plain files.
MOVED = {
    "datasets/mp20-mini/records.parquet": ("/dataset/mp20-mini", NOT_OPENED),
    "datasets/mp20-mini/failures.jsonl": ("/dataset/mp20-mini/failures.jsonl", NOT_OPENED),
    "datasets/mp20-mini/manifest.json": ("/dataset/mp20-mini", NOT_OPENED),
    "runs/mini-retrieval/maps/structure-umap.parquet": ("/map/mini-retrieval", NOT_OPENED),
    "runs/mini-anchored/metrics.parquet": ("/run/mini-anchored", NOT_OPENED),
    "runs/mini-sweep/trials/better/trial.json": ("/run/mini-sweep", NOT_OPENED),
    "runs/going/metrics/00001-000000.jsonl": ("/run/going", "has not reported a step yet"),
    "runs/going/job.json": ("/run/going", NOT_HERE),
}


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_no_link_out_of_the_storage_is_followed_and_no_pipe_awaited(serve, storage, tmp_path, kind):
    root, outside = tmp_path / "root", tmp_path / "outside"
    shutil.copytree(str(storage.root), root)
    outside.mkdir()
    with serve(root=root) as client:
        for place, (name, (path, sentence)) in enumerate(MOVED.items()):
            assert client.get(path).status_code == 200
            (root / name).rename(outside / str(place))
            if kind == "link":
                (root / name).symlink_to(outside / str(place))
            else:
                os.mkfifo(root / name)
            assert sentence in client.get(path).text, name
        for path in ("/datasets", "/maps", "/runs"):
            assert client.get(path).status_code == 200
    write_site(storage.url, str(root), tmp_path / "site")
    assert not list((tmp_path / "site" / "dataset").glob("*/*"))


def test_a_run_of_links_is_not_followed(serve, storage, tmp_path):
    runs = tmp_path / "runs"
    (runs / "around" / "trials").mkdir(parents=True)
    (runs / "elsewhere").symlink_to(str(storage.root / "runs" / "going"))
    (runs / "around" / "job.json").write_text(
        (storage.root / "runs" / "mini-sweep" / "job.json").read_text()
    )
    for name in "abc":  # as many folders as there are words of these letters
        (runs / "around" / "trials" / name).symlink_to(runs / "around" / "trials")
    with serve() as client:
        assert client.get("/run/elsewhere").status_code == 404
        assert "no trial has ended yet" in client.get("/run/around").text
