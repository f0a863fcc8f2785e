"""The stream of one train worker: planned units -> readers -> featurizer actors -> batches.

Each worker runs its own Ray Data pipeline over its own share of the plan. Ray's streaming_split
hands blocks to whichever worker asks first; then neither the order nor the number of rows is
ours, and an exact resume is impossible. The price is one executor and one actor pool a worker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import ray.data
from numpy.typing import NDArray
from upath import UPath

from omnimat.features.batch import Batch, collate
from omnimat.features.layout import QUARANTINE_COLUMN, Featurizer
from omnimat.materials.record import Modality
from omnimat.stream.datasource import UnitDatasource
from omnimat.stream.featurize import FeaturizeActor
from omnimat.stream.order import BatchPlan, split_by_bytes
from omnimat.stream.settings import StreamSettings
from omnimat.stream.store import read_from_store
from omnimat.stream.unit import read_from_shards, take

# Enough units to keep a pipeline busy across epochs, few enough for Ray to plan in no time.
UNITS_PER_PIPELINE = 256


class StreamError(RuntimeError):
    """The stream delivered other records than planned."""


@dataclass
class Audit:
    """What a worker's stream delivered.

    Attributes:
        delivered: rows handed to the trainer.
        quarantined: material id -> reason, of rows that came without some modality for a fault.
    """

    delivered: int = 0
    quarantined: dict[str, str] = field(default_factory=dict)

    def check(self, batch: pa.Table, planned_ids: list[str]) -> None:
        """Count a batch, and insist that it holds exactly the planned records in order."""
        ids = batch["material_id"].to_pylist()
        if ids != planned_ids:
            missing = sorted(set(planned_ids) - set(ids))
            raise StreamError(f"the stream lost or reordered records; missing: {missing[:5]}")
        self.delivered += len(ids)
        reasons = batch[QUARANTINE_COLUMN].to_pylist()
        self.quarantined.update({i: r for i, r in zip(ids, reasons, strict=True) if r is not None})


@dataclass(frozen=True)
class WorkerStream:
    """One worker's batches of a planned run.

    Attributes:
        dataset: folder of shards and manifest.
        store: feature store to read instead of the shards, or None.
        records: index rows of the split, as the plan counts them.
        plan: the order.
        featurizers: one a modality.
        settings: actors and sizes.
        rank: of this worker.
        world_size: number of workers.
    """

    dataset: UPath
    store: UPath | None
    records: pd.DataFrame
    plan: BatchPlan
    featurizers: Mapping[Modality, Featurizer]
    settings: StreamSettings
    rank: int
    world_size: int
    audit: Audit = field(default_factory=Audit)

    def batches(self, first_step: int = 0) -> Iterator[Batch]:
        """Deliver this worker's batches from a step of the run to its end.

        Raises:
            StreamError: if a batch holds anything but the planned records in planned order.
        """
        ids = self.records["material_id"].to_numpy()
        for batches in self._pipelines(first_step):
            tables = self._run(batches)
            for planned, table in zip(batches, tables, strict=True):
                self.audit.check(table, ids[planned].tolist())
                yield collate(table, self.featurizers)

    def _pipelines(self, first_step: int) -> Iterator[NDArray[np.int64]]:
        """Group epochs into pipelines, so that actors outlive an epoch but plans stay small."""
        pending: list[NDArray[np.int64]] = []
        num_units = 0
        per_epoch = self.plan.steps_per_epoch
        for epoch in range(first_step // max(per_epoch, 1), self.plan.num_epochs):
            skip = max(first_step - epoch * per_epoch, 0)
            pending.append(
                self.plan.worker_batches(
                    epoch, rank=self.rank, world_size=self.world_size, first_step=skip
                )
            )
            num_units += len(self._units(pending[-1]))
            if num_units >= UNITS_PER_PIPELINE:
                yield np.concatenate(pending)
                pending, num_units = [], 0
        if pending:
            yield np.concatenate(pending)

    def _units(self, batches: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        limit_bytes = int(self.settings.read_unit_mib * 2**20)
        return split_by_bytes(batches, self.records["size_bytes"].to_numpy(), limit_bytes)

    def _run(self, batches: NDArray[np.int64]) -> Iterator[pa.Table]:
        units = [take(self.records, positions) for positions in self._units(batches)]
        rows = batches.shape[1]
        if self.store is None:
            source = UnitDatasource(units, partial(read_from_shards, self.dataset))
        else:
            source = UnitDatasource(units, partial(read_from_store, self.store))
        dataset = ray.data.read_datasource(
            source,
            override_num_blocks=len(units),
            num_cpus=self.settings.reader_num_cpus,
            concurrency=1,
        )
        if self.store is None:
            dataset = dataset.map_batches(
                FeaturizeActor,
                fn_constructor_args=(self.featurizers,),
                batch_size=rows,
                batch_format="pyarrow",
                zero_copy_batch=True,
                compute=ray.data.ActorPoolStrategy(size=self.settings.num_featurizers),
                num_cpus=self.settings.featurizer_num_cpus,
            )
        dataset.context.execution_options.preserve_order = True
        dataset.context.enable_progress_bars = False  # every worker would draw its own
        dataset.context.print_on_execution_start = False
        yield from dataset.iter_batches(
            batch_size=rows,
            batch_format="pyarrow",
            prefetch_batches=self.settings.prefetch_batches,
        )
