"""How fast a prediction will be and what it will cost, from the rates of some of its rows here."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import torch
from rich.table import Table
from threadpoolctl import threadpool_limits

from omnimat.base.duration import duration
from omnimat.base.errors import UserError
from omnimat.base.files import parquet_bytes
from omnimat.inference.unpacked import Unpacked
from omnimat.prediction.answers import Asked
from omnimat.prediction.featurizing import features_and_told
from omnimat.prediction.plan import Plan
from omnimat.prediction.rows import num_rows_of, read
from omnimat.prediction.settings import AppliedSettings
from omnimat.training.forecast.prediction import START_S
from omnimat.training.forecast.request import Request

NUM_SPANS, ITEMS_PER_SPAN = 4, 64
"""What is measured: so many items of the input at so many places, at the first of which the
networks warm up."""

T = TypeVar("T")


@dataclass(frozen=True)
class Rates:
    """Seconds that a row takes.

    Attributes:
        num_measured: how many rows were measured.
        rows_per_item: how many rows an item of the input turned out to hold.
        read_s: reading, on a CPU core.
        featurize_s: featurizing, on a CPU core.
        answer_s: the networks and writing, on a CPU core or a GPU.
    """

    num_measured: int
    rows_per_item: float
    read_s: float
    featurize_s: float
    answer_s: float


@dataclass(frozen=True)
class Forecast:
    """The forecast of a prediction on some actors.

    Attributes:
        num_rows: how many rows the input has, if its other items hold as many as those measured.
        num_featurizers: how many actors read and featurize.
        num_models: how many actors apply the model.
        on_gpu: whether each of these has a GPU.
        num_cores: how many CPU cores all share; None for one each.
        rates: what a row takes.
        featurizer_num_cpus: how many CPUs are reserved for each actor that featurizes.
        model_num_cpus: how many for each that applies the model, also beside a GPU.
    """

    num_rows: int
    num_featurizers: int
    num_models: int
    on_gpu: bool
    num_cores: float | None
    rates: Rates
    featurizer_num_cpus: float = 1.0
    model_num_cpus: float = 1.0

    @property
    def speeds(self) -> dict[str, float]:
        """Rows per second that each part can take; the slowest decides."""
        feature_s = self.rates.read_s + self.rates.featurize_s
        core_s = feature_s + (0.0 if self.on_gpu else self.rates.answer_s)
        return {
            "featurizers": self.num_featurizers / feature_s,
            "models": self.num_models / self.rates.answer_s,
            "cores": math.inf if self.num_cores is None else self.num_cores / core_s,
        }

    @property
    def rows_per_s(self) -> float:
        """Rows per second of the job."""
        return min(self.speeds.values())

    @property
    def limit(self) -> str:
        """The part for which the others wait."""
        return min(self.speeds, key=lambda name: self.speeds[name])

    @property
    def run_s(self) -> float:
        """Seconds of the whole job."""
        return START_S + self.num_rows / self.rows_per_s

    def cost(self, request: Request) -> float:
        """Give the price of the resources that are reserved, in the currency of the prices."""
        reserved = self.num_featurizers * self.featurizer_num_cpus
        reserved += self.num_models * self.model_num_cpus
        num_cores = reserved if self.num_cores is None else min(reserved, self.num_cores)
        num_gpus = self.num_models if self.on_gpu else 0
        per_hour = num_cores * request.core_hour + num_gpus * request.gpu_hour
        return per_hour * self.run_s / 3600

    def as_json(self, request: Request) -> dict[str, Any]:
        """Give it as values that JSON can hold."""
        return {
            "num_rows": self.num_rows,
            "num_featurizers": self.num_featurizers,
            "num_models": self.num_models,
            "device": "cuda" if self.on_gpu else "cpu",
            "rows_per_s": self.rows_per_s,
            "run_s": self.run_s,
            "bottleneck": self.limit,
            "cost": self.cost(request),
        }


def forecast(settings: AppliedSettings, plan: Plan, request: Request) -> Forecast:
    """Read, featurize and answer some rows of the input here, and forecast the whole job.

    Raises:
        UserError: nothing says how fast a GPU is, or the input has no rows.
    """
    wants_gpu = request.num_gpus is not None or settings.model_resources.get("GPU", 0.0) > 0
    has_gpu = torch.cuda.is_available() and (wants_gpu or settings.gpus_per_model == "auto")
    rates = measured(settings, plan, torch.device("cuda" if has_gpu else "cpu"))
    if wants_gpu and not has_gpu:
        if request.gpu_speedup is None:
            raise UserError(
                "the model was measured on a CPU alone and is to run on GPUs: plan it on a machine "
                "with a GPU, or say with --gpu-speedup how many times as fast as one core here a "
                "GPU is taken to be"
            )
        rates = replace(rates, answer_s=rates.answer_s / request.gpu_speedup)
    return Forecast(
        num_rows=round(plan.rows.num_items() * rates.rows_per_item),
        num_featurizers=settings.num_featurizer_actors,
        num_models=request.num_gpus or settings.num_models,
        on_gpu=wants_gpu or has_gpu,
        num_cores=request.num_cores,
        rates=rates,
        featurizer_num_cpus=settings.featurizer_num_cpus,
        model_num_cpus=settings.model_num_cpus,
    )


def measured(settings: AppliedSettings, plan: Plan, device: torch.device) -> Rates:
    """Measure rows at a few places of the input, on one core and one device.

    Raises:
        UserError: the input has no rows.
    """
    num_items = num_rows_of(plan.rows)
    asked = Asked(Unpacked(plan.package, device), settings.wanted, settings.modality)
    span = min(num_items, ITEMS_PER_SPAN)
    starts = np.unique(np.linspace(0, num_items - span, NUM_SPANS).astype(int))
    seconds, count = np.zeros(3), 0
    with threadpool_limits(1):
        for place, start in enumerate([starts[0], *starts]):
            spent, found = _span(settings, plan, asked, int(start))
            if place > 0:  # the first one warms up
                seconds, count = seconds + spent, count + found
    read_s, featurize_s, answer_s = (seconds / max(count, 1)).tolist()
    return Rates(count, count / (span * len(starts)), read_s, featurize_s, answer_s)


def table(found: Forecast, request: Request) -> Table:
    """Lay out a forecast for a terminal."""
    shown = Table()
    cells = {
        "GPU models" if found.on_gpu else "CPU models": str(found.num_models),
        "featurizers": str(found.num_featurizers),
        "rows": f"{found.num_rows:,}",
        "rows/s": f"{found.rows_per_s:,.0f}",
        "job takes": duration(found.run_s),
        "limit": found.limit,
    }
    if cost := found.cost(request):
        cells["cost"] = f"{cost:,.2f}"
    for column in cells:
        shown.add_column(column, justify="left" if column == "limit" else "right", no_wrap=True)
    shown.add_row(*cells.values())
    return shown


def assumptions(found: Forecast, request: Request) -> list[str]:
    """Say in sentences what a forecast rests on."""
    rates = found.rates
    needed = math.ceil(found.speeds["models"] * (rates.read_s + rates.featurize_s))
    lines = [
        f"measured on {rates.num_measured} rows of the input here: a core reads one in "
        f"{1e3 * rates.read_s:.3g} ms and featurizes it in {1e3 * rates.featurize_s:.3g} ms; a "
        f"model answers in {1e3 * rates.answer_s:.3g} ms",
        f"with {needed} featurizers the models never wait",
        f"the storage is taken to be as fast as where this was measured; the first part comes "
        f"{START_S:g} s after submission",
    ]
    if request.gpu_speedup is not None and found.on_gpu and not torch.cuda.is_available():
        lines.append(
            f"a GPU is {request.gpu_speedup:g} times as fast as a core here: assumed, not measured"
        )
    if rates.rows_per_item != 1:
        lines.append(
            f"an item of the input holds {rates.rows_per_item:,.3g} rows: counted in those that "
            "were measured, and assumed of all others"
        )
    if found.num_cores is None:
        lines.append("each actor has a core to itself")
    return lines


def _span(
    settings: AppliedSettings, plan: Plan, asked: Asked, start: int
) -> tuple[np.ndarray[Any, Any], int]:
    """Take some rows all the way; give the seconds of each stage, and how many rows they are."""
    records, read_s = _timed(
        lambda: read(plan.rows, start, start + ITEMS_PER_SPAN, settings.item_limits)
    )
    features, featurize_s = _timed(
        lambda: features_and_told(records, plan.featurizers, settings.wanted)
    )
    _, answer_s = _timed(lambda: _answered(asked, features))
    return np.array([read_s, featurize_s, answer_s]), len(records)


def _answered(asked: Asked, features: pa.Table) -> bytes:
    return parquet_bytes(asked.answer(features).table)


def _timed(action: Callable[[], T]) -> tuple[T, float]:
    started_s = time.perf_counter()
    return action(), time.perf_counter() - started_s
