"""Ranks against slow twins that sort, and that try every way to break a tie."""

from itertools import combinations, permutations

import numpy as np
import pytest
import torch

from omnimat.evaluation.ranks import Ranks, rank_pairs

NUM, DIM = 211, 16


@pytest.fixture
def noisy_pair():
    generator = torch.Generator().manual_seed(3)
    queries = torch.randn(NUM, DIM, generator=generator)
    return queries, queries + 1.5 * torch.randn(NUM, DIM, generator=generator)


@pytest.fixture
def many_ties():
    """Nine materials on a coarse grid of directions, so that several keys are equally near."""
    generator = torch.Generator().manual_seed(8)
    grid = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
    queries, keys = (grid[torch.randint(4, (9,), generator=generator)] for _ in range(2))
    return queries, keys, np.array([0, 1, 0, 2, 3, 3, 0, 4, 2])


def retrieval_ranks(queries, keys):
    return rank_pairs(queries, keys, np.arange(len(keys))).own


def cosines(queries, keys):
    q, k = (x.double().numpy() for x in (queries, keys))
    q, k = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (q, k))
    return q @ k.T


def naive_ranks(queries, keys):
    order = np.argsort(-cosines(queries, keys), axis=1)
    return np.array([list(order[i]).index(i) + 1 for i in range(len(order))])


def first_places(similarities, right):
    """Where the first right key lands, for every order of keys that their similarity allows."""
    places = []
    for order in permutations(range(len(similarities))):
        if (np.diff(similarities[list(order)]) <= 1e-9).all():
            places.append(1 + next(i for i, key in enumerate(order) if key in right))
    return np.array(places)


def won_choices(similarities, own, others, num_choices):
    """How often ``own`` is the nearest, for every draw of others; ties share the win."""
    wins = []
    for drawn in combinations(others, num_choices - 1):
        best = max(similarities[[own, *drawn]])
        tied = [key for key in (own, *drawn) if similarities[key] > best - 1e-9]
        wins.append((own in tied) / len(tied))
    return np.mean(wins)


def test_equals_naive_sort(noisy_pair):
    ranks = retrieval_ranks(*noisy_pair)
    assert (ranks.expected == naive_ranks(*noisy_pair)).all()
    assert not ranks.as_near.any()


@pytest.mark.parametrize("tile", [(1, 1000), (7, 3), (64, 64), (1000, 1)])
def test_tiles_change_nothing(noisy_pair, tile):
    groups = np.arange(NUM) // 3
    tiled, whole = (rank_pairs(*noisy_pair, groups, t) for t in (tile, (NUM, NUM)))
    for name in PAIR_RANKS:
        assert (getattr(tiled, name).expected == getattr(whole, name).expected).all()


PAIR_RANKS = ("own", "any_duplicate", "own_among_others")


def test_length_of_embeddings_changes_nothing(noisy_pair):
    queries, keys = noisy_pair
    lengths = torch.logspace(-3, 3, NUM).unsqueeze(1)
    scaled = retrieval_ranks(queries, keys * lengths)
    assert (scaled.expected == retrieval_ranks(queries, keys).expected).all()


def test_every_way_to_break_ties_is_averaged(many_ties):
    queries, keys, groups = many_ties
    queries, keys, groups = queries[:7], keys[:7], groups[:7]  # 7! orders
    ranks = rank_pairs(queries, keys, groups)
    similarities = cosines(queries, keys)
    assert ranks.own.as_near.any()
    assert (ranks.any_duplicate.right > 1).any()
    for name, right in (
        ("own", [{i} for i in range(7)]),
        ("any_duplicate", [set(np.flatnonzero(groups == group)) for group in groups]),
    ):
        found = getattr(ranks, name)
        places = [first_places(similarities[i], right[i]) for i in range(7)]
        assert found.expected == pytest.approx([p.mean() for p in places])
        for k in range(1, 8):
            expected = np.mean([(p <= k).mean() for p in places])
            assert found.hit_rate(k) == pytest.approx(expected), (name, k)


