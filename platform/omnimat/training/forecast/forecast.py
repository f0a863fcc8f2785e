"""Forecasts of a run on more and more workers: a table for people, JSON for programs."""

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
    largest_share,
    predict,
)
from omnimat.training.forecast.rates import Rates
from omnimat.training.plan import RunPlan
from omnimat.training.settings import PretrainSettings

DEVICES = {"cpu": "CPU", "cuda": "GPU"}
EXTRAPOLATES_BEYOND = 4.0
"""A larger share than this many times the largest measured one counts as extrapolated."""


@dataclass(frozen=True)
class Prices:
    """Prices of the resources that a run occupies, in any currency.

    Attributes:
        gpu_hour: price of one GPU for an hour.
        core_hour: price of one CPU core for an hour.
    """

    gpu_hour: float = 0.0
    core_hour: float = 0.0


@dataclass(frozen=True)
class Forecast:
    """The forecast of a run on some number of workers.

    Attributes:
        machines: machines that the run would use.
        prediction: speed and duration of the run.
        cost: cost of the run, including its start.
        num_featurizers_needed: number of featurizers with which workers never wait for data.
    """

    machines: Machines
    prediction: Prediction
    cost: float
    num_featurizers_needed: int

    @property
    def share(self) -> int:
        """Largest number of materials that a worker has in a step."""
        return largest_share(self.prediction.global_batch_size, self.machines.num_workers)


def work_of(plan: RunPlan) -> Work:
    """Return the amount of work of a run."""
    is_ahead = plan.store is not None and not plan.store.is_complete
    return Work(
        num_steps=plan.num_steps,
        global_batch_size=plan.settings.training.global_batch_size,
        num_ahead=plan.manifest.num_records if is_ahead else 0,
        num_ahead_actors=plan.settings.stream.num_featurizer_actors,
        featurizes_on_the_way=plan.store is None,
    )


def machines_of(settings: PretrainSettings) -> Machines:
    """Give what a run occupies if it shares nothing."""
    training, stream = settings.training, settings.stream
    return Machines(
        num_workers=training.num_workers,
        num_featurizers=training.num_workers * stream.num_actors,
        device="cuda" if training.on_gpu else "cpu",
        cores_per_worker=1 if training.on_gpu else training.threads_per_worker,
    )


def forecasts(plan: RunPlan, rates: Rates, largest: Machines, prices: Prices) -> Iterator[Forecast]:
    """Predict a run on 1, 2, 4, ... and ``largest.num_workers`` workers.

    Args:
        plan: plan of the run.
        rates: rates that were measured for the run.
        largest: the largest set of machines. Smaller sets have the same number of featurizers per
            worker.
        prices: prices of the resources that the run occupies.
    """
    work = work_of(plan)
    featurizers_per_worker = largest.num_featurizers / largest.num_workers
    for num_workers in _worker_counts(largest.num_workers):
        num_featurizers = round(num_workers * featurizers_per_worker)
        machines = replace(largest, num_workers=num_workers, num_featurizers=num_featurizers)
        prediction = predict(rates, work, machines)
        num_gpus = num_workers if machines.device == "cuda" else 0
        per_hour = machines.num_busy_cores * prices.core_hour + num_gpus * prices.gpu_hour
        cost = per_hour * prediction.run_s / 3600
        needed = featurizers_needed(rates, work, machines)
        yield Forecast(machines, prediction, cost, needed)


def table(rows: list[Forecast]) -> Table:
    """Lay out forecasts as a table for a terminal."""
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
    """Say in sentences what the forecasts, sorted by number of workers, rest on."""
    machines, prediction = rows[-1].machines, rows[-1].prediction
    featurizes = f" and featurizes it in {1e3 * rates.featurize_s:.3g} ms"
    lines = [
        f"measured {rates.measured_at} on {rates.measured_on}: a core reads a material in "
        f"{1e3 * rates.read_s:.3g} ms{featurizes if rates.featurize_s else ''}; a "
        f"worker needs {1e3 * rates.step.fixed_s:.3g} ms per step and "
        f"{1e3 * rates.step.per_sample_s:.3g} ms per material",
        "the storage is taken to be as fast as where this was measured; the first step comes "
        f"{START_S:g} s after submission; checkpoints, failures and nodes that have yet to start "
        "are not counted",
        f"workers exchange data at {machines.interconnect_gbit_per_s:g} Gbit/s, not overlapping "
        "with computation",
    ]
    if machines.num_workers > 1 and rates.waiting_s is not None:
        lines.append(
            f"two workers wait {1e3 * rates.waiting_s:.3g} ms per step for each other, as measured "
            "on one machine; it is assumed that each doubling of the workers adds as much"
        )
    if machines.speedup != 1.0:
        lines.append(
            f"a worker is {machines.speedup:g} times as fast as the one measured: assumed, not "
            "measured"
        )
    if machines.num_cores is None:
        lines.append(
            f"each featurizer has one core and each worker {machines.cores_per_worker} to itself"
        )
    if prediction.ahead_s:
        lines.append(
            "the feature store is not there yet; it is assumed to be read as fast as the shards"
        )
    return [*lines, *_doubts(rates, rows)]


def _doubts(rates: Rates, rows: Sequence[Forecast]) -> Iterator[str]:
    """Say what makes the rates, or some of the forecasts, less reliable."""
    if rates.load_average > rates.hardware["cores"]:
        yield (
            f"the rates were measured while {rates.load_average:.3g} processes wanted the "
            f"{rates.hardware['cores']} cores: plan with --measure-again when the machine is quiet"
        )
    if rates.waiting_s is None and rows[-1].machines.num_workers > 1:
        yield (
            "how long workers wait for each other is left out; it was not measured, because the "
            "machine had no room for two"
        )
    far = [row for row in rows if row.share > EXTRAPOLATES_BEYOND * rates.largest_share]
    if far:
        yield (
            f"steps were measured with up to {rates.largest_share} materials per worker, so the "
            f"forecasts for {far[-1].machines.num_workers} or fewer workers, with "
            f"{far[-1].share} or more materials each, are extrapolated"
        )


def as_json(row: Forecast) -> dict[str, Any]:
    """Return a forecast as values that JSON can hold."""
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


def _worker_counts(largest: int) -> list[int]:
    return [*(2**i for i in range(largest.bit_length()) if 2**i < largest), largest]
