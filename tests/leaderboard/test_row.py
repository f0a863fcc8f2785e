from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("task", "band_gap"),
        ("metric", "rmse"),
        ("model", "cgcnn"),
        ("variant", "frozen"),
        ("seed", 1),
        ("dataset_fingerprint", "0"),
        ("split_sha256", "0"),
        ("config_hash", "0"),
    ],
)
def test_identity(make_row, field, other):
    assert make_row().row_id != make_row(**{field: other}).row_id


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("task", "band_gap"),
        ("metric", "rmse"),
        ("unit", "meV"),
        ("higher_is_better", True),
        ("dataset", "other"),
        ("dataset_fingerprint", "0"),
        ("split_sha256", "0"),
        ("model", "cgcnn"),
        ("variant", "frozen"),
        ("config_hash", "0"),
    ],
)
def test_only_seeds_of_one_thing_are_of_one_group(make_row, field, other):
    assert make_row().group_id == make_row(seed=1, value=7.0, num_test=3).group_id
    assert make_row().group_id != make_row(**{field: other}).group_id


@pytest.mark.parametrize("field", ["config", "hyperparameters", "details", "hardware"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}])
def test_what_json_cannot_hold_is_refused(make_row, field, value):
    with pytest.raises(ValidationError, match=field):
        make_row(**{field: {"deep": [value]}}, config_hash="0")


def test_nested_values_are_as_json_gives_them_back(make_row):
    assert make_row(details={"pair": (1, 2.5)}).details == {"pair": [1, 2.5]}


@pytest.mark.parametrize("field", ["value", "section", "code_commit", "status", "wall_time_s"])
def test_what_a_rerun_may_change_is_not_identity(make_row, field):
    changes = {"value": 0.2, "code_commit": "d", "status": "recomputed", "wall_time_s": 1.0}
    other = make_row(**{field: changes.get(field, "other")})
    assert (make_row().row_id, make_row().group_id) == (other.row_id, other.group_id)


def test_instants_are_kept_in_utc(make_row):
    tokyo = datetime(2026, 1, 1, 9, tzinfo=timezone(timedelta(hours=9)))
    assert make_row(created_at=tokyo).created_at.isoformat() == "2026-01-01T00:00:00+00:00"
    assert make_row(created_at=tokyo).created_at.tzinfo is UTC


@pytest.mark.parametrize(
    "changes",
    [
        {"value": float("nan")},
        {"value": float("-inf")},
        {"wall_time_s": float("inf")},
        {"value": 1e301},
        {"num_test": 0},
        {"num_test": 2**63},
        {"seed": 2**63},
        {"seed": -(2**63)},
        {"samples_seen": 2**63},
        {"status": "great"},
        {"model": ""},
    ],
)
def test_refuses_what_is_no_result(make_row, changes):
    with pytest.raises(ValidationError):
        make_row(**changes)
