"""Measures the rates of a run on this machine: its stream on one core, its steps on one worker."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from tqdm import tqdm

from omnimat.features.batch import Batch
from omnimat.materials.provenance import hardware
from omnimat.planning.rates import Rates, StepCost
from omnimat.stream.timing import StreamMeter
from omnimat.stream.worker import in_process
from omnimat.training.plan import RunPlan
from omnimat.training.rehearsal import NUM_WARM_UP_STEPS, num_gradient_bytes, step_seconds

LARGEST_BATCH_SIZE = 128
NUM_STEPS = NUM_WARM_UP_STEPS + 5

Step = list[Batch]
"""Its micro-batches."""


def measure(plan: RunPlan) -> Rates:
    """Read, featurize and train on a few batches of a run, in this process alone.

    Args:
        plan: of the run, whose data set must be there; its folder is not touched. A feature store
            that is not there yet is done without.
    """
    if plan.store is not None and not plan.store.is_complete:
        plan = replace(plan, store=None)
    settings, meter = plan.settings, StreamMeter()
    sizes = _batch_sizes(settings.training.global_batch_size, settings.training.num_micro_batches)
    with tqdm(total=NUM_STEPS * sum(sizes), desc="measure", unit="material") as progress:
        steps = {size: _steps(plan, size, meter, progress) for size in sizes}
    row_s = {name: 1 / rate for name, rate in meter.read(elapsed_s=1.0).items() if rate}
    material_s = {name: settings.objective.num_views * seconds for name, seconds in row_s.items()}
    return Rates(
        device="cuda" if settings.training.on_gpu else "cpu",
        hardware=hardware(),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        read_s=material_s["read_rows_per_s"],
        featurize_s=material_s.get("featurize_rows_per_s", 0.0),
        collate_s=material_s["collate_rows_per_s"],
        step=StepCost.fitted(step_seconds(settings, steps)),
        gradient_bytes=num_gradient_bytes(settings),
        embedding_bytes=4 * settings.embedding_dim * len(settings.modalities.names),
    )


def _batch_sizes(global_batch_size: int, num_micro_batches: int) -> list[int]:
    """Give up to three sizes, the largest one that of the run where that is not too large."""
    largest = min(global_batch_size, max(LARGEST_BATCH_SIZE, 2 * num_micro_batches))
    sizes = {largest // part // num_micro_batches * num_micro_batches for part in (1, 2, 4)}
    return sorted(size for size in sizes if size >= 2 * num_micro_batches)


def _steps(plan: RunPlan, batch_size: int, meter: StreamMeter, progress: tqdm[Any]) -> list[Step]:
    """Take the first batches that a run with batches of this size would see."""
    training = plan.settings.training.model_copy(update={"global_batch_size": batch_size})
    settings = plan.settings.model_copy(update={"training": training})
    stream = replace(replace(plan, settings=settings).stream(0, 1, in_process), meter=meter)
    batches = stream.batches()
    steps = []
    for _ in range(NUM_STEPS):
        steps.append(list(islice(batches, training.num_micro_batches)))
        progress.update(batch_size)
    return steps
