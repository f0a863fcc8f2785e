"""The stream of one train worker: planned units -> feature tables -> audited batches.

Each worker runs its own pipeline over its own share of the plan. Ray's ``streaming_split`` would
hand blocks to whichever worker asks first: then neither the order nor the number of rows is ours,
and an exact resume is impossible. The price is one executor and one pool of actors a worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa

from omnimat.modalities.batch import Batch, collate
from omnimat.modalities.layout import ID_COLUMN, QUARANTINE_COLUMN
from omnimat.stream.order import BatchPlan, split_into_units
from omnimat.stream.source import Source
from omnimat.stream.timing import StreamMeter, stamped
from omnimat.stream.unit import ReadUnit, take

# Enough to be worth a task, and few enough that their features are small and soon there.
RECORDS_PER_UNIT = 256
# Enough that pipelines are rarely started, and few enough that Ray plans one in no time.
UNITS_PER_PIPELINE = 2048

Pipeline = Callable[[Source, Sequence[ReadUnit], int], Iterator[pa.Table]]
"""(source, units, n) -> stamped feature rows in order, in tables of all views of n records."""


def in_process(source: Source, units: Sequence[ReadUnit], num_records: int) -> Iterator[pa.Table]:
    """Read and featurize in the caller's own thread, without any other process."""
    tables = (stamped(*source.timed_features(unit)) for unit in units)
    return rebatched(tables, num_records * source.views.num_views)


def rebatched(tables: Iterable[pa.Table], num_rows: int) -> Iterator[pa.Table]:
    """Cut tables anew without copying them; the last one may have fewer rows."""
    waiting: pa.Table | None = None
    for table in tables:
        waiting = table if waiting is None else pa.concat_tables([waiting, table])
        while len(waiting) >= num_rows:
            yield waiting.slice(0, num_rows)
            waiting = waiting.slice(num_rows)
    if waiting:
        yield waiting


class StreamError(RuntimeError):
    """The stream delivered other records than were planned."""


def check_order(rows: pa.Table, planned_ids: list[str]) -> None:
    """Insist that these are exactly the planned records in their order.

    Raises:
        StreamError: they are not.
    """
    ids = rows[ID_COLUMN].to_pylist()
    if ids != planned_ids:
        missing, more = set(planned_ids) - set(ids), set(ids) - set(planned_ids)
        raise StreamError(
            "the stream lost, repeated or reordered records; "
            f"missing: {sorted(missing)[:5]}, not planned here: {sorted(more)[:5]}"
        )


