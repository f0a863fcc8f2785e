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


@dataclass
class Audit:
    """What a worker's stream delivered.

    Attributes:
        delivered: how many rows were handed to the trainer; each view is a row.
        quarantined: by material id, the fault because of which a row came without some modality.
    """

    delivered: int = 0
    quarantined: dict[str, str] = field(default_factory=dict)

    def check(self, batch: pa.Table, planned_ids: list[str]) -> None:
        """Count a batch, and insist that it holds exactly the planned records in their order."""
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
        """Deliver this worker's batches from a step of the run to its end.

        Its share of each step comes as a batch for each of the plan's micro-batches.

        Raises:
            StreamError: a batch holds anything but the planned records in the planned order.
        """
        share = self.plan.shares(self.world_size)[self.rank]
        num_records = sum(map(len, share))
        nothing = self.source.schema.empty_table()
        for units in _groups(self.units(first_step), num_records):
            ids = np.concatenate([unit["material_id"].to_numpy() for unit in units])
            tables = self.pipeline(self.source, units, num_records)
            for planned in ids.reshape(-1, num_records):
                table = next(tables, nothing)
                self.audit.check(table, planned.repeat(self.source.views.num_views).tolist())
                self.meter.taken(table, time.time())
                for part in share:
                    num_rows = len(part) * self.source.views.num_views
                    with self.meter.stage("collate"):
                        batch = collate(table.slice(0, num_rows), self.source.featurizers)
                    yield batch
                    table = table.slice(num_rows)
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
