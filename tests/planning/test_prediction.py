"""Predictions are arithmetic: what limits a run is found, and nothing else changes its speed."""

import dataclasses
import itertools
import math

import pytest

from omnimat.planning.prediction import (
    START_S,
    Machines,
    Work,
    exchange_s,
    featurizers_needed,
    predict,
)
from omnimat.planning.rates import Rates, StepCost

STEP = StepCost(fixed_s=0.02, per_sample_s=0.001, per_pair_s=1e-6)
RATES = Rates(
    device="cpu",
    hardware={"cpu": "some", "gpus": []},
    measured_at="2026-11-20T00:00:00+00:00",
    read_s=0.0005,
    featurize_s=0.0095,
    collate_s=0.0001,
    step=STEP,
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


def test_cost_of_a_step_is_found_from_three_sizes():
    sizes = (32, 64, 128)
    found = StepCost.fitted({size: STEP.seconds(size, size) for size in sizes})
    for name in StepCost.model_fields:
        # The fit is exact up to rounding in a system of three unknowns.
        assert getattr(found, name) == pytest.approx(getattr(STEP, name), rel=1e-6)


def test_no_term_of_a_fit_is_negative():
    """Steps that take ever less a sample, as with noise, give no time below zero anywhere."""
    found = StepCost.fitted({32: 0.05, 64: 0.09, 128: 0.12})
    assert min(found.model_dump().values()) >= 0
    assert found.seconds(1, 1) > 0


def test_what_is_slowest_limits():
    alone = predict(RATES, WORK, machines(1, 1))
    # One actor gives 1 / (0.5 ms + 9.5 ms).
    assert alone.bottleneck == "featurizers"
    assert alone.samples_per_s == pytest.approx(100)
    fed = predict(RATES, WORK, machines(1, 20))
    step_s = 0.02 + 64 * (0.001 + 1e-6 * 64 + 0.0001)
    assert fed.bottleneck == "workers"
    assert fed.samples_per_s == pytest.approx(64 / step_s)
    crowded = predict(RATES, WORK, machines(1, 20, num_cores=2))
    assert crowded.bottleneck == "cores"
    assert crowded.samples_per_s == pytest.approx(2 / (step_s / 64 + 0.01))


def test_as_many_featurizers_as_needed_are_enough_and_one_less_is_not():
    number = featurizers_needed(RATES, WORK, machines(2, 1))
    assert predict(RATES, WORK, machines(2, number)).bottleneck == "workers"
    assert predict(RATES, WORK, machines(2, number - 1)).bottleneck == "featurizers"


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
    # Half of the ring twice: 2 x 1/2 x (4 MB + 64 kB) at 10 Gbit/s.
    assert exchange_s(RATES, machines(2, 1), 64) == pytest.approx(4_064_000 / 1.25e9)
    assert exchange_s(RATES, machines(2, 1, interconnect_gbit_per_s=math.inf), 64) == 0


def test_a_faster_worker_computes_faster_and_collates_as_before():
    fast = predict(RATES, WORK, machines(1, 64, speedup=10))
    step_s = (0.02 + 64 * (0.001 + 1e-6 * 64)) / 10 + 64 * 0.0001
    assert fast.workers_per_s == pytest.approx(64 / step_s)
