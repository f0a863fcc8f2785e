"""How often Ray Data looks after an execution, and how long it waits for one.

Its loop waits for tasks that have something to give. As long as the reader leaves what it was given
before, they have it and nothing is taken from them, so that the loop spins: in pretraining from a
feature store it took half a core from each worker, and the lock of its Python as well: 156 samples
a second in place of 340.

It also ends an execution of which nothing was heard for half an hour. A shard of crystals that a
force field strains takes longer, and so may what reads.
"""

from __future__ import annotations

import time
from typing import Any

from ray.data import Dataset
from ray.data._internal.execution.execution_callback import ExecutionCallback

# Between two steps, while the reader waits for something, and while something waits for the reader.
INTERVAL_S = 0.01
UNHURRIED_INTERVAL_S = 0.05


def paced(dataset: Dataset) -> Dataset:
    """Let the execution of a data set rest between the steps of its loop, and take its time.

    The data set itself is changed.
    """
    dataset.context.custom_execution_callback_classes.append(_Rest)
    dataset.context.execution_no_progress_timeout_s = -1  # never
    return dataset


class _Rest(ExecutionCallback):  # type: ignore[misc]
    """Makes each step of the loop take its time; a step may give any number of blocks and tasks."""

    def __init__(self) -> None:
        self._ended_s = time.monotonic()

    def on_execution_step(self, executor: Any) -> None:
        # Private, but Ray's version is pinned below the next minor one.
        interval_s = INTERVAL_S if executor._consumer_idling() else UNHURRIED_INTERVAL_S
        time.sleep(max(0.0, self._ended_s + interval_s - time.monotonic()))
        self._ended_s = time.monotonic()