@pytest.mark.parametrize("num_choices", [2, 3, 5])
def test_choices_are_averaged_over_every_draw(many_ties, num_choices):
    queries, keys, groups = many_ties
    ranks, similarities = rank_pairs(queries, keys, groups), cosines(queries, keys)
    others = [[j for j in range(9) if j != i] for i in range(9)]
    strangers = [[j for j in other if groups[j] != groups[i]] for i, other in enumerate(others)]
    for found, drawn_from in ((ranks.own, others), (ranks.own_among_others, strangers)):
        expected = [
            won_choices(similarities[i], i, drawn_from[i], num_choices) for i in range(len(groups))
        ]
        assert found.choice_rate(num_choices) == pytest.approx(np.mean(expected))


def test_duplicates_of_many_materials_equal_a_naive_count(noisy_pair):
    groups = np.random.default_rng(1).integers(0, 60, NUM)
    ranks, similarities = rank_pairs(*noisy_pair, groups), cosines(*noisy_pair)
    alike = groups[:, None] == groups
    own = similarities.diagonal()[:, None]
    best = np.where(alike, similarities, -2).max(1, keepdims=True)
    assert (ranks.any_duplicate.nearer == (~alike & (similarities > best)).sum(1)).all()
    assert (ranks.own_among_others.nearer == (~alike & (similarities > own)).sum(1)).all()
    assert (ranks.any_duplicate.num_right == alike.sum(1)).all()


def test_a_collapsed_encoder_scores_as_chance():
    collapsed, groups = torch.ones(50, 4), np.arange(50) // 2
    ranks = rank_pairs(collapsed, collapsed, groups)
    assert ranks.own.hit_rate(5) == pytest.approx(5 / 50)
    for found in (ranks.own, ranks.own_among_others):
        assert found.choice_rate(4) == pytest.approx(1 / 4)
    # Of 50 keys 2 are right: one of them is among the first 5 unless both of the pair are not.
    expected = 1 - (45 * 44) / (50 * 49)
    assert ranks.any_duplicate.hit_rate(5) == pytest.approx(expected)
    assert ranks.any_duplicate.by_chance.hit_rate(5) == pytest.approx(expected)
    assert (ranks.own.by_chance.expected == 25.5).all()


def test_rounding_tells_no_two_keys_apart(noisy_pair):
    queries, keys = noisy_pair
    noise = 1e-7 * torch.randn(NUM, DIM, generator=torch.Generator().manual_seed(4))
    twice = torch.cat([keys, keys * (1 + noise)])
    queries, groups = torch.cat([queries, queries]), np.tile(np.arange(NUM), 2)
    ranks, once = rank_pairs(queries, twice, groups), np.tile(naive_ranks(*noisy_pair), 2)
    assert (ranks.own.as_near == 1).all()
    assert (ranks.own.expected == 2 * once - 0.5).all()
    # With both of a pair right, only the wrong ones are there twice.
    assert (ranks.any_duplicate.expected == 2 * once - 1).all()
    assert (ranks.any_duplicate.right == 2).all()


def test_ranks_of_pools_are_joined():
    first = rank_pairs(torch.eye(3), torch.eye(3), np.arange(3))
    joined = Ranks.concatenated([first.own, first.own])
    assert joined.num_wrong.tolist() == [2] * 6
    assert joined.hit_rate(1) == 1


def test_scores_of_unrelated_embeddings_are_those_of_chance():
    generator = torch.Generator().manual_seed(5)
    ranks = retrieval_ranks(*torch.randn(2, 4000, 32, generator=generator))
    by_chance = ranks.by_chance
    # Four standard errors of a mean of 4000 uniform ranks, and of a binomial count of 25 hits.
    assert abs(ranks.expected.mean() - by_chance.expected.mean()) < 4 * 4000 / np.sqrt(12 * 4000)
    assert abs(ranks.hit_rate(25) - by_chance.hit_rate(25)) * 4000 < 4 * np.sqrt(25)


def test_refuses_what_cannot_be_ranked():
    with pytest.raises(ValueError, match="differ"):
        retrieval_ranks(torch.ones(3, 2), torch.ones(2, 2))
    with pytest.raises(ValueError, match="differ"):
        rank_pairs(torch.ones(3, 2), torch.ones(3, 2), np.arange(2))
    with pytest.raises(ValueError, match="finite"):
        retrieval_ranks(torch.full((3, 2), torch.nan), torch.ones(3, 2))
    with pytest.raises(ValueError, match="2 wrong keys"):
        retrieval_ranks(torch.eye(2), torch.eye(2)).choice_rate(3)
