"""What was written since somebody has read: no more, and nothing less."""

import pytest

from omnimat.leaderboard import changes
from omnimat.leaderboard.changes import Version
from omnimat.leaderboard.store import LeaderboardStore


@pytest.fixture
def rows(make_row):
    return [make_row(model=model) for model in "ab"]


def test_only_results_that_a_write_has_touched_are_given(url, rows, make_row):
    store = LeaderboardStore(url)
    store.upsert(rows)
    found = store.changes(None)
    assert (found.is_all, len(found.results), len(found.counts)) == (True, 2, 1)
    assert str(found.version) == store.version()
    a, b = rows
    writes = (
        (lambda: store.upsert([make_row(model="b", seed=1)]), b, 2, "self-reported"),
        (lambda: store.mark([a], "recomputed", "omnimat"), a, 1, "recomputed"),
        (lambda: store.remove(b.row_id), b, 1, "self-reported"),
    )
    for write, touched, num_rows, status in writes:
        write()
        found = store.changes(found.version)
        (one,) = found.results
        assert (one.group_id, one.n, one.status) == (touched.group_id, num_rows, status)
        assert (found.is_all, found.removed) == (False, frozenset())
        assert found.counts == store.boards()
    again = store.changes(found.version)
    assert (again.results, again.removed, again.counts) == ([], frozenset(), [])


def test_what_is_gone_is_told(url, rows):
    store = LeaderboardStore(url)
    store.upsert(rows)
    before = store.changes(None).version
    for row in rows:
        store.remove(row.group_id)
    found = store.changes(before)
    assert found.removed == {row.group_id for row in rows}
    assert (found.results, found.counts) == ([], [])


@pytest.mark.parametrize("since", [Version("another", 0), None])
def test_another_database_in_its_place_is_read_as_a_whole(url, rows, since):
    store = LeaderboardStore(url)
    store.upsert(rows)
    assert store.changes(since).is_all


def test_many_changes_are_read_as_a_whole(url, rows, monkeypatch):
    store = LeaderboardStore(url)
    before = store.changes(None).version
    store.upsert(rows)
    monkeypatch.setattr(changes, "MAX_CHANGED", 1)
    assert store.changes(before).is_all
