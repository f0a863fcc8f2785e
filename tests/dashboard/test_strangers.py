"""Names that strangers chose, on every page and in every door of the server."""

import json
import re
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
