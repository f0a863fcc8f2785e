"""Trials on Ray Tune: one process each, as many at once as the cluster holds.

A finished trial is its ``trial.json``, which carries the fingerprint of all that decided it, so a
sweep that was killed, or whose grid has grown, runs only what is missing. Tune's own restore keeps
the old grid whatever the job says now, loses what finished since its last snapshot, and unpickles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray
from ray import tune
from upath import UPath

from omnimat.finetune.settings import FinetuneSettings, TrialSettings
from omnimat.finetune.trial import TrialPlan, TrialResult, read_result, run_trial
from omnimat.materials.errors import RunError, UserError


class SweepError(RunError):
    """A trial failed, or the sweep was stopped before its end."""


def trial_folder(run: UPath, trial: TrialSettings) -> UPath:
    """Where a trial leaves its weights and result."""
    return run / "trials" / trial.name


def run_trials(plan: TrialPlan, settings: FinetuneSettings, run: UPath) -> list[TrialResult]:
    """Run the trials that have not finished yet, and give the results of all, in grid order.

    Raises:
        SweepError: if a trial failed or the sweep was interrupted.
    """
    trials = settings.trials()
    pending = [t for t in trials if read_result(plan, t, trial_folder(run, t)) is None]
    print(f"{len(trials)} trials, {len(trials) - len(pending)} of them finished before", flush=True)
    if pending:
        _fit(plan, settings, run, pending)
    results = [read_result(plan, trial, trial_folder(run, trial)) for trial in trials]
    missing = [t.name for t, result in zip(trials, results, strict=True) if result is None]
    if missing:
        raise SweepError(
            f"the sweep was stopped before {len(missing)} of {len(trials)} trials finished "
            f"({missing[0]}, ...); run the job again to go on"
        )
    return [result for result in results if result is not None]


def _fit(
    plan: TrialPlan, settings: FinetuneSettings, run: UPath, pending: Sequence[TrialSettings]
) -> None:
    trainable = tune.with_parameters(_train, plan=plan, run=run)
    tuner = tune.Tuner(
        tune.with_resources(trainable, trial_resources(settings)),
        param_space={"trial": tune.grid_search([t.model_dump(mode="json") for t in pending])},
        tune_config=tune.TuneConfig(
            max_concurrent_trials=settings.max_concurrent_trials or _num_slots(settings),
            # A trial seeds all it uses, and a fresh process imports for ten seconds.
            reuse_actors=True,
            trial_name_creator=_name_of,
            trial_dirname_creator=_name_of,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(run),
            failure_config=tune.FailureConfig(max_failures=settings.max_failures),
            callbacks=[_Progress(settings.task.metric_name, settings.task.unit, len(pending))],
            verbose=0,
        ),
    )
    for error, result in ((r.error, r) for r in tuner.fit()):
        if error is not None:
            trial = TrialSettings.model_validate(result.config["trial"])
            raise SweepError(f"trial {trial.name} failed: {_reason(error)}") from error


def _reason(error: Exception) -> Exception:
    """Give the sentence that says why, where one does, else all there is to say."""
    cause = getattr(error, "cause", None)  # Ray's wrapper carries the traceback along
    return cause if isinstance(cause, RunError | UserError) else error


def _train(config: dict[str, Any], plan: TrialPlan, run: UPath) -> None:
    settings = TrialSettings.model_validate(config["trial"])
    run_trial(plan, settings, trial_folder(run, settings), tune.report)


def _name_of(trial: Any) -> str:
    return TrialSettings.model_validate(trial.config["trial"]).name


def trial_resources(settings: FinetuneSettings) -> dict[str, float]:
    """Give what a trial asks Ray for."""
    resources = {"CPU": settings.cpus_per_trial, "GPU": settings.gpus_per_trial}
    return {name: amount for name, amount in resources.items() if amount > 0}


def _num_slots(settings: FinetuneSettings) -> int:
    """Count the trials that the cluster holds at once now, at least 1: it may yet grow."""
    cluster = ray.cluster_resources()
    amounts = trial_resources(settings).items()
    return max(1, min(int(cluster.get(name, 0) // amount) for name, amount in amounts))


class _Progress(tune.Callback):  # type: ignore[misc]
    """Prints one line a finished trial."""

    def __init__(self, metric: str, unit: str, num_trials: int) -> None:
        self._metric, self._num_trials = metric, num_trials
        self._unit = f" {unit}" if unit else ""
        self._num_finished = 0

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Say what a trial reached in its last epoch."""
        self._num_finished += 1
        last = trial.last_result
        print(
            f"trial {self._num_finished}/{self._num_trials} {_name_of(trial)}: "
            f"validation {self._metric} {last['validation_metric']:.4g}{self._unit} "
            f"after {last['epoch']:.0f} epochs, {last['time_total_s']:.0f} s",
            flush=True,
        )
