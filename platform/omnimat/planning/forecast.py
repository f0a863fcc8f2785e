"""What a run would take on more and more workers: a table for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from rich.table import Table

from omnimat.materials.duration import duration
from omnimat.materials.errors import UserError
from omnimat.planning.prediction import (
    START_S,
    Machines,
    Prediction,
    Work,
    featurizers_needed,
    predict,
)
from omnimat.planning.rates import Rates
from omnimat.training.plan import RunPlan


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
        num_cores: that it occupies.
        cost: of it, start included.
        num_featurizers_needed: so that its workers never wait for data.
    """

    machines: Machines
    prediction: Prediction
    num_cores: float
    cost: float
    num_featurizers_needed: int


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


def forecasts(
    plan: RunPlan, rates: Rates, largest: Machines, prices: Prices, *, use_gpu: bool
) -> Iterator[Forecast]:
    """Predict a run on 1, 2, 4, ... and ``largest.num_workers`` workers.

    Args:
        plan: of the run.
        rates: measured for it.
        largest: machines; fewer workers have as many featurizers each.
        prices: of what it occupies.
        use_gpu: each worker trains on a GPU.

    Raises:
        UserError: the batch cannot be cut into so many equal shares.
    """
    work = work_of(plan)
    if work.global_batch_size % largest.num_workers:
        raise UserError(
            f"training.global_batch_size {work.global_batch_size} does not divide by "
            f"{largest.num_workers} workers; plan for another number, or set another batch size"
        )
    each = largest.num_featurizers / largest.num_workers
    for num_workers in _worker_counts(work.global_batch_size, largest.num_workers):
        machines = replace(
            largest, num_workers=num_workers, num_featurizers=round(num_workers * each)
        )
        prediction = predict(rates, work, machines)
        num_cores = machines.num_cores or num_workers + machines.num_featurizers
        per_hour = num_cores * prices.core_hour + use_gpu * num_workers * prices.gpu_hour
        cost = per_hour * prediction.run_s / 3600
        needed = featurizers_needed(rates, work, machines)
        yield Forecast(machines, prediction, num_cores, cost, needed)


def table(rows: list[Forecast]) -> Table:
    """Lay forecasts out for a terminal."""
    has_price = any(row.cost for row in rows)
    shown = Table()
    columns = [
        "workers",
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
    first = rows[0]
    for row in rows:
        speedup = row.prediction.samples_per_s / first.prediction.samples_per_s
        cells = [
            str(row.machines.num_workers),
            str(row.machines.num_featurizers),
            str(row.num_featurizers_needed),
            f"{row.num_cores:g}",
            f"{row.prediction.samples_per_s:,.0f}",
            f"{speedup * first.machines.num_workers / row.machines.num_workers:.0%}",
            duration(row.prediction.run_s),
            row.prediction.bottleneck,
        ]
        shown.add_row(*cells, *([f"{row.cost:,.2f}"] if has_price else []))
    return shown


def assumptions(rates: Rates, machines: Machines) -> list[str]:
    """Say what a forecast rests on, measured or not."""
    where = ", ".join(rates.hardware.get("gpus") or [rates.hardware["cpu"]])
    lines = [
        f"measured {rates.measured_at} on {where}: a core reads a material in "
        f"{1e3 * rates.read_s:.3g} ms and featurizes it in {1e3 * rates.featurize_s:.3g} ms; a "
        f"worker takes {1e3 * rates.step.fixed_s:.3g} ms a step and "
        f"{1e3 * rates.step.per_sample_s:.3g} ms a material",
        f"reading is as fast as from the storage there; {START_S:g} s from submission to the first "
        "step; no time for checkpoints, failures, or nodes that have yet to start",
        f"workers exchange at {machines.interconnect_gbit_per_s:g} Gbit/s, without overlap",
    ]
    if machines.speedup != 1.0:
        lines.append(
            f"a worker is {machines.speedup:g} times as fast as the one measured: assumed, not "
            "measured"
        )
    if machines.num_cores is None:
        lines.append("each worker and each featurizer has a core of its own")
    return lines


def as_json(row: Forecast) -> dict[str, Any]:
    """Give a forecast as plain values."""
    return {
        "num_workers": row.machines.num_workers,
        "num_featurizers": row.machines.num_featurizers,
        "num_featurizers_needed": row.num_featurizers_needed,
        "num_cores": row.num_cores,
        "samples_per_s": row.prediction.samples_per_s,
        "workers_per_s": row.prediction.workers_per_s,
        "featurizers_per_s": row.prediction.featurizers_per_s,
        "run_s": row.prediction.run_s,
        "bottleneck": row.prediction.bottleneck,
        "cost": row.cost,
    }


def _worker_counts(global_batch_size: int, largest: int) -> list[int]:
    powers = [2**i for i in range(largest.bit_length()) if 2**i < largest]
    return [n for n in (*powers, largest) if global_batch_size % n == 0]
