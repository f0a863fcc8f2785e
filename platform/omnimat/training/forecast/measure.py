"""Measures the rates of a run here: its stream on one core, its steps on one and two workers."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator, Mapping, Sequence
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

Step = tuple[Batch, ...]
"""The micro-batches of a step."""


def measure(plan: RunPlan) -> Rates:
    """Read, featurize and train on a few batches of a run.

    Args:
        plan: plan of the run. Its data set must exist, and the run's folder is not touched. If it
            has a feature store that does not exist yet, the shards are read instead.
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
    """Count the bytes of a material's float32 embeddings: all modalities, views and heads."""
    objective = settings.objective
    num_embeddings = len(settings.modalities.encoders()) * objective.num_views * objective.num_heads
    return 4 * settings.embedding_dim * num_embeddings


def batch_sizes(training: TrainingSettings) -> list[int]:
    """Return up to three batch sizes, the largest being a worker's share unless that is too large.

    Each divides into as many micro-batches as the run's steps do. The smallest may have one
    material in each, which batch normalisation allows. Sizes are at least 2, because an objective
    compares materials with each other.
    """
    num_parts = training.num_micro_batches
    share = training.global_batch_size // training.num_workers if training.on_gpu else 0
    largest = max(LARGEST_BATCH_SIZE, 2 * num_parts, min(share, LARGEST_BATCH_SIZE_ON_GPU))
    largest = min(largest, training.global_batch_size)
    sizes = {largest // part // num_parts * num_parts for part in (1, 2, 4)}
    return sorted(size for size in sizes if size >= 2)


def _stream(plan: RunPlan, sizes: Sequence[int]) -> tuple[dict[int, list[Step]], dict[str, float]]:
    """Take the first steps of a run with batches of each size, and time the stages of the stream.

    Returns:
        The steps of each batch size, and for each ``<stage>_rows_per_s`` the seconds that one core
        needs per row.
    """
    # The CPU time that a core spends on a stage, however busy the machine is.
    meter = StreamMeter(clock=time.thread_time)
    steps: dict[int, list[Step]] = {size: [] for size in sizes}
    bar = tqdm(total=NUM_STEPS * sum(sizes), desc="measure", unit="material")
    with threadpool_limits(limits=1), bar:
        next(_steps(plan, sizes[0], StreamMeter()))  # imports modules and opens files once
        gc.collect()  # takes a tenth of a second, which a run hardly ever pays
        for size in sizes:
            for step in islice(_steps(plan, size, meter), NUM_STEPS):
                steps[size].append(step)
                bar.update(size)
    rates = meter.read(time.perf_counter())
    return steps, {name: 1 / rate for name, rate in rates.items() if rate}


def _steps(plan: RunPlan, batch_size: int, meter: StreamMeter) -> Iterator[Step]:
    """Yield the steps of a run with batches of this size, at least ``NUM_STEPS`` of them."""
    # A job may have fewer steps than are measured, but each epoch has at least one.
    training = plan.settings.training.model_copy(
        update={"global_batch_size": batch_size, "num_epochs": NUM_STEPS}
    )
    settings = plan.settings.model_copy(update={"training": training})
    stream = replace(replace(plan, settings=settings).stream(0, 1, _on_one_core), meter=meter)
    for share in stream.shares():
        stream.count(share)
        yield share.batches


def _on_one_core(source: Source, units: Sequence[ReadUnit], num_records: int) -> Iterator[pa.Table]:
    """Read and featurize in this thread, as ``in_process`` does, but timed by ``_timed``."""
    tables = (stamped(*_timed(source, unit)) for unit in units)
    return rebatched(tables, num_records * source.views.num_views)


def _timed(source: Source, unit: ReadUnit) -> tuple[pa.Table, Mapping[str, float]]:
    """Return a unit's features and the seconds of each stage.

    Reading waits for the storage, so it is measured in wall time. Featurizing never takes longer
    than the CPU time of both stages together, so it is capped by that: a machine that was busy with
    something else does not count.
    """
    started_s = time.thread_time()
    features, seconds = source.timed_features(unit)
    both_s = time.thread_time() - started_s
    featurize_s = {name: min(wall_s, both_s) for name, wall_s in seconds.items() if name != "read"}
    return features, {**seconds, **featurize_s}
