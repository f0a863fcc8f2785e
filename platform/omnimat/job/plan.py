"""A pretrain job's time, cost and bottleneck, before it is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.job.load import load
from omnimat.job.spec import PretrainJob, room_settings
from omnimat.training.forecast.forecast import Forecast, Prices, assumptions, forecasts, work_of
from omnimat.training.forecast.measure import measure
from omnimat.training.forecast.prediction import Machines, predict
from omnimat.training.forecast.rates import Rates, rates_file
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
    job = load(path, overrides).job
    if not isinstance(job, PretrainJob):
        raise UserError(f"{path}: kind {job.kind} is not planned; give a job of kind pretrain")
    workspace = Workspace.open(job.storage_path)
    settings = _asked(room_settings(job, PretrainSettings).located(workspace), num_gpus)
    plan = make_plan(job.name, settings, workspace)
    rates = _rates(plan, workspace, again=measures_again)
    is_assumed = settings.training.on_gpu and rates.device == "cpu"
    speedup = gpu_speedup if is_assumed else 1.0
    if speedup is None:
        raise UserError(
            f"{path}: it was measured on a CPU alone and is to run on GPUs: plan it once on a "
            "machine with a GPU and the same storage_path, or say by --gpu-speedup how many times "
            "as fast as one core here a GPU is taken to be"
        )
    largest = replace(
        _machines(settings),
        num_cores=num_cores,
        speedup=speedup,
        interconnect_gbit_per_s=interconnect_gbit_per_s,
    )
    rows = list(forecasts(plan, rates, largest, prices))
    return rows, assumptions(rates, rows)


def expectation(plan: RunPlan, workspace: Workspace) -> str:
    """Say in a line how fast a run should be and what limits it, where its rates are known."""
    try:
        rates = known_rates(plan, workspace)
    except UserError as error:  # no reason not to train
        return f"expected speed: not known; {error}"
    if rates is None:
        return "expected speed: not known; omnimat plan measures what this job takes"
    expected = predict(rates, work_of(plan), _machines(plan.settings))
    return (
        f"expected: {expected.samples_per_s:,.0f} samples/s, limited by {expected.bottleneck} "
        f"(workers could take {expected.workers_per_s:,.0f}, what feeds them gives "
        f"{expected.featurizers_per_s:,.0f}; as measured {rates.measured_at} on "
        f"{rates.measured_on})"
    )


def known_rates(plan: RunPlan, workspace: Workspace) -> Rates | None:
    """Give what was measured for such a run on its kind of device, here or elsewhere.

    Raises:
        UserError: the file holds something else, or rates of another version.
    """
    try:
        return Rates.load(rates_file(plan, workspace))
    except FileNotFoundError:
        return None


def _asked(settings: PretrainSettings, num_gpus: int | None) -> PretrainSettings:
    """Settle how many workers are planned for, and on what; ``auto`` is a GPU if one is here.

    Raises:
        UserError: the batch cannot be cut into so many equal shares.
    """
    training = settings.training
    num_workers = num_gpus or training.num_workers
    if training.global_batch_size % (num_workers * training.num_micro_batches):
        raise UserError(
            f"training.global_batch_size {training.global_batch_size} does not divide by "
            f"{num_workers} workers x {training.num_micro_batches} num_micro_batches; plan for "
            "another number, or set another batch size"
        )
    use_gpu = torch.cuda.is_available() if training.use_gpu == "auto" else training.use_gpu
    return _trained(settings, num_workers=num_workers, use_gpu=use_gpu or num_gpus is not None)


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
    """Give settings with other values of ``training``, unchecked."""
    training = settings.training.model_copy(update=update)
    return settings.model_copy(update={"training": training})


def _machines(settings: PretrainSettings) -> Machines:
    """Give what a run occupies where nothing is shared."""
    training, stream = settings.training, settings.stream
    readers_each = 1 if stream.read_from == "store" else stream.num_featurizers
    return Machines(
        num_workers=training.num_workers,
        num_featurizers=training.num_workers * readers_each,
        device="cuda" if training.on_gpu else "cpu",
        cores_per_worker=1 if training.on_gpu else training.threads_per_worker,
    )
