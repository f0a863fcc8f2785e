"""Measures the rates of a run on this machine: its stream on a core, its steps on one and two."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice

import pyarrow as pa
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from omnimat.base.provenance import hardware
from omnimat.modalities.batch import Batch
from omnimat.stream.source import Source
from omnimat.stream.timing import StreamMeter, stamped
from omnimat.stream.unit import ReadUnit
from omnimat.stream.worker import rebatched
from omnimat.training.forecast.comparison import comparison_s, num_others
from omnimat.training.forecast.rates import Rates, StepCost, reads_store
from omnimat.training.plan import RunPlan
from omnimat.training.rehearsal import (
    NUM_WARM_UP_STEPS,
    num_gradient_bytes,
    step_seconds,
    two_workers_step_s,
)
from omnimat.training.settings import PretrainSettings, TrainingSettings

LARGEST_BATCH_SIZE = 128
LARGEST_BATCH_SIZE_ON_GPU = 1024
NUM_STEPS = NUM_WARM_UP_STEPS + 5

Step = list[Batch]
"""Its micro-batches."""


def measure(plan: RunPlan) -> Rates:
    """Read, featurize and train on a few batches of a run.

    Args:
        plan: of the run, whose data set must be there; its folder is not touched. A feature store
            that is not there yet is done without.
    """
    if not reads_store(plan):
        plan = replace(plan, store=None)
    settings, objective = plan.settings, plan.settings.objective
    load_average, measured_at = os.getloadavg()[0], datetime.now(UTC)
    steps, row_s = _stream(plan, batch_sizes(settings.training))
    material_s = {name: objective.num_views * seconds for name, seconds in row_s.items()}
    step = StepCost.fitted(
        step_seconds(settings, steps),
        comparison_s=comparison_s(settings),
        num_others=num_others(objective),
    )
    share = min(size for size in steps if 2 * size >= max(steps))
    of_two_s = two_workers_step_s(settings, share, steps[share])
    waiting_s = None if of_two_s is None else max(0.0, of_two_s - step.seconds(share, 2 * share))
    return Rates(
        device="cuda" if settings.training.on_gpu else "cpu",
        hardware=hardware(),
        measured_at=measured_at.isoformat(timespec="seconds"),
        load_average=load_average,
        read_s=material_s["read_rows_per_s"],
        featurize_s=material_s.get("featurize_rows_per_s", 0.0),
        collate_s=material_s["collate_rows_per_s"],
        step=step,
        waiting_s=waiting_s,
        largest_share=max(steps),
        gradient_bytes=num_gradient_bytes(settings),
        embedding_bytes=num_embedding_bytes(settings),
    )


def num_embedding_bytes(settings: PretrainSettings) -> int:
    """Count what workers exchange of a material's embeddings, in float32, all views and heads."""
    objective = settings.objective
    num_embeddings = len(settings.modalities.names) * objective.num_views * objective.num_heads
    return 4 * settings.embedding_dim * num_embeddings


def batch_sizes(training: TrainingSettings) -> list[int]:
    """Give up to three sizes, the largest one a worker's share where that is not too large.

    Each is cut into as many micro-batches as the run's, so that the smallest may have a material in
    each: batch normalisation allows that. An objective compares two materials at least.
    """
    num_parts = training.num_micro_batches
    share = training.global_batch_size // training.num_workers if training.on_gpu else 0
    largest = max(LARGEST_BATCH_SIZE, 2 * num_parts, min(share, LARGEST_BATCH_SIZE_ON_GPU))
    largest = min(largest, training.global_batch_size)
    sizes = {largest // part // num_parts * num_parts for part in (1, 2, 4)}
    return sorted(size for size in sizes if size >= 2)


def _stream(plan: RunPlan, sizes: Sequence[int]) -> tuple[dict[int, list[Step]], dict[str, float]]:
    """Take the first steps that a run with batches of each size would see, and time the stages.

    Returns:
        Steps by batch size, and for ``<stage>_rows_per_s`` the seconds that a row takes a core.
    """
    meter = _CpuMeter()
    steps: dict[int, list[Step]] = {size: [] for size in sizes}
    bar = tqdm(total=NUM_STEPS * sum(sizes), desc="measure", unit="material")
    with threadpool_limits(limits=1), bar:
        next(_steps(plan, sizes[0], StreamMeter()))  # what is imported and opened once
        gc.collect()  # a tenth of a second, which a run pays hardly ever
        for size in sizes:
            for step in islice(_steps(plan, size, meter), NUM_STEPS):
                steps[size].append(step)
                bar.update(size)
    rates = meter.read(elapsed_s=1.0)
    return steps, {name: 1 / rate for name, rate in rates.items() if rate}


def _steps(plan: RunPlan, batch_size: int, meter: StreamMeter) -> Iterator[Step]:
    """Give the steps of a run with batches of this size, ``NUM_STEPS`` at least."""
    # An epoch is a step at least, and a job may have fewer than are measured.
    training = plan.settings.training.model_copy(
        update={"global_batch_size": batch_size, "num_epochs": NUM_STEPS}
    )
    settings = plan.settings.model_copy(update={"training": training})
    stream = replace(replace(plan, settings=settings).stream(0, 1, _on_one_core), meter=meter)
    batches = stream.batches()
    return iter(lambda: list(islice(batches, training.num_micro_batches)), [])


class _CpuMeter(StreamMeter):
    """Counts what happens in this process by the time a core spends on it, however busy it is."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started_s = time.thread_time()
        yield
        self._add(name, time.thread_time() - started_s)


def _on_one_core(source: Source, units: Sequence[ReadUnit], num_records: int) -> Iterator[pa.Table]:
    """Read and featurize in this thread, as ``in_process`` does; see ``_timed``."""
    tables = (stamped(*_timed(source, unit)) for unit in units)
    return rebatched(tables, num_records * source.views.num_views)


def _timed(source: Source, unit: ReadUnit) -> tuple[pa.Table, Mapping[str, float]]:
    """Give a unit's features and the seconds of each stage.

    Reading waits for the storage, so it is wall time. Featurizing does not: it takes no longer than
    a core spent on both, whatever else the machine was busy with.
    """
    started_s = time.thread_time()
    features, seconds = source.timed_features(unit)
    both_s = time.thread_time() - started_s
    featurize_s = {name: min(wall_s, both_s) for name, wall_s in seconds.items() if name != "read"}
    return features, {**seconds, **featurize_s}
