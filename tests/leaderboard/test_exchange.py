"""Rows can be exported and imported; the refusal of another file says what is wrong with it."""

import csv
import io
import json

import pytest

from omnimat.base.errors import UserError
from omnimat.leaderboard.exchange import from_json, to_csv, to_json
from omnimat.leaderboard.row import Row
from omnimat.leaderboard.store import LeaderboardStore


@pytest.fixture
def rows(make_row):
    return [
        make_row(value=0.1 + 0.2),
        make_row(seed=1, value=1e-300, details={"classes": {"cubic": 1 / 3}}),
        make_row(
            model='µ, "quoted", and more',
            config={"lr": 1e-4, "prompt": "two\nlines"},
            dataset_uri="s3://b/d",
        ),
    ]


def test_json_gives_the_same_rows(rows):
    assert from_json(to_json(rows), "board.json") == rows
    assert from_json(to_json([]), "board.json") == []


def test_a_configuration_is_written_once(rows):
    assert len(json.loads(to_json(rows))["configs"]) == 2


def test_importing_is_idempotent_and_verifies_nothing(rows, tmp_path):
    first = LeaderboardStore(f"sqlite:///{tmp_path / 'first.sqlite'}")
    first.upsert(rows)
    first.mark(rows, "recomputed", "omnimat")
    text = to_json(first.rows())
    second = LeaderboardStore(f"sqlite:///{tmp_path / 'second.sqlite'}")
    for _ in range(2):
        second.upsert(from_json(text, "board.json"))
    assert second.rows() == sorted(rows, key=lambda row: (row.model, row.seed))
    first.upsert(from_json(text, "board.json"))
    assert {row.status for row in first.rows()} == {"recomputed"}


def change(text, **changes):
    document = json.loads(text)
    document["rows"][0] |= changes
    return json.dumps(document)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": "0"}, r"rows\.0\.seed: .*integer"),
        ({"value": float("nan")}, r"rows\.0\.value: .*finite"),
        ({"details": {"deep": [float("inf")]}}, r"rows\.0\.details: "),
        ({"unheard": 1}, r"rows\.0\.unheard: "),
        ({"model": None}, r"rows\.0\.model: "),
        ({"config_hash": "0123"}, r"rows\.0: .*'0123'"),
        ({"config": {}}, r"rows\.0: "),
        ({"created_at": "yesterday"}, r"rows\.0\.created_at"),
    ],
)
def test_what_is_no_row_is_named(rows, changes, message):
    with pytest.raises(UserError, match=message):
        from_json(change(to_json(rows), **changes), "board.json")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}x", '{"format": "other"}', '{"version": 4}', '{"extra": 1}']
)
def test_what_is_no_export_is_refused(text):
    with pytest.raises(UserError, match=r"board\.json.*leaderboard"):
        from_json(text, "board.json")


def test_an_edited_configuration_does_not_get_in(rows, tmp_path):
    document = json.loads(to_json(rows))
    document["configs"][rows[0].config_hash]["training"]["lr"] = 1.0
    edited = from_json(json.dumps(document), "board.json")
    with pytest.raises(UserError, match=rf"{rows[0].row_id}.*config_hash {rows[0].config_hash}"):
        LeaderboardStore(f"sqlite:///{tmp_path / 'b.sqlite'}").upsert(edited)


def test_a_row_there_twice_is_refused(rows):
    with pytest.raises(UserError, match=r"board\.json: .*twice"):
        from_json(to_json([*rows, rows[0]]), "board.json")


def test_csv_has_a_line_a_row_and_a_column_a_field(rows):
    lines = list(csv.DictReader(io.StringIO(to_csv(rows))))
    assert list(lines[0]) == ["row_id", "group_id", *Row.model_fields]
    assert [float(line["value"]) for line in lines] == [row.value for row in rows]
    assert [line["model"] for line in lines] == [row.model for row in rows]
    assert json.loads(lines[1]["details"]) == rows[1].details
    assert lines[0]["row_id"] == rows[0].row_id


def test_rows_of_the_second_layout_lose_their_marks(make_row):
    rows = [make_row(), make_row(seed=1)]
    document = json.loads(to_json(rows)) | {"version": 2}
    for row in document["rows"]:
        del row["checked_at"], row["checked_with"]
        row |= {"status": "verified", "verified_with": "me", "verified_at": row["created_at"]}
    assert from_json(json.dumps(document), "board.json") == rows


def test_rows_of_the_first_layout_are_told_their_section(make_row):
    rows = [
        make_row(task="retrieval a -> b", predictions_uri="/r/embeddings.npz", section="retrieval"),
        make_row(config={"tasks": [1]}, section="finetune"),
    ]
    document = json.loads(to_json(rows)) | {"version": 1}
    for row in document["rows"]:
        del row["section"]
    assert from_json(json.dumps(document), "board.json") == rows


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_no_cell_of_csv_is_a_formula(make_row, text):
    [line] = csv.DictReader(io.StringIO(to_csv([make_row(model=text, value=-2.0)])))
    assert line["model"] == f"'{text}"
    assert line["value"] == "-2.0"
