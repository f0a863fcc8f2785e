"""Predictions find what limits a run, and nothing else changes its speed."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from omnimat.training.forecast.prediction import (
    START_S,
    Machines,
    Work,
    exchange_s,
    featurizers_needed,
    predict,
)
from omnimat.training.forecast.rates import Rates, StepCost

STEP = StepCost(fixed_s=0.02, per_sample_s=0.001, comparison_s=1e-6)
RATES = Rates(
    device="cpu",
    hardware={"cpu": "some", "cores": 2, "gpus": []},
    measured_at="2026-11-20T00:00:00+00:00",
    load_average=0.5,
    read_s=0.0005,
    featurize_s=0.0095,
    collate_s=0.0001,
    step=STEP,
    waiting_s=0.0,
    largest_share=128,
    gradient_bytes=4_000_000,
    embedding_bytes=1_000,
)
WORK = Work(
    num_steps=100,
    global_batch_size=64,
    num_ahead=0,
    num_ahead_actors=1,
    featurizes_on_the_way=True,
)


def machines(num_workers: int, num_featurizers: int, **others: float) -> Machines:
    return Machines(num_workers=num_workers, num_featurizers=num_featurizers, **others)


def fitted(seconds):
    return StepCost.fitted(seconds, comparison_s=STEP.comparison_s, num_others=1)


def test_cost_of_a_step_is_found_from_what_is_measured():
    found = fitted({size: STEP.seconds(size, size) for size in (32, 64, 128)})
    for name in StepCost.model_fields:
        # The fit is exact up to rounding, as a system of two unknowns.
        assert getattr(found, name) == pytest.approx(getattr(STEP, name), rel=1e-6)


def test_noise_of_small_steps_is_not_multiplied_by_the_square_of_a_large_batch():
    draw = np.random.default_rng(0)
    errors = []
    for _ in range(300):
        steps_s = {n: STEP.seconds(n, n) * (1 + 0.02 * draw.standard_normal()) for n in (32, 128)}
        errors.append(fitted(steps_s).seconds(1024, 65536) / STEP.seconds(1024, 65536) - 1)
    # Noise of 2 % of the larger step is 3 ms, and the two steps differ by 96 ms; this allows five
    # standard deviations.
    assert max(map(abs, errors)) < 0.16


def test_no_term_of_a_fit_is_negative():
    """Steps that take less and less per sample, as with noise, never give a negative time."""
    found = fitted({32: 0.05, 64: 0.09, 128: 0.12})
    assert min(found.model_dump().values()) >= 0
    assert found.seconds(1, 1) > 0


def test_of_steps_of_one_size_no_more_is_fixed_than_was_measured_to_be():
    """A batch twice as large is not predicted to be faster than two batches of that size."""
    found = fitted({4: STEP.seconds(4, 4)})
    assert found.fixed_s == 0
    assert found.seconds(4, 4) == pytest.approx(STEP.seconds(4, 4))
    assert found.seconds(8, 4) == pytest.approx(2 * STEP.seconds(4, 4))


def test_comparing_by_threes_grows_with_the_square_of_the_batch():
    triples = STEP.model_copy(update={"num_others": 2})
    compared_s = triples.seconds(8, 200) - triples.seconds(8, 100)
    assert compared_s == pytest.approx(8 * 1e-6 * (200**2 - 100**2))


def test_what_is_slowest_limits():
    alone = predict(RATES, WORK, machines(1, 1))
    # One actor delivers 1 / (0.5 ms + 9.5 ms).
    assert alone.bottleneck == "featurizers"
    assert alone.samples_per_s == pytest.approx(100)
    fed = predict(RATES, WORK, machines(1, 20))
    step_s = 0.02 + 64 * (0.001 + 1e-6 * 64)
    assert fed.bottleneck == "workers"
    assert fed.samples_per_s == pytest.approx(64 / step_s)
    crowded = predict(RATES, WORK, machines(1, 20, num_cores=2))
    assert crowded.bottleneck == "cores"
    assert crowded.samples_per_s == pytest.approx(2 / (step_s / 64 + 0.0001 + 0.01))


def test_a_batch_is_collated_beside_the_step_before():
    step_s = 0.02 + 64 * (0.001 + 1e-6 * 64)
    for collate_s, slowest_s in ((step_s / 128, step_s), (step_s / 32, 2 * step_s)):
        rates = RATES.model_copy(update={"collate_s": collate_s})
        found = predict(rates, WORK, machines(1, 100))
        assert found.workers_per_s == pytest.approx(64 / slowest_s)


def test_as_many_featurizers_as_needed_are_enough_and_one_less_is_not():
    number = featurizers_needed(RATES, WORK, machines(2, 1))
    assert predict(RATES, WORK, machines(2, number)).bottleneck == "workers"
    assert predict(RATES, WORK, machines(2, number - 1)).bottleneck == "featurizers"


def test_more_workers_need_more_featurizers_unless_they_wait_for_each_other():
    def needed(waiting_s):
        rates = RATES.model_copy(update={"waiting_s": waiting_s})
        return [featurizers_needed(rates, WORK, machines(n, 1)) for n in (1, 2, 4, 8)]

    assert needed(0.0) == sorted(needed(0.0))
    assert needed(0.0)[-1] > needed(0.0)[0]
    assert needed(1.0) == sorted(needed(1.0), reverse=True)
    assert needed(1.0)[-1] < needed(1.0)[0]


def test_a_store_is_filled_first_and_then_only_read():
    work = dataclasses.replace(
        WORK, featurizes_on_the_way=False, num_ahead=1000, num_ahead_actors=4
    )
    prediction = predict(RATES, work, machines(1, 1))
    assert prediction.bottleneck == "workers"
    assert prediction.ahead_s == pytest.approx(1000 * 0.01 / 4)
    training_s = 100 * 64 / prediction.samples_per_s
    assert prediction.run_s == pytest.approx(START_S + 2.5 + training_s)
    two_cores = predict(RATES, work, machines(1, 1, num_cores=2))
    assert two_cores.ahead_s == pytest.approx(1000 * 0.01 / 2)


def test_more_workers_exchange_more_and_never_gain_more_than_their_number():
    speeds = [predict(RATES, WORK, machines(n, 64)).workers_per_s for n in (1, 2, 4, 8)]
    assert speeds == sorted(speeds)
    assert all(fast < 2 * slow for slow, fast in itertools.pairwise(speeds))
    assert exchange_s(RATES, machines(1, 1), 64) == 0
    # Half of the bytes are sent twice: 2 x 1/2 x (4 MB + 64 kB) at 10 Gbit/s.
    assert exchange_s(RATES, machines(2, 1), 64) == pytest.approx(4_064_000 / 1.25e9)
    assert exchange_s(RATES, machines(2, 1, interconnect_gbit_per_s=math.inf), 64) == 0


def test_a_faster_worker_computes_faster_and_collates_as_before():
    fast = predict(RATES, WORK, machines(1, 64, speedup=10))
    step_s = (0.02 + 64 * (0.001 + 1e-6 * 64)) / 10
    assert fast.workers_per_s == pytest.approx(64 / step_s)
    fastest = predict(RATES, WORK, machines(1, 64, speedup=100))
    assert fastest.workers_per_s == pytest.approx(
        1 / 0.0001
    )  # it waits for the thread that collates


def test_threads_of_a_worker_are_cores():
    crowded = [
        predict(RATES, WORK, machines(1, 20, num_cores=2, cores_per_worker=number))
        for number in (1, 4)
    ]
    train_s = 0.02 / 64 + 0.001 + 1e-6 * 64
    assert crowded[0].cores_per_s == pytest.approx(2 / (train_s + 0.0001 + 0.01))
    # Only one thread collates a batch.
    assert crowded[1].cores_per_s == pytest.approx(2 / (4 * train_s + 0.0001 + 0.01))
    assert machines(3, 5, cores_per_worker=4).num_busy_cores == 17


def test_workers_wait_for_each_other_as_often_as_they_double():
    waiting = RATES.model_copy(update={"waiting_s": 0.01})
    for num_workers, doublings in ((1, 0), (2, 1), (8, 3)):
        for cores in (None, 0.5):  # the wait is the same with cores to spare or without
            there = machines(num_workers, 8 * num_workers, num_cores=cores)
            steps_s = [64 / predict(rates, WORK, there).samples_per_s for rates in (RATES, waiting)]
            assert steps_s[1] - steps_s[0] == pytest.approx(0.01 * doublings)
