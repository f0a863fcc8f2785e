"""A pretrain job's time, cost and bottleneck, before it is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from omnimat.job.devices import on_devices
from omnimat.job.load import load
from omnimat.job.spec import PretrainJob, room_settings
from omnimat.materials.errors import UserError
from omnimat.materials.workspace import Workspace
from omnimat.planning.forecast import Forecast, Prices, assumptions, forecasts, work_of
from omnimat.planning.measure import measure
from omnimat.planning.prediction import Machines, predict
from omnimat.planning.rates import Rates, rates_file
from omnimat.training.plan import RunPlan, make_plan
from omnimat.training.settings import PretrainSettings

FREE = Prices()


def forecast_job(
    path: Path,
    overrides: Sequence[str],
    *,
    num_gpus: int | None = None,
    num_cores: float | None = None,
    gpu_speedup: float | None = None,
    interconnect_gbit_per_s: float = 10.0,
    prices: Prices = FREE,
    measures_again: bool = False,
) -> tuple[list[Forecast], list[str]]:
    """Predict a job from rates that were measured for it, now where they never were.

    Args:
        path: of a pretrain job.
        overrides: ``key.key=value``.
        num_gpus: workers, each on a GPU; None for the workers of the job file.
        num_cores: that all processes share; None: each has one of its own.
        gpu_speedup: of a GPU against what was measured on a CPU.
        interconnect_gbit_per_s: between workers.
        prices: of what the run occupies.
        measures_again: although there are rates.

    Returns:
        Forecasts for more and more workers, and what they rest on.

    Raises:
        UserError: the job cannot be predicted as it is.
    """
    job = on_devices(load(path, overrides).job, torch.cuda.device_count())
    if not isinstance(job, PretrainJob):
        raise UserError(f"{path}: kind {job.kind} is not planned; give a job of kind pretrain")
    workspace = Workspace.open(job.storage_path)
    settings = room_settings(job, PretrainSettings).located(workspace)
    use_gpu = num_gpus is not None or settings.training.on_gpu
    rates = _rates(job.name, settings, workspace, use_gpu=use_gpu, again=measures_again)
    if use_gpu and rates.device == "cpu" and gpu_speedup is None:
        raise UserError(
            f"{path}: it was measured on a CPU alone and is to run on GPUs: plan it once on a "
            "machine with a GPU and the same storage_path, or say by --gpu-speedup how many times "
            "as fast as one core here a GPU is taken to be"
        )
    plan = make_plan(job.name, settings, workspace)
    largest = replace(
        _machines(settings, num_gpus or settings.training.num_workers),
        num_cores=num_cores,
        speedup=(gpu_speedup or 1.0) if use_gpu and rates.device == "cpu" else 1.0,
        interconnect_gbit_per_s=interconnect_gbit_per_s,
    )
    rows = list(forecasts(plan, rates, largest, prices, use_gpu=use_gpu))
    return rows, assumptions(rates, largest)


def expectation(plan: RunPlan, workspace: Workspace) -> str:
    """Say in a line how fast a run should be and what limits it, where its rates are known."""
    settings = plan.settings
    rates = known_rates(settings, workspace)
    if rates is None:
        return "expected speed: not known; omnimat plan measures what this job takes"
    expected = predict(rates, work_of(plan), _machines(settings, settings.training.num_workers))
    return (
        f"expected: {expected.samples_per_s:,.0f} samples/s, limited by {expected.bottleneck} "
        f"(workers could take {expected.workers_per_s:,.0f}, what feeds them gives "
        f"{expected.featurizers_per_s:,.0f}; as measured {rates.measured_at})"
    )


def known_rates(settings: PretrainSettings, workspace: Workspace) -> Rates | None:
    """Give what was measured for such a run on its kind of device, here or elsewhere."""
    try:
        return Rates.load(rates_file(settings, workspace))
    except FileNotFoundError:
        return None


def _rates(
    name: str, settings: PretrainSettings, workspace: Workspace, *, use_gpu: bool, again: bool
) -> Rates:
    """Find the rates of the device asked for; without such a device here, those of this CPU."""
    wanted = _on(settings, use_gpu=use_gpu)
    found = None if again else known_rates(wanted, workspace)
    if found is None and use_gpu and not torch.cuda.is_available():
        wanted = _on(settings, use_gpu=False)
        found = None if again else known_rates(wanted, workspace)
    if found is None:
        found = measure(make_plan(name, wanted, workspace))
        found.save(rates_file(wanted, workspace))
    return found


def _on(settings: PretrainSettings, *, use_gpu: bool) -> PretrainSettings:
    training = settings.training.model_copy(update={"use_gpu": use_gpu})
    return settings.model_copy(update={"training": training})


def _machines(settings: PretrainSettings, num_workers: int) -> Machines:
    stream = settings.stream
    each = 1 if stream.read_from == "store" else stream.num_featurizers
    return Machines(num_workers, num_workers * each)
