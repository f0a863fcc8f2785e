"""Ranks against a naive sort, ties, blocks, masks and what guessing would score."""

import numpy as np
import pytest
import torch

from omnimat.evaluation.retrieval import RetrievalScores, retrieval_ranks, score_all_pairs

NUM, DIM = 211, 16


@pytest.fixture
def noisy_pair():
    generator = torch.Generator().manual_seed(3)
    queries = torch.randn(NUM, DIM, generator=generator)
    return queries, queries + 1.5 * torch.randn(NUM, DIM, generator=generator)


def naive_ranks(queries, keys):
    q, k = (x.double().numpy() for x in (queries, keys))
    q, k = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (q, k))
    order = np.argsort(-(q @ k.T), axis=1)
    return np.array([list(order[i]).index(i) + 1 for i in range(len(q))])


def test_equals_naive_sort(noisy_pair):
    assert (retrieval_ranks(*noisy_pair).numpy() == naive_ranks(*noisy_pair)).all()


@pytest.mark.parametrize("block_rows", [1, 7, 64, NUM, 1000])
def test_block_size_changes_nothing(noisy_pair, block_rows):
    assert torch.equal(retrieval_ranks(*noisy_pair, block_rows), retrieval_ranks(*noisy_pair))


def test_length_of_embeddings_changes_nothing(noisy_pair):
    queries, keys = noisy_pair
    lengths = torch.logspace(-3, 3, NUM).unsqueeze(1)
    assert torch.equal(retrieval_ranks(queries, keys * lengths), retrieval_ranks(queries, keys))


def test_ties_get_the_middle_rank():
    queries = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert retrieval_ranks(queries, queries).tolist() == [2.0, 2.0, 2.0, 1.0]
    collapsed = torch.ones(50, 4)
    scores = RetrievalScores.from_ranks(retrieval_ranks(collapsed, collapsed))
    assert scores.mean_rank == scores.chance_rank == 25.5
    assert scores.hit_rates[1] == 0.0


def test_scores_and_chance_of_unrelated_embeddings():
    generator = torch.Generator().manual_seed(5)
    queries, keys = torch.randn(2, 4000, 32, generator=generator)
    scores = RetrievalScores.from_ranks(retrieval_ranks(queries, keys))
    assert scores.num_candidates == 4000
    assert scores.chance_hit_rates[25] == 25 / 4000
    # Four standard errors of a mean of 4000 uniform ranks, and of a binomial count of 25 hits.
    assert abs(scores.mean_rank - scores.chance_rank) < 4 * 4000 / np.sqrt(12 * 4000)
    assert abs(scores.hit_rates[25] * 4000 - 25) < 4 * np.sqrt(25)


def test_scores_count_hits():
    scores = RetrievalScores.from_ranks(torch.tensor([1.0, 1.0, 3.0, 7.5]))
    assert scores.hit_rates == {1: 0.5, 5: 0.75, 10: 1.0, 25: 1.0}
    assert (scores.mean_rank, scores.median_rank) == (3.125, 2.0)
    assert scores.chance_hit_rates == {1: 0.25, 5: 1.0, 10: 1.0, 25: 1.0}
    with pytest.raises(ValueError, match="no ranks"):
        RetrievalScores.from_ranks(torch.empty(0))


def test_all_pairs_score_only_rows_with_both(noisy_pair):
    queries, keys = noisy_pair
    has_dos = torch.arange(NUM) % 3 == 0
    embeddings = {"structure": queries, "dos": keys, "text": queries}
    present = {
        "structure": torch.ones(NUM, dtype=torch.bool),
        "dos": has_dos,
        "text": torch.zeros(NUM, dtype=torch.bool),
    }
    scores = score_all_pairs(embeddings, present)
    assert set(scores) == {("structure", "dos"), ("dos", "structure")}
    expected = naive_ranks(queries[has_dos], keys[has_dos])
    assert scores["structure", "dos"].num_candidates == has_dos.sum()
    assert scores["structure", "dos"].mean_rank == expected.mean()


def test_refuses_what_cannot_be_ranked():
    with pytest.raises(ValueError, match="differ"):
        retrieval_ranks(torch.ones(3, 2), torch.ones(2, 2))
    with pytest.raises(ValueError, match="finite"):
        retrieval_ranks(torch.full((3, 2), torch.nan), torch.ones(3, 2))
