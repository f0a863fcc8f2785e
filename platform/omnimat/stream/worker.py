"""The stream of one train worker: planned units -> feature tables -> audited batches.

Each worker runs its own pipeline over its own share of the plan. Ray's ``streaming_split`` hands
blocks to whichever worker asks first; then neither the order nor the number of rows is ours, and
an exact resume is impossible. The price is one executor and one actor pool a worker.
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

# Enough that a unit is worth a task, few enough that its features are small and soon there.
RECORDS_PER_UNIT = 256
# Enough that starting a pipeline is rare, few enough that Ray plans it in no time.
UNITS_PER_PIPELINE = 2048

Pipeline = Callable[[Source, Sequence[ReadUnit], int], Iterator[pa.Table]]
"""(source, units, records) -> stamped feature rows in order, in tables of all views of so many."""


def in_process(source: Source, units: Sequence[ReadUnit], num_records: int) -> Iterator[pa.Table]:
    """Read and featurize in the caller's own thread: the pipeline that needs nothing else."""
    tables = (stamped(*source.timed_features(unit)) for unit in units)
    return rebatched(tables, num_records * source.views.num_views)


def rebatched(tables: Iterable[pa.Table], num_rows: int) -> Iterator[pa.Table]:
    """Cut tables anew, without copying; rows of an incomplete last one are given too."""
    waiting: pa.Table | None = None
    for table in tables:
        waiting = table if waiting is None else pa.concat_tables([waiting, table])
        while len(waiting) >= num_rows:
            yield waiting.slice(0, num_rows)
            waiting = waiting.slice(num_rows)
    if waiting:
        yield waiting


class StreamError(RuntimeError):
    """The stream delivered other records than planned."""


@dataclass
class Audit:
    """What a worker's stream delivered.

    Attributes:
        delivered: rows handed to the trainer, each view one.
        quarantined: material id -> reason, of rows that came without some modality for a fault.
    """

    delivered: int = 0
    quarantined: dict[str, str] = field(default_factory=dict)

    def check(self, batch: pa.Table, planned_ids: list[str]) -> None:
        """Count a batch, and insist that it holds exactly the planned records in order."""
        ids = batch[ID_COLUMN].to_pylist()
        if ids != planned_ids:
            missing, more = set(planned_ids) - set(ids), set(ids) - set(planned_ids)
            raise StreamError(
                "the stream lost, repeated or reordered records; "
                f"missing: {sorted(missing)[:5]}, not planned here: {sorted(more)[:5]}"
            )
        self.delivered += len(ids)
        reasons = batch[QUARANTINE_COLUMN].to_pylist()
        self.quarantined.update({i: r for i, r in zip(ids, reasons, strict=True) if r is not None})


@dataclass(frozen=True)
class WorkerStream:
    """One worker's batches of a planned run.

    Attributes:
        source: of the rows.
        records: index rows of the split, as the plan counts them.
        plan: the order.
        read_unit_bytes: how much a read task may hold at once.
        rank: of this worker.
        world_size: number of workers.
        num_micro_batches: how many batches each step's share is cut into.
        pipeline: what runs the read tasks.
        audit: what was delivered so far.
        meter: what it cost.
    """

    source: Source
    records: pd.DataFrame
    plan: BatchPlan
    read_unit_bytes: int
    rank: int
    world_size: int
    num_micro_batches: int = 1
    pipeline: Pipeline = in_process
    audit: Audit = field(default_factory=Audit)
    meter: StreamMeter = field(default_factory=StreamMeter)

    def batches(self, first_step: int = 0) -> Iterator[Batch]:
        """Deliver this worker's batches from a step of the run to its end.

        Each step's share comes as ``num_micro_batches`` equal batches, one after another.

        Raises:
            StreamError: if a batch holds anything but the planned records in planned order.
        """
        num_records = self.plan.global_batch_size // self.world_size
        nothing = self.source.schema.empty_table()
        for units in _groups(self.units(first_step), num_records):
            ids = np.concatenate([unit["material_id"].to_numpy() for unit in units])
            tables = self.pipeline(self.source, units, num_records)
            for planned in ids.reshape(-1, num_records):
                table = next(tables, nothing)
                self.audit.check(table, planned.repeat(self.source.views.num_views).tolist())
                self.meter.taken(table, time.time())
                num_rows = len(table) // self.num_micro_batches
                for first in range(0, len(table), num_rows):
                    with self.meter.stage("collate"):
                        batch = collate(table.slice(first, num_rows), self.source.featurizers)
                    yield batch
            self.audit.check(next(tables, nothing), [])

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
    """Give each pipeline its units, whole batches together."""
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
