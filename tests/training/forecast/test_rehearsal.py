"""The training steps of a rehearsal: how large they are, and when two workers are measured."""

import os
import weakref

import pytest
import torch
import torch.multiprocessing as mp

from omnimat.training.forecast.measure import batch_sizes
from omnimat.training.rehearsal import two_workers_step_s
from omnimat.training.settings import PretrainSettings, TrainingSettings


class Engine:
    """Refers to itself, as engines do, so that only the garbage collector frees it."""

    def __init__(self):
        self.itself = self


def new_settings(**training):
    return PretrainSettings.model_validate(
        {
            "dataset": "data",
            "modalities": {
                "dos": {"encoder": {"preset": "tiny"}},
                "text": {"featurizer": {"source": "hashed"}, "encoder": {"preset": "tiny"}},
            },
            "objective": {"type": "clip"},
            "training": training,
        }
    )


@pytest.fixture
def spawn(monkeypatch):
    """Return a function that replaces the start of two workers by a call with their queue."""

    def spawn(instead):
        monkeypatch.setattr(mp, "spawn", lambda _, arguments, nprocs: instead(arguments[-1]))

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    return spawn


@pytest.mark.parametrize(
    ("global_batch_size", "num_micro_batches", "sizes"),
    [
        (64, 1, [16, 32, 64]),
        (4096, 1, [32, 64, 128]),
        (12, 4, [4, 12]),
        (4, 4, [4]),
        (2, 2, [2]),
        (3, 1, [3]),
        (2, 1, [2]),
    ],
)
def test_every_job_has_steps_to_measure(global_batch_size, num_micro_batches, sizes):
    training = TrainingSettings(
        global_batch_size=global_batch_size, num_micro_batches=num_micro_batches
    )
    assert batch_sizes(training) == sizes


def test_threads_take_cores_and_two_workers_need_twice_as_many(monkeypatch, spawn):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))
    spawn(lambda seconds: seconds.put(0.5))
    assert two_workers_step_s(new_settings(use_gpu=False, threads_per_worker=4), 2, []) == 0.5
    assert two_workers_step_s(new_settings(use_gpu=False, threads_per_worker=5), 2, []) is None


def test_a_gpu_is_freed_before_another_process_trains_on_it(monkeypatch, spawn):
    left = weakref.ref(Engine())
    happened = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: happened.append(left()))
    spawn(lambda seconds: seconds.put(0.5) or happened.append("spawned"))
    two_workers_step_s(new_settings(use_gpu=True), 2, [])
    assert happened == [None, "spawned"]


@pytest.mark.parametrize(
    "failure",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "torch.AcceleratorError: CUDA error: out of memory",
    ],
)
def test_two_that_do_not_fit_cost_nothing_but_their_own_rate(failure, spawn, capsys):
    def fail(_):
        raise mp.ProcessRaisedException(failure, error_index=1, error_pid=1)

    spawn(fail)
    assert two_workers_step_s(new_settings(use_gpu=True), 2, []) is None
    printed = capsys.readouterr()
    assert "memory" in printed.err
    assert not printed.out  # the output of --json goes there


def test_other_failures_of_two_workers_are_told(spawn):
    def fail(_):
        raise mp.ProcessRaisedException("ValueError: no such encoder", error_index=1, error_pid=1)

    spawn(fail)
    with pytest.raises(mp.ProcessRaisedException, match="no such encoder"):
        two_workers_step_s(new_settings(use_gpu=True), 2, [])
