"""The JSON interface: everybody reads, who has the token writes."""

import json
import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner

from omnimat.base.errors import UserError
from omnimat.cli.main import main
from omnimat.leaderboard.store import LeaderboardStore
from omnimat_dashboard.api import MAX_BODY_BYTES
from omnimat_dashboard.app import create_app

AUTHORIZED = {"Authorization": "Bearer a token of these tests"}


def body_of(rows) -> str:
    return json.dumps([row.model_dump(mode="json") for row in rows])


def test_boards_summaries_and_rows_agree(client, storage):
    boards = client.get("/api/boards").json()
    assert sum(board["num_rows"] for board in boards) == len(storage.rows)
    board = next(board for board in boards if board["task"] == "formation energy")
    summaries = client.get("/api/summaries", params={"board": board["board_id"]}).json()
    assert [one["n"] for one in summaries] == [3, 3, 3]
    rows = client.get("/api/rows", params={"group_id": summaries[0]["group_id"]}).json()
    assert summaries[0]["mean"] == pytest.approx(sum(r["value"] for r in rows) / 3, rel=1e-12)
    assert {row["row_id"] for row in rows} <= {row.row_id for row in storage.rows}


def test_wrong_questions_get_a_sentence(client):
    assert client.get("/api/rows").json()["error"].startswith("name a group_id")
    answer = client.get("/api/summaries", params={"board": "0"})
    assert (answer.status_code, "/api/boards" in answer.json()["error"]) == (404, True)


def test_a_server_without_a_token_only_reads(client, storage):
    answer = client.post("/api/rows", content=body_of(storage.rows[:1]), headers=AUTHORIZED)
    assert answer.status_code == 403
    assert "only reads" in answer.json()["error"]
    assert client.put("/api/rows").status_code == 405


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer x", "Basic a token of these tests", "Bearer é"]
)
def test_another_token_writes_nothing(empty_client, storage, given):
    answer = empty_client.post(
        "/api/rows",
        content=body_of(storage.rows[:1]),
        headers={"Authorization": given.encode("latin-1")},
    )
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert empty_client.get("/api/boards").json() == []


@pytest.mark.parametrize("token", ["", " "])
def test_a_token_that_everybody_has_is_refused(tmp_path, token):
    with pytest.raises(UserError, match="the token is empty, so everybody could write"):
        create_app(f"sqlite:///{tmp_path / 'leaderboard.sqlite'}", str(tmp_path), token)
    environment = {"OMNIMAT_STORAGE": str(tmp_path)}
    command = ["leaderboard", "serve", "--token", token]
    refused = CliRunner(env=environment).invoke(main, command)
    assert (refused.exit_code, "the token is empty" in refused.output) == (2, True)


def test_a_token_of_any_letters_is_compared(serve):
    with serve(token="schlüssel") as client:
        answer = client.post(
            "/api/rows", content="[]", headers={"Authorization": "Bearer schlüssel".encode()}
        )
    assert answer.status_code == 200


def test_the_token_writes_rows_once(empty_client, storage):
    rows = storage.rows[:3]
    for _ in range(2):
        answer = empty_client.post("/api/rows", content=body_of(rows), headers=AUTHORIZED)
        assert (answer.status_code, answer.json()) == (200, {"written": 3})
    [board] = empty_client.get("/api/boards").json()
    assert (board["num_rows"], board["num_recomputed"]) == (3, 0)
    assert rows[0].model in empty_client.get("/").text


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("[", "send a list of rows"),
        ('[{"task": "x"}]', "0.metric"),
        ("{}", "send a list of rows"),
    ],
)
def test_what_is_no_list_of_rows_is_refused(empty_client, body, sentence):
    answer = empty_client.post("/api/rows", content=body, headers=AUTHORIZED)
    assert answer.status_code == 422
    assert sentence in answer.json()["error"]


def test_nobody_declares_a_row_checked(empty_client, storage):
    row = storage.rows[0].model_copy(update={"status": "reproduced"})
    answer = empty_client.post("/api/rows", content=body_of([row]), headers=AUTHORIZED)
    assert answer.status_code == 422
    assert empty_client.get("/api/boards").json() == []


def test_a_checked_row_is_not_replaced(storage, empty_client, tmp_path):
    store, row = LeaderboardStore(f"sqlite:///{tmp_path / 'leaderboard.sqlite'}"), storage.rows[0]
    store.upsert([row])
    store.mark([row], "recomputed", "test")
    other = row.model_copy(update={"value": 0.0})
    answer = empty_client.post("/api/rows", content=body_of([other]), headers=AUTHORIZED)
    assert answer.status_code == 422
    assert "is recomputed and not replaced" in answer.json()["error"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("ALTER TABLE leaderboard_rows RENAME TO gone", "is damaged: no such table"),
        ("UPDATE leaderboard_rows SET created_at = 'x'", "was changed by hand"),
    ],
)
def test_a_database_that_cannot_be_used_is_no_fault_of_the_rows(
    empty_client, storage, tmp_path, change, sentence
):
    row = storage.rows[0]
    with closing(sqlite3.connect(tmp_path / "leaderboard.sqlite")) as database:
        store = LeaderboardStore(f"sqlite:///{tmp_path / 'leaderboard.sqlite'}")
        store.upsert([row])
        store.mark([row], "recomputed", "test")
        database.execute(change)
        database.commit()
    answer = empty_client.post("/api/rows", content=body_of([row]), headers=AUTHORIZED)
    assert answer.status_code == 503
    assert sentence in answer.json()["error"]


def test_a_body_too_large_is_not_read_to_its_end(empty_client):
    def chunks():
        for _ in range(MAX_BODY_BYTES // 2**20 + 1):
            yield b" " * 2**20

    answer = empty_client.post("/api/rows", content=chunks(), headers=AUTHORIZED)
    assert answer.status_code == 413


def test_it_says_that_it_is_well(client):
    assert client.get("/healthz").text == "ok"
