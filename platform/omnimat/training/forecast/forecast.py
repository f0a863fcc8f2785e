"""What a run would take on more and more workers: a table for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.table import Table

from omnimat.base.duration import duration
from omnimat.training.forecast.prediction import (
    START_S,
    Machines,
    Prediction,
    Work,
    featurizers_needed,
    predict,
)
from omnimat.training.forecast.rates import Rates
from omnimat.training.plan import RunPlan
from omnimat.training.settings import TrainingSettings

DEVICES = {"cpu": "CPU", "cuda": "GPU"}
EXTRAPOLATES_BEYOND = 4.0
"""Times the largest share that was measured."""


@dataclass(frozen=True)
class Prices:
    """Of what a run occupies, in any currency.

    Attributes:
        gpu_hour: of one GPU.
        core_hour: of one CPU core.
    """

    gpu_hour: float = 0.0
    core_hour: float = 0.0


@dataclass(frozen=True)
class Forecast:
    """A run on so many workers.

    Attributes:
        machines: it runs on.
        prediction: of it.
        cost: of it, start included.
        num_featurizers_needed: so that its workers never wait for data.
    """

    machines: Machines
    prediction: Prediction
    cost: float
    num_featurizers_needed: int

    @property
    def share(self) -> float:
        """Materials of each worker in a step."""
        return self.prediction.global_batch_size / self.machines.num_workers


def work_of(plan: RunPlan) -> Work:
    """Say what a run does."""
    is_ahead = plan.store is not None and not plan.store.is_complete
    return Work(
        num_steps=plan.num_steps,
        global_batch_size=plan.settings.training.global_batch_size,
        num_ahead=plan.manifest.num_records if is_ahead else 0,
        num_ahead_actors=plan.settings.stream.num_featurizers,
        featurizes_on_the_way=plan.store is None,
    )


def forecasts(plan: RunPlan, rates: Rates, largest: Machines, prices: Prices) -> Iterator[Forecast]:
    """Predict a run on 1, 2, 4, ... and ``largest.num_workers`` workers, where they can share.

    Args:
        plan: of the run.
        rates: measured for it.
        largest: machines, whose workers have equal shares of the batch; fewer workers have as many
            featurizers each.
        prices: of what it occupies.
    """
    work = work_of(plan)
    each = largest.num_featurizers / largest.num_workers
    for num_workers in _worker_counts(plan.settings.training, largest.num_workers):
        machines = replace(
            largest, num_workers=num_workers, num_featurizers=round(num_workers * each)
        )
        prediction = predict(rates, work, machines)
        num_gpus = num_workers if machines.device == "cuda" else 0
        per_hour = machines.num_busy_cores * prices.core_hour + num_gpus * prices.gpu_hour
        cost = per_hour * prediction.run_s / 3600
        needed = featurizers_needed(rates, work, machines)
        yield Forecast(machines, prediction, cost, needed)


def table(rows: list[Forecast]) -> Table:
    """Lay forecasts out for a terminal."""
    has_price = any(row.cost for row in rows)
    shown = Table()
    first = rows[0]
    columns = [
        DEVICES[first.machines.device] + " workers",
        "featurizers",
        "needed",
        "cores",
        "samples/s",
        "efficiency",
        "run takes",
        "limit",
    ]
    for column in [*columns, *(["cost"] if has_price else [])]:
        shown.add_column(column, justify="left" if column == "limit" else "right", no_wrap=True)
    for row in rows:
        speedup = row.prediction.samples_per_s / first.prediction.samples_per_s
        cells = [
            str(row.machines.num_workers),
            str(row.machines.num_featurizers),
            str(row.num_featurizers_needed),
            f"{row.machines.num_busy_cores:g}",
            f"{row.prediction.samples_per_s:,.0f}",
            f"{speedup * first.machines.num_workers / row.machines.num_workers:.0%}",
            duration(row.prediction.run_s),
            row.prediction.bottleneck,
        ]
        shown.add_row(*cells, *([f"{row.cost:,.2f}"] if has_price else []))
    return shown


def assumptions(rates: Rates, rows: Sequence[Forecast]) -> list[str]:
    """Say what forecasts, of ever more workers, rest on, measured or not."""
    machines, prediction = rows[-1].machines, rows[-1].prediction
    featurizes = f" and featurizes it in {1e3 * rates.featurize_s:.3g} ms"
    lines = [
        f"measured {rates.measured_at} on {rates.measured_on}: a core reads a material in "
        f"{1e3 * rates.read_s:.3g} ms{featurizes if rates.featurize_s else ''}; a "
        f"worker takes {1e3 * rates.step.fixed_s:.3g} ms a step and "
        f"{1e3 * rates.step.per_sample_s:.3g} ms a material",
        f"reading is as fast as from the storage there; {START_S:g} s from submission to the first "
        "step; no time for checkpoints, failures, or nodes that have yet to start",
        f"workers exchange at {machines.interconnect_gbit_per_s:g} Gbit/s, without overlap",
    ]
    if machines.num_workers > 1 and rates.waiting_s is not None:
        lines.append(
            f"two workers wait for each other {1e3 * rates.waiting_s:.3g} ms a step, as measured "
            "on one machine, and as much again at each doubling, which is assumed"
        )
    if machines.speedup != 1.0:
        lines.append(
            f"a worker is {machines.speedup:g} times as fast as the one measured: assumed, not "
            "measured"
        )
    if machines.num_cores is None:
        lines.append(
            f"each featurizer has a core of its own, each worker {machines.cores_per_worker}"
        )
    if prediction.ahead_s:
        lines.append("the feature store is not there yet: read as fast as the shards")
    return [*lines, *_doubts(rates, rows)]


def _doubts(rates: Rates, rows: Sequence[Forecast]) -> Iterator[str]:
    """Say what makes rates, or forecasts from them, worth less than the others."""
    if rates.load_average > rates.hardware["cores"]:
        yield (
            f"measured while {rates.load_average:.3g} processes wanted its "
            f"{rates.hardware['cores']} cores: plan with --measure-again when it is quiet"
        )
    if rates.waiting_s is None and rows[-1].machines.num_workers > 1:
        yield (
            "how long workers wait for each other was not measured, for want of room for two, and "
            "is left out"
        )
    far = [row for row in rows if row.share > EXTRAPOLATES_BEYOND * rates.largest_share]
    if far:
        yield (
            f"steps were measured with up to {rates.largest_share} materials a worker: forecasts "
            f"for {far[-1].machines.num_workers} workers and fewer, with {far[-1].share:g} and "
            "more each, are extrapolated"
        )


def as_json(row: Forecast) -> dict[str, Any]:
    """Give a forecast as plain values."""
    return {
        "num_workers": row.machines.num_workers,
        "device": row.machines.device,
        "num_featurizers": row.machines.num_featurizers,
        "num_featurizers_needed": row.num_featurizers_needed,
        "num_cores": row.machines.num_busy_cores,
        "samples_per_s": row.prediction.samples_per_s,
        "workers_per_s": row.prediction.workers_per_s,
        "featurizers_per_s": row.prediction.featurizers_per_s,
        "run_s": row.prediction.run_s,
        "bottleneck": row.prediction.bottleneck,
        "cost": row.cost,
    }


def _worker_counts(training: TrainingSettings, largest: int) -> list[int]:
    powers = [2**i for i in range(largest.bit_length()) if 2**i < largest]
    num_parts = training.num_micro_batches
    return [n for n in (*powers, largest) if training.global_batch_size % (n * num_parts) == 0]
