"""The order of training as pure arithmetic: which worker sees which record at which step.

The order depends on nothing but the records, the seed and the epoch: the global batch of a step is
the same for any number of workers, and a worker's share of it is a slice. So a resumed run goes on
with exactly the batches it had not seen, even on another number of workers, and it needs no list of
the records it has seen: the number of steps says it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def epoch_order(
    record_shards: NDArray[np.integer], *, seed: int, epoch: int, window_shards: int
) -> NDArray[np.int64]:
    """Permute records: shards in random order, and records at random within a window of shards.

    Args:
        record_shards: (n,) the shard number of each record.
        seed: the seed of the run.
        epoch: the number of the epoch, from 0.
        window_shards: how many shards are mixed, and so how many are open at once at most.

    Returns:
        (n,) positions in ``record_shards``.
    """
    generator = np.random.default_rng([seed, epoch])
    shards, shard_of_record = np.unique(record_shards, return_inverse=True)
    window_of_shard = generator.permutation(len(shards)) // window_shards
    return np.lexsort((generator.random(len(record_shards)), window_of_shard[shard_of_record]))


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """Which records make each global batch.

    Attributes:
        record_shards: (n,) the shard number of each record of the split.
        global_batch_size: how many records a step has over all workers. The incomplete last batch
            of an epoch is left out, since in a contrastive loss a smaller batch is another
            objective.
        num_epochs: how often the split is gone through, each time in a new order.
        seed: the seed of the order.
        window_shards: how many shards are mixed, as ``epoch_order`` does.
    """

    record_shards: NDArray[np.integer]
    global_batch_size: int
    num_epochs: int
    seed: int
    window_shards: int

    @property
    def steps_per_epoch(self) -> int:
        """How many whole global batches the split has."""
        return len(self.record_shards) // self.global_batch_size

    @property
    def num_steps(self) -> int:
        """How many steps the whole run has."""
        return self.steps_per_epoch * self.num_epochs

    @property
    def left_out_per_epoch(self) -> int:
        """How many records the incomplete last batch would have; others in each epoch."""
        return len(self.record_shards) % self.global_batch_size

    def worker_batches(
        self, epoch: int, *, rank: int, world_size: int, first_step: int = 0
    ) -> NDArray[np.int64]:
        """Give one worker's records of an epoch.

        Returns:
            (steps, global_batch_size / world_size) positions in ``record_shards``, from the step
            ``first_step`` of the epoch on.
        """
        order = epoch_order(
            self.record_shards, seed=self.seed, epoch=epoch, window_shards=self.window_shards
        )
        whole = order[: self.steps_per_epoch * self.global_batch_size]
        shares = whole.reshape(self.steps_per_epoch, world_size, -1)
        return shares[first_step:, rank]


def split_into_units(
    batches: NDArray[np.int64],
    record_bytes: NDArray[np.integer],
    *,
    limit_bytes: int,
    limit_records: int,
) -> list[NDArray[np.int64]]:
    """Cut a worker's batches into read units within both limits, in order.

    A unit is several whole batches or a part of one, so that every batch ends where a unit ends. A
    single record that exceeds the limit is a unit of its own.
    """
    batches_per_unit = max(1, limit_records // batches.shape[1])
    groups = _cut(batches, record_bytes[batches].sum(axis=1), limit_bytes, batches_per_unit)
    units: list[NDArray[np.int64]] = []
    for group in groups:
        positions = group.ravel()
        units += _cut(positions, record_bytes[positions], limit_bytes, limit_records)
    return units


def _cut(
    items: NDArray[np.int64], sizes: NDArray[np.integer], limit_size: int, limit_items: int
) -> list[NDArray[np.int64]]:
    """Cut a sequence into runs of at least one item, as long as the limits allow."""
    runs: list[NDArray[np.int64]] = []
    first = used = 0
    for i, size in enumerate(sizes.tolist()):
        if i > first and (used + size > limit_size or i - first == limit_items):
            runs.append(items[first:i])
            first, used = i, 0
        used += size
    if first < len(items):
        runs.append(items[first:])
    return runs
