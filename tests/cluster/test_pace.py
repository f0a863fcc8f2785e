"""Ray Data rests where its reader is slower than its tasks."""

import time

import numpy as np
import pytest
import ray.data
from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.data.exceptions import ExecutionTimeoutError

from omnimat.cluster.pace import UNHURRIED_INTERVAL_S, paced

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("on_ray")]
NUM_BLOCKS = 24


class Count(ExecutionCallback):
    """Counts the steps of all executions."""

    num_steps = 0

    def on_execution_step(self, executor):
        Count.num_steps += 1


def full_megabyte(batch):
    return {"id": batch["id"], "bytes": [np.ones(2**20, np.uint8)]}


def blocks_for_a_slow_reader() -> ray.data.Dataset:
    """Blocks of more bytes than the execution may keep, so that they wait in their tasks."""
    dataset = ray.data.range(NUM_BLOCKS, override_num_blocks=NUM_BLOCKS)
    dataset = dataset.map_batches(full_megabyte, batch_size=None, num_cpus=0.1)
    dataset.context.override_object_store_memory_limit_fraction = 0.02
    dataset.context.custom_execution_callback_classes.append(Count)
    return dataset


def test_a_slow_reader_lets_the_loop_rest():
    dataset = paced(blocks_for_a_slow_reader())
    read, Count.num_steps = [], 0
    started_s = time.monotonic()
    for batch in dataset.iter_batches(batch_size=None, prefetch_batches=0):
        read.extend(batch["id"])
        time.sleep(0.1)
    elapsed_s = time.monotonic() - started_s
    assert sorted(read) == list(range(NUM_BLOCKS))
    # Twice, since steps are short until the first block is there.
    assert 0 < Count.num_steps <= 2 * elapsed_s / UNHURRIED_INTERVAL_S + 1


def test_tasks_may_take_longer_than_ray_data_waits_for_them():
    def slow(batch):
        time.sleep(4)
        return batch

    dataset = ray.data.range(2, override_num_blocks=2).map_batches(slow, num_cpus=0.1)
    dataset.context.execution_no_progress_timeout_s = 1  # of the test, in place of half an hour
    with pytest.raises(ExecutionTimeoutError):
        dataset.materialize()
    assert len(list(paced(dataset).iter_rows())) == 2
