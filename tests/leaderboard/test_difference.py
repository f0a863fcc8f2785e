"""The tests and intervals of a difference against theory, SciPy, and what must not move them."""

import numpy as np
import pytest
from scipy import stats

from omnimat.leaderboard.difference import (
    MIN_MATERIALS,
    NUM_FLIPS,
    Spread,
    bca_interval,
    difference,
    sign_flip_p_value,
)


def test_interval_is_that_of_the_normal_theory():
    """Of 2,000 materials the mean difference is as good as normal (central limit theorem)."""
    generator = np.random.default_rng(0)
    a, b = generator.exponential(1.0, 2000), generator.exponential(1.1, 2000)
    found = difference([a], [b])
    error = (a - b).std(ddof=1) / np.sqrt(2000)
    expected = stats.norm.interval(0.95, loc=(a - b).mean(), scale=error)
    assert found.difference == pytest.approx((a - b).mean(), abs=1e-12)
    # A quantile of 1,999 draws at 2.5 % has an error of 0.06 deviations; four of these.
    assert (found.low, found.high) == pytest.approx(expected, abs=0.24 * error)


def test_p_value_is_that_of_the_t_test():
    generator = np.random.default_rng(1)
    a = generator.normal(0.0, 1.0, 1000)
    b = a + generator.normal(0.06, 1.0, 1000)
    expected = stats.ttest_rel(a, b).pvalue
    assert 0.001 < expected < 0.2  # neither end is a test
    assert Spread.of(a[None], b[None]).p_value((a - b).mean()) == pytest.approx(expected, rel=1e-6)
    # 9,999 draws tell a probability within sqrt(p / 9999); four of these.
    assert sign_flip_p_value(a - b) == pytest.approx(expected, abs=4 * np.sqrt(expected / 9999))


@pytest.mark.parametrize("differences", [np.arange(12) - 4.0, np.tile([1.0, -1.0, 1.0], 4)])
def test_few_differences_flip_in_every_way_as_in_scipy(differences):
    exact = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip_p_value(differences) == pytest.approx(exact.pvalue, abs=1e-12)


def test_classes_are_compared_as_by_mcnemar():
    """Materials that both know or both do not know say nothing: 9 of 11 others is binomial."""
    differences = np.repeat([1.0, -1.0, 0.0], [9, 2, 989])
    expected = stats.binomtest(9, 11).pvalue
    assert sign_flip_p_value(differences) == pytest.approx(expected, abs=1e-12)


def test_many_differences_flip_in_blocks_to_the_same_effect():
    d = np.random.default_rng(2).normal(0.01, 1.0, 20_000)
    expected = stats.ttest_1samp(d, 0).pvalue
    assert 0.005 < expected < 0.2
    # Besides the draws, the sum of squares of 2,500 blocks varies by 3 %, and z of 2 by 1.5 %.
    assert sign_flip_p_value(d) == pytest.approx(expected, rel=0.25)


def test_the_bootstrap_is_scipys():
    d = np.random.default_rng(3).exponential(size=60)
    expected = stats.bootstrap((d,), np.mean, n_resamples=1_999, method="BCa", rng=0)
    assert bca_interval(d) == pytest.approx(tuple(expected.confidence_interval), abs=1e-12)


def test_seeds_that_vary_widen_the_interval_as_the_t_test_of_their_means_says():
    """Where materials vary little, only the means of the seeds count (equal deviations: 4 df)."""
    shifts = np.array([[-1.0, 0.0, 1.0], [-0.7, 0.3, 1.3]])
    luck = 1e-3 * np.random.default_rng(4).normal(size=(2, 3, 50))
    a, b = shifts[:, :, None] + luck
    found = difference(a, b)
    reach = stats.t.isf(0.025, 4) * np.sqrt(2 / 3)
    assert (found.low, found.high) == pytest.approx((-0.3 - reach, -0.3 + reach), abs=2e-3)
    assert sign_flip_p_value(a.mean(axis=0) - b.mean(axis=0)) < 0.001
    assert found.p_value > 0.5
    assert found.covers_seeds
    assert not found.is_shown


