"""The order of training as pure arithmetic: which worker sees which record at which step.

The order depends on nothing but the records, the seed and the epoch: the global batch of a step is
the same for any number of workers, and so is each of its micro-batches, of which every worker takes
a part. So a resumed run goes on with exactly the batches it had not seen, even on another number of
workers, and it needs no list of the records it has seen: the number of steps says it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnimat.stream.micro_batches import CutBatch, cut_batch


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


def shares_of_batch(
    batch_size: int, *, world_size: int, num_micro_batches: int = 1
) -> list[list[NDArray[np.int64]]]:
    """Divide a batch among workers, as evenly as whole records allow.

    The batch is cut into micro-batches, and each of these into a part for each worker; so a
    micro-batch holds the same records for any number of workers. Micro-batches differ in size by
    one record at most, and so do the parts of one, and the workers' shares of the batch.

    Args:
        batch_size: how many records the batch has; at least one for each part.
        world_size: how many workers there are.
        num_micro_batches: how many micro-batches there are.

    Returns:
        For each worker its part of each micro-batch: positions in the batch, one after another.
    """
    shares: list[list[NDArray[np.int64]]] = [[] for _ in range(world_size)]
    for micro_batch in np.array_split(np.arange(batch_size), num_micro_batches):
        # The first parts have one record more, so the workers take turns at being first.
        for place, part in enumerate(np.array_split(micro_batch, world_size)):
            shares[(micro_batch[0] + place) % world_size].append(part)
    return shares


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
        num_micro_batches: how many micro-batches a global batch is cut into.
        record_edges: (n,) edges of each record of the split; needed only with ``max_edges``.
        max_edges: cut global batches into micro-batches of so many edges at most instead, all
            workers together; None counts records.
    """

    record_shards: NDArray[np.integer]
    global_batch_size: int
    num_epochs: int
    seed: int
    window_shards: int
    num_micro_batches: int = 1
    record_edges: NDArray[np.integer] | None = None
    max_edges: int | None = None

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

    def shares(self, world_size: int) -> list[list[NDArray[np.int64]]]:
        """Divide every global batch alike among workers, as ``shares_of_batch`` does.

        With ``max_edges``, only the sizes of the workers' shares are those of every batch.
        """
        return shares_of_batch(
            self.global_batch_size,
            world_size=world_size,
            num_micro_batches=self.num_micro_batches,
        )

    def worker_batches(
        self, epoch: int, *, rank: int, world_size: int, first_step: int = 0
    ) -> NDArray[np.int64]:
        """Give one worker's records of an epoch.

        Returns:
            (steps, records of this worker's share) positions in ``record_shards``, from the step
            ``first_step`` of the epoch on, one micro-batch after another.
        """
        batches = self._batches(epoch)[first_step:]
        if self.max_edges is None:
            return batches[:, np.concatenate(self.shares(world_size)[rank])]
        own = [cut.of_worker(rank, world_size) for cut in self._cut(batches)]
        return np.array(own, np.int64).reshape(len(batches), -1)

    def worker_sizes(
        self, epoch: int, *, rank: int, world_size: int, first_step: int = 0
    ) -> list[list[int]]:
        """Count one worker's records in each micro-batch of the same steps."""
        batches = self._batches(epoch)[first_step:]
        if self.max_edges is None:
            return [[len(part) for part in self.shares(world_size)[rank]]] * len(batches)
        return [cut.sizes_of_worker(rank, world_size) for cut in self._cut(batches)]

    def _cut(self, batches: NDArray[np.int64]) -> list[CutBatch]:
        assert self.record_edges is not None
        assert self.max_edges is not None
        return [cut_batch(batch, self.record_edges, self.max_edges) for batch in batches]

    def _batches(self, epoch: int) -> NDArray[np.int64]:
        """Give the global batches of an epoch, of shape (steps, records)."""
        order = epoch_order(
            self.record_shards, seed=self.seed, epoch=epoch, window_shards=self.window_shards
        )
        whole = order[: self.steps_per_epoch * self.global_batch_size]
        return whole.reshape(self.steps_per_epoch, self.global_batch_size)


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
