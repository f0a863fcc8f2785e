"""What is kept up to date equals what is read as a whole, whatever was written."""

import random
from itertools import groupby

import pytest

from omnimat.leaderboard.columns import board_of
from omnimat.leaderboard.store import LeaderboardStore
from omnimat_dashboard.catalogue import Catalogue
from omnimat_dashboard.links import model_slug
from omnimat_dashboard.results import Results


@pytest.fixture
def written(storage, tmp_path):
    store = LeaderboardStore(f"sqlite:///{tmp_path / 'board.sqlite'}")
    store.upsert(row.model_copy(update={"status": "self_reported"}) for row in storage.rows[::2])
    return store


def in_any_order(models) -> dict:
    return {name: {one.group_id for one in some} for name, some in models.items()}


def test_a_catalogue_equals_a_fresh_one_after_every_write(written, storage):
    kept, chance = Catalogue(written), random.Random(0)
    for place in range(20):
        row = chance.choice(storage.rows).model_copy(
            update={"status": "self_reported", "seed": place % 3, "value": chance.random()}
        )
        present = written.rows()
        if place % 3 == 0:
            written.remove(chance.choice(present).row_id)
        elif place % 3 == 1:
            written.mark([chance.choice(present)], "recomputed", "omnimat")
        elif row.row_id not in {one.row_id for one in present}:
            written.upsert([row])
        results, fresh = kept.results(), Results().after(written.changes(None))
        assert (results.version, results.by_id) == (fresh.version, fresh.by_id)
        assert list(results.boards.items()) == list(fresh.boards.items())
        assert in_any_order(results.models) == in_any_order(fresh.models)
        summaries = groupby(written.summaries(), key=lambda one: one.board)
        assert results.boards == {board: list(some) for board, some in summaries}
        assert list(results.counts.values()) == written.boards()
        assert kept.model_names() == {model_slug(name): name for name in fresh.models}


def test_places_are_those_of_the_board(written, storage):
    results = Catalogue(written).results()
    model = storage.rows[0].model
    for placed in results.placed(model):
        ranked = written.summaries(placed.summary.board)
        assert ranked[placed.place - 1] == placed.summary
        assert placed.num_results == len(ranked)
    assert {one.summary.board for one in results.placed(model)} == {
        board_of(row) for row in storage.rows[::2] if row.model == model
    }