def test_one_seed_says_nothing_of_seeds():
    a, b = np.random.default_rng(5).normal(size=(2, 3, 50))
    assert not difference(a[:1], b).covers_seeds
    assert not difference(a, b[:1]).covers_seeds


def test_what_is_hard_for_both_cancels_out():
    generator = np.random.default_rng(6)
    hard = generator.exponential(10.0, 300)
    easy = difference([np.full(300, 1.0)], [np.full(300, 1.1)])
    both = difference([hard + 1.0], [hard + 1.1])
    assert (both.low, both.high) == pytest.approx((easy.low, easy.high), abs=1e-9)
    assert both.is_shown


def test_order_of_results_turns_the_sign_only():
    a, b = np.random.default_rng(7).normal(size=(2, 3, 50))
    one, other = difference(a, b), difference(b, a)
    assert difference(a, b) == one
    assert other.difference == pytest.approx(-one.difference, abs=1e-15)
    # Interpolated quantiles are symmetric but for rounding.
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low), abs=1e-12)
    assert other.p_value == pytest.approx(one.p_value, abs=1e-12)


@pytest.mark.parametrize("num_materials", [1, 2, MIN_MATERIALS - 1, MIN_MATERIALS])
def test_too_few_materials_give_no_verdict(num_materials):
    a = np.arange(num_materials, dtype=float)
    assert difference([a], [a + 10 + 0.1 * a**2]).is_shown == (num_materials == MIN_MATERIALS)


def test_one_material_has_no_interval():
    found = difference([[1.0], [1.1]], [[2.0], [2.2]])
    assert (found.low, found.high, found.p_value) == (-np.inf, np.inf, 1)


def test_no_difference_at_all():
    found = difference([np.ones(30)], [np.ones(30)])
    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)
    assert not found.is_shown


def test_the_same_difference_everywhere():
    found = difference([np.ones(30)], [np.zeros(30)])
    assert (found.low, found.high, found.p_value) == (1, 1, 1 / (NUM_FLIPS + 1))
    assert found.is_shown


def test_one_class_in_a_thousand_is_no_difference():
    a = np.ones(1000)
    assert difference([a], [np.r_[a[1:], 0.0]]).p_value == 1


@pytest.mark.parametrize(
    ("a", "b"),
    [([[]], [[]]), ([[1.0]], [[1.0, 2.0]]), ([1.0], [1.0]), ([[np.nan]], [[1.0]])],
)
def test_what_cannot_be_compared_is_refused(a, b):
    with pytest.raises(ValueError, match=r"scores|a score"):
        difference(a, b)


def equal_methods(generator, tail, seed_shift):
    """Absolute errors (3, N) of two methods that are equally good, seeds apart."""
    hard = generator.normal(size=100)
    return (
        np.exp(tail * (hard + generator.normal(size=100) + 0.5 * generator.normal(size=(3, 100))))
        * np.exp(seed_shift * generator.normal(size=(3, 1)))
        for _ in range(2)
    )


@pytest.mark.parametrize("num_materials", [MIN_MATERIALS, 100])
@pytest.mark.parametrize(("tail", "seed_shift"), [(1.0, 0.0), (0.3, 0.3)])
def test_equal_methods_are_called_different_rarely(num_materials, tail, seed_shift):
    """At most 6 %; more simulations and nulls are in jobs/benchmarks/comparison_errors.py."""
    generator, num_simulations = np.random.default_rng(9), 150
    calls = 0
    for _ in range(num_simulations):
        a, b = (one[:, :num_materials] for one in equal_methods(generator, tail, seed_shift))
        calls += difference(a, b).is_shown
    # Binomial(150, 0.06) is beyond this with a probability of 0.1 %.
    assert calls <= stats.binom.isf(0.001, num_simulations, 0.06)
