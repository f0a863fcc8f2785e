"""From a run's plan to what is forecast of it, with rates measured now if they never were."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.training.forecast.forecast import Forecast, Prices, assumptions, forecasts, machines_of
from omnimat.training.forecast.measure import measure
from omnimat.training.forecast.rates import Rates, known_rates, rates_file
from omnimat.training.plan import RunPlan
from omnimat.training.settings import PretrainSettings


@dataclass(frozen=True)
class Request:
    """What a forecast is asked for.

    Attributes:
        num_gpus: the number of workers, each of which has a GPU; None for the workers of the job.
        num_cores: how many CPU cores all processes share; None if each process has its own.
        gpu_speedup: how many times as fast as one CPU core here a GPU is taken to be, if steps
            were measured on a CPU alone.
        interconnect_gbit_per_s: how fast workers exchange data.
        gpu_hour: price of one GPU for an hour, in any currency.
        core_hour: price of one CPU core for an hour.
        measure_again: measure even if the rates of such a run are known.
    """

    num_gpus: int | None = None
    num_cores: float | None = None
    gpu_speedup: float | None = None
    interconnect_gbit_per_s: float = 10.0
    gpu_hour: float = 0.0
    core_hour: float = 0.0
    measure_again: bool = False


def settled(settings: PretrainSettings, request: Request) -> PretrainSettings:
    """Give the settings of the run that the request is about.

    ``auto`` is a GPU if this machine has one.

    Raises:
        UserError: the batch is too small for so many workers.
    """
    training = settings.training
    num_workers = request.num_gpus or training.num_workers
    training.check_batch_is_enough_for(num_workers)
    use_gpu = torch.cuda.is_available() if training.use_gpu == "auto" else training.use_gpu
    use_gpu = use_gpu or request.num_gpus is not None
    return _trained(settings, num_workers=num_workers, use_gpu=use_gpu)


def answer(
    plan: RunPlan, workspace: Workspace, request: Request
) -> tuple[list[Forecast], list[str]]:
    """Forecast a run whose settings are settled.

    Returns:
        Forecasts for more and more workers, and sentences that say what they rest on.

    Raises:
        UserError: nothing says how fast a GPU is.
    """
    rates = _rates(plan, workspace, again=request.measure_again)
    is_assumed = plan.settings.training.on_gpu and rates.device == "cpu"
    speedup = request.gpu_speedup if is_assumed else 1.0
    if speedup is None:
        raise UserError(
            f"{plan.name} was measured on a CPU alone and is to run on GPUs: plan it once on a "
            "machine with a GPU and the same storage_path, or say with --gpu-speedup how many "
            "times as fast as one core here a GPU is taken to be"
        )
    largest = replace(
        machines_of(plan.settings),
        num_cores=request.num_cores,
        speedup=speedup,
        interconnect_gbit_per_s=request.interconnect_gbit_per_s,
    )
    prices = Prices(request.gpu_hour, request.core_hour)
    rows = list(forecasts(plan, rates, largest, prices))
    return rows, assumptions(rates, rows)


def _rates(plan: RunPlan, workspace: Workspace, *, again: bool) -> Rates:
    """Find the rates of the device asked for; without such a device here, those of this CPU."""
    found = None if again else known_rates(plan, workspace)
    if found is not None:
        return found
    if plan.settings.training.on_gpu and not torch.cuda.is_available():
        on_cpu = replace(plan, settings=_trained(plan.settings, use_gpu=False))
        return _rates(on_cpu, workspace, again=again)
    rates = measure(plan)
    rates.save(rates_file(plan, workspace))
    return rates


def _trained(settings: PretrainSettings, **update: Any) -> PretrainSettings:
    """Give settings with other values of ``training``, which are not validated."""
    training = settings.training.model_copy(update=update)
    return settings.model_copy(update={"training": training})