@dataclass
class Audit:
    """What a worker's stream delivered.

    Attributes:
        delivered: how many rows were handed to the trainer; each view is a row.
        quarantined: by material id, the fault because of which a row came without some modality.
    """

    delivered: int = 0
    quarantined: dict[str, str] = field(default_factory=dict)

    def count(self, rows: pa.Table) -> None:
        """Count rows that the trainer takes."""
        self.delivered += len(rows)
        faulty = rows.filter(rows[QUARANTINE_COLUMN].is_valid())
        reasons = (faulty[name].to_pylist() for name in (ID_COLUMN, QUARANTINE_COLUMN))
        self.quarantined.update(zip(*reasons, strict=True))


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker trains on in a step.

    Attributes:
        batches: a batch for each of the plan's micro-batches.
        rows: the rows of all of them, which say what they cost and what is wrong with them.
        collate_s: how long it took to make the batches of the rows.
    """

    batches: tuple[Batch, ...]
    rows: pa.Table
    collate_s: float


@dataclass(frozen=True)
class WorkerStream:
    """One worker's batches of a planned run.

    Attributes:
        source: where the rows come from.
        records: the rows of the record index that belong to the split, as the plan counts them.
        plan: the order.
        read_unit_bytes: how many bytes of records are read at once, at most.
        rank: the number of this worker.
        world_size: how many workers there are.
        pipeline: what reads and featurizes the units.
        audit: what was delivered so far.
        meter: what it cost.
    """

    source: Source
    records: pd.DataFrame
    plan: BatchPlan
    read_unit_bytes: int
    rank: int
    world_size: int
    pipeline: Pipeline = in_process
    audit: Audit = field(default_factory=Audit)
    meter: StreamMeter = field(default_factory=StreamMeter)

    def batches(self, first_step: int = 0) -> Iterator[Batch]:
        """Deliver this worker's batches from a step of the run to its end, and count them.

        Its share of each step comes as a batch for each of the plan's micro-batches.

        Raises:
            StreamError: a batch holds anything but the planned records in the planned order.
        """
        for share in self.shares(first_step):
            self.count(share)
            yield from share.batches

    def shares(self, first_step: int = 0) -> Iterator[Share]:
        """Give the same by step, uncounted, so that a thread of its own may make them.

        Raises:
            StreamError: a share holds anything but the planned records in the planned order.
        """
        num_records = sum(map(len, self.plan.shares(self.world_size)[self.rank]))
        nothing = self.source.schema.empty_table()
        sizes = self._sizes(first_step)
        for units in _groups(self.units(first_step), num_records):
            ids = np.concatenate([unit["material_id"].to_numpy() for unit in units])
            tables = self.pipeline(self.source, units, num_records)
            for planned in ids.reshape(-1, num_records):
                table = next(tables, nothing)
                check_order(table, planned.repeat(self.source.views.num_views).tolist())
                yield self._share(table, next(sizes))
            check_order(next(tables, nothing), [])

    def count(self, share: Share) -> None:
        """Count a share that the trainer takes."""
        self.audit.count(share.rows)
        self.meter.taken(share.rows, time.time(), share.collate_s)

    def _share(self, rows: pa.Table, sizes: Sequence[int]) -> Share:
        """Collate a share, of whose records so many are in each micro-batch."""
        started_s = self.meter.clock()
        ends = np.cumsum(sizes) * self.source.views.num_views
        firsts = [0, *ends[:-1]]
        batches = tuple(
            collate(rows.slice(first, end - first), self.source.featurizers)
            for first, end in zip(firsts, ends, strict=True)
        )
        return Share(batches, rows, self.meter.clock() - started_s)

    def _sizes(self, first_step: int) -> Iterator[list[int]]:
        """Count this worker's records in each micro-batch, step by step."""
        place = {"rank": self.rank, "world_size": self.world_size}
        first_epoch, skipped_steps = divmod(first_step, self.plan.steps_per_epoch)
        for epoch in range(first_epoch, self.plan.num_epochs):
            yield from self.plan.worker_sizes(epoch, **place, first_step=skipped_steps)
            skipped_steps = 0

    def units(self, first_step: int = 0) -> Iterator[ReadUnit]:
        """Give this worker's read units from a step of the run to its end, each of one epoch."""
        record_bytes = self.records["size_bytes"].to_numpy()
        first_epoch, skipped_steps = divmod(first_step, self.plan.steps_per_epoch)
        for epoch in range(first_epoch, self.plan.num_epochs):
            batches = self.plan.worker_batches(
                epoch, rank=self.rank, world_size=self.world_size, first_step=skipped_steps
            )
            for positions in split_into_units(
                batches,
                record_bytes,
                limit_bytes=self.read_unit_bytes,
                limit_records=RECORDS_PER_UNIT,
            ):
                yield take(self.records, positions, epoch)
            skipped_steps = 0


def _groups(units: Iterator[ReadUnit], num_records: int) -> Iterator[list[ReadUnit]]:
    """Give the units of each pipeline, so that none cuts a batch."""
    group: list[ReadUnit] = []
    rows = 0
    for unit in units:
        group.append(unit)
        rows += len(unit)
        if len(group) >= UNITS_PER_PIPELINE and rows % num_records == 0:
            yield group
            group = []
    if group:
        yield group
