"""Ranks against a naive sort, ties, blocks, masks and what guessing would score."""

import numpy as np
import pytest
import torch

from omnimat.evaluation.retrieval import (
    TOP_K,
    Ranks,
    RetrievalScores,
    retrieval_ranks,
    score_all_pairs,
)

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
    ranks = retrieval_ranks(*noisy_pair)
    assert (ranks.expected == naive_ranks(*noisy_pair)).all()
    assert not ranks.as_near.any()


@pytest.mark.parametrize("block_rows", [1, 7, 64, NUM, 1000])
def test_block_size_changes_nothing(noisy_pair, block_rows):
    blocked = retrieval_ranks(*noisy_pair, block_rows)
    assert (blocked.expected == retrieval_ranks(*noisy_pair).expected).all()


def test_length_of_embeddings_changes_nothing(noisy_pair):
    queries, keys = noisy_pair
    lengths = torch.logspace(-3, 3, NUM).unsqueeze(1)
    scaled = retrieval_ranks(queries, keys * lengths)
    assert (scaled.expected == retrieval_ranks(queries, keys).expected).all()


def test_ties_are_broken_at_random():
    queries = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    ranks = retrieval_ranks(queries, queries)
    assert ranks.expected.tolist() == [2.0, 2.0, 2.0, 1.0]
    # Each of three alike is first once in three times, and among the first two twice.
    assert [ranks.hit_rate(k) for k in (1, 2, 3)] == pytest.approx([1 / 2, 3 / 4, 1])


def test_a_collapsed_encoder_scores_as_chance():
    collapsed = torch.ones(50, 4)
    scores = RetrievalScores.from_ranks(retrieval_ranks(collapsed, collapsed))
    assert scores.mean_rank == scores.chance_rank == 25.5
    assert scores.hit_rates == pytest.approx(scores.chance_hit_rates)


def test_rounding_tells_no_two_keys_apart(noisy_pair):
    queries, keys = noisy_pair
    noise = 1e-7 * torch.randn(NUM, DIM, generator=torch.Generator().manual_seed(4))
    twice = torch.cat([keys, keys * (1 + noise)])
    ranks = retrieval_ranks(torch.cat([queries, queries]), twice)
    assert (ranks.as_near == 1).all()
    assert (ranks.expected == 2 * np.tile(naive_ranks(queries, keys), 2) - 0.5).all()


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
    scores = RetrievalScores.from_ranks(Ranks(np.array([0, 0, 4, 5]), np.array([0, 0, 0, 3])))
    assert scores.hit_rates == {1: 0.5, 5: 0.75, 10: 1.0, 25: 1.0}
    assert (scores.mean_rank, scores.median_rank) == (3.625, 3.0)
    assert scores.chance_hit_rates == {1: 0.25, 5: 1.0, 10: 1.0, 25: 1.0}
    with pytest.raises(ValueError, match="no ranks"):
        RetrievalScores.from_ranks(Ranks(np.empty(0, int), np.empty(0, int)))


def test_hit_rates_are_what_breaking_ties_at_random_gives():
    generator = np.random.default_rng(2)
    nearer, as_near = generator.integers(0, 20, 40), generator.integers(0, 15, 40)
    ranks = Ranks(nearer, as_near)
    drawn = 1 + nearer + generator.integers(0, as_near + 1, (20_000, 40))
    for k in TOP_K:
        # Four standard errors of a mean of 20,000 x 40 draws are at most 0.0023.
        assert ranks.hit_rate(k) == pytest.approx((drawn <= k).mean(), abs=0.0023)


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
