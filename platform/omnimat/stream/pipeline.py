"""The pipeline on Ray Data: read tasks -> featurizer actors -> tables in the planned order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import ray.data

from omnimat.stream.datasource import UnitDatasource
from omnimat.stream.settings import StreamSettings
from omnimat.stream.source import Source
from omnimat.stream.unit import ReadUnit

# What Ray Data would let one execution fill by reading ahead.
OBJECT_STORE_FRACTION = 0.5


@dataclass(frozen=True)
class RayPipeline:
    """Runs one worker's read units as a Ray Data execution.

    Attributes:
        settings: actors and sizes.
        num_workers: workers that run such a pipeline at the same time.
    """

    settings: StreamSettings
    num_workers: int = 1

    def __call__(
        self, source: Source, units: Sequence[ReadUnit], num_records: int
    ) -> Iterator[pa.Table]:
        """Give the units' feature rows in order, in tables of ``num_records`` records."""
        dataset = ray.data.read_datasource(
            UnitDatasource(units, source.read),
            override_num_blocks=len(units),
            num_cpus=self.settings.reader_num_cpus,
            concurrency=1,
        )
        if source.store is None:
            dataset = dataset.map_batches(
                _FeaturizeActor,
                fn_constructor_args=(source,),
                batch_size=num_records,
                batch_format="pyarrow",
                zero_copy_batch=True,
                compute=ray.data.ActorPoolStrategy(size=self.settings.num_featurizers),
                num_cpus=self.settings.featurizer_num_cpus,
            )
        dataset.context.execution_options.preserve_order = True
        # Every worker's execution would take the cluster's object store for its own.
        dataset.context.override_object_store_memory_limit_fraction = (
            OBJECT_STORE_FRACTION / self.num_workers
        )
        dataset.context.enable_progress_bars = False  # every worker would draw its own
        dataset.context.print_on_execution_start = False
        yield from dataset.iter_batches(
            batch_size=num_records * source.views.num_views,
            batch_format="pyarrow",
            prefetch_batches=self.settings.prefetch_batches,
        )


class _FeaturizeActor:
    """Stateless but for its source; an actor, so that imports are paid once."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __call__(self, raw: pa.Table) -> pa.Table:
        return self._source.featurize(raw)
