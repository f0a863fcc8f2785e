"""The pipeline on Ray Data: planned units -> actors that read and featurize -> tables in order.

What travels to an actor is the plan, which says where each record lies. Each actor reads what it
featurizes (``shards/reader.py``), since records that a read task hands to an actor are copied into
the object store and out again; with charge densities that took as much CPU as all the rest. Ray's
own ``read_webdataset`` is not used: it drops samples after a transient error and a whole shard for
one bad sample, and it holds 512 samples of whatever size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray.data

from omnimat.base.errors import RunError, UserError
from omnimat.cluster.pace import paced
from omnimat.cluster.placement import near_this_process, on_labelled
from omnimat.stream.settings import StreamSettings
from omnimat.stream.source import Source
from omnimat.stream.stall import unless_stalled
from omnimat.stream.timing import stamped
from omnimat.stream.unit import ReadUnit
from omnimat.stream.worker import rebatched

# How much of the object store Ray Data lets one execution fill by reading ahead.
OBJECT_STORE_FRACTION = 0.5
# No actor may idle while the trainer's process, which hands out the tasks, is busy. A task takes a
# few kilobytes of plan.
TASKS_IN_FLIGHT_PER_ACTOR = 8


@dataclass(frozen=True)
class RayPipeline:
    """Runs one worker's read units as a Ray Data execution.

    Attributes:
        settings: how many actors there are, and how large things may be.
        num_workers: how many workers run such a pipeline at the same time.
    """

    settings: StreamSettings
    num_workers: int = 1

    def __call__(
        self, source: Source, units: Sequence[ReadUnit], num_records: int
    ) -> Iterator[pa.Table]:
        """Give the feature rows of the units in order, in tables of ``num_records`` records."""
        # from_pandas would run a task on each, which asks for a whole CPU that no node may have.
        dataset = ray.data.from_blocks(list(units)).map_batches(
            _FeatureActor,
            fn_constructor_args=(source,),
            batch_size=None,  # a unit
            batch_format="pandas",
            **self._actors(is_store=source.store is not None),
        )
        dataset.context.execution_options.preserve_order = True
        # Every worker's execution would take the cluster's object store for its own.
        dataset.context.override_object_store_memory_limit_fraction = (
            OBJECT_STORE_FRACTION / self.num_workers
        )
        dataset.context.enable_progress_bars = False  # else every worker draws its own
        dataset.context.print_on_execution_start = False
        blocks = paced(dataset).iter_batches(
            batch_size=None,
            batch_format="pyarrow",
            prefetch_batches=self.settings.prefetch_batches,
        )
        tables = map(_unless_failed, unless_stalled(iter(blocks), self.settings.stall_timeout_s))
        yield from rebatched(tables, num_records * source.views.num_views)

    def _actors(self, *, is_store: bool) -> dict[str, Any]:
        """Say how many actors there are, what each of them takes, and where they run."""
        settings = self.settings
        compute = ray.data.ActorPoolStrategy(
            size=settings.num_readers if is_store else settings.num_featurizer_actors,
            max_tasks_in_flight_per_actor=TASKS_IN_FLIGHT_PER_ACTOR,
        )
        if is_store:  # what it maps into memory is used on the same machine
            return {
                "compute": compute,
                "num_cpus": settings.reader_num_cpus,
                **near_this_process(),
            }
        return {
            "compute": compute,
            "num_cpus": settings.featurizer_num_cpus,
            "label_selector": on_labelled(settings.featurizer_label_selector),
        }


# The only column of a table that stands for an error.
_ERROR = "omnimat_error"


class _FeatureActor:
    """Featurizes units; an actor, so that imports are paid once.

    An error that explains itself is handed on as a table, since Ray Data would bury its sentence
    in tracebacks.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    def __call__(self, unit: ReadUnit) -> pa.Table:
        try:
            return stamped(*self._source.timed_features(unit))
        except (RunError, UserError) as error:
            return pa.table({_ERROR: [str(error)]})


def _unless_failed(table: pa.Table) -> pa.Table:
    if _ERROR in table.column_names:
        raise RunError(table[_ERROR][0].as_py())
    return table
