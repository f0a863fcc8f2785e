"""Examples of a retrieval, from stored embeddings."""

import numpy as np
import pytest
import torch

from omnimat.base.workspace import Workspace
from omnimat.evaluation.ranks import rank_pairs
from omnimat_dashboard.artifacts import Artifacts
from omnimat_dashboard.retrieved import NUM_HITS, Retrievals, chosen, ranked


def unit_vectors(number: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((number, 6)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("are_keys_equal", [False, True])
def test_ranks_are_those_of_the_evaluation(are_keys_equal):
    """Where three keys each are equal, ties are broken as evenly."""
    queries, groups = unit_vectors(300, 0), np.arange(300) // 2
    keys = unit_vectors(100, 1)[np.arange(300) // 3] if are_keys_equal else unit_vectors(300, 1)
    slow = rank_pairs(torch.from_numpy(queries), torch.from_numpy(keys), groups)
    rows = np.random.default_rng(2).permutation(300)[:290]
    own = ranked(queries, keys, np.arange(300), rows)
    merged = ranked(queries, keys, groups, rows)
    assert own.expected.tolist() == slow.own.expected[rows].tolist()
    assert merged.expected.tolist() == slow.any_duplicate.expected[rows].tolist()


def test_the_best_the_median_the_worst_and_others_are_chosen_once():
    rows, ranks = np.array([7, 3, 9, 1, 5, 8]), np.array([4.0, 1.0, 30.0, 2.0, 9.0, 3.0])
    assert list(chosen(rows, ranks)) == [
        ("best", 3, 1.0),
        ("median", 8, 3.0),
        ("worst", 9, 30.0),
        ("at random", 7, 4.0),
        ("at random", 1, 2.0),
        ("at random", 5, 9.0),
    ]
    assert list(chosen(np.array([4]), np.array([1.0]))) == [("best", 4, 1.0)]


def test_hits_of_a_row_are_found_in_its_embeddings(storage):
    row = next(row for row in storage.rows if row.task == "retrieval text -> structure")
    retrievals = Retrievals(Artifacts(Workspace.open(str(storage.root), storage.url)))
    found = retrievals.of(row).value
    assert (found.query, found.key, found.num_materials) == ("text", "structure", 40)
    assert not found.is_merged
    for one in found.examples:
        cosines = [hit.similarity for hit in one.hits]
        assert cosines == sorted(cosines, reverse=True)
        assert len(one.hits) == NUM_HITS
        places = [place for place, hit in enumerate(one.hits, 1) if hit.is_own]
        assert places == ([one.rank] if one.rank <= NUM_HITS else [])
    merged = retrievals.of(row.model_copy(update={"metric": "top-10, merged"})).value
    assert merged.is_merged
    assert merged.examples[-1].rank <= max(one.rank for one in found.examples)


def test_a_modality_that_was_not_embedded_is_named(storage):
    row = next(row for row in storage.rows if row.task == "retrieval text -> structure")
    retrievals = Retrievals(Artifacts(Workspace.open(str(storage.root), storage.url)))
    found = retrievals.of(row.model_copy(update={"task": "retrieval dos -> structure"}))
    assert found.value is None
    assert "no embeddings of dos" in found.reason
