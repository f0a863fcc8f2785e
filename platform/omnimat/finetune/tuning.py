"""Trials on Ray Tune, each in a process of its own, as many at once as the cluster holds.

A trial that has finished leaves ``trial.json`` with the fingerprint of all that decided it. So a
sweep that was killed, or whose grid has grown, runs only what is missing. Tune's own restore would
keep the old grid, lose what finished after its last snapshot, and unpickle files. A trial that
successive halving stopped leaves ``stopped.json`` instead, and is not run again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ray import tune
from upath import UPath

from omnimat.base.errors import RunError, UserError, own_error
from omnimat.base.lease import CheckHeld
from omnimat.cluster.capacity import Cluster
from omnimat.cluster.metrics import Watcher
from omnimat.finetune.halving import HalvingWithinContenders
from omnimat.finetune.outcome import (
    TrialResult,
    is_stopped,
    read_result,
    trial_folder,
    write_stopped,
)
from omnimat.finetune.plan import TrialPlan
from omnimat.finetune.progress import Progress
from omnimat.finetune.rows import best_points
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.trial import run_trial
from omnimat.finetune.trial_settings import TrialSettings


class SweepError(RunError):
    """A trial failed, or the sweep was stopped before its end."""


def run_trials(
    plan: TrialPlan,
    settings: FinetuneSettings,
    run: UPath,
    watch: Watcher,
    check_held: CheckHeld,
) -> list[TrialResult]:
    """Run the trials that have not finished yet, and give the results of all in grid order.

    Under successive halving, these are the trials of the first seed that were not stopped, and
    those of the other seeds at the points that were chosen.

    Args:
        plan: what the trials share.
        settings: the settings of the sweep.
        run: the folder of the sweep.
        watch: told how many trials are in each state.
        check_held: raises an error if another process has taken the sweep over.

    Raises:
        SweepError: if a trial failed or the sweep was interrupted.
    """
    trials = settings.trials()
    if settings.asha is None:
        return _finish(plan, settings, run, watch, check_held, trials)
    first = [trial for trial in trials if trial.seed == settings.seeds[0]]
    halving = HalvingWithinContenders(settings.asha, settings.trial.num_epochs)
    results = _finish(plan, settings, run, watch, check_held, first, halving)
    chosen = best_points(results)
    others = [t for t in trials if t not in first and t.point == chosen[t.contender]]
    return results + _finish(plan, settings, run, watch, check_held, others)


def judged(settings: FinetuneSettings, results: Sequence[TrialResult]) -> list[TrialResult]:
    """Keep the results among which validation chooses: under halving, those of the first seed."""
    if settings.asha is None:
        return list(results)
    return [result for result in results if result.settings.seed == settings.seeds[0]]


def _finish(
    plan: TrialPlan,
    settings: FinetuneSettings,
    run: UPath,
    watch: Watcher,
    check_held: CheckHeld,
    trials: Sequence[TrialSettings],
    scheduler: HalvingWithinContenders | None = None,
) -> list[TrialResult]:
    """Run the trials that have not ended, and read the results of all that finished."""

    def has_ended(trial: TrialSettings) -> bool:
        folder = trial_folder(run, trial)
        return is_stopped(plan, trial, folder) or read_result(plan, trial, folder) is not None

    pending = [trial for trial in trials if not has_ended(trial)]
    print(f"{len(trials)} trials, {len(trials) - len(pending)} of them ended before", flush=True)
    if pending:
        _fit(plan, settings, run, watch, check_held, pending, scheduler)
    if missing := [trial.name for trial in trials if not has_ended(trial)]:
        raise SweepError(
            f"the sweep was stopped before {len(missing)} of {len(trials)} trials finished "
            f"({missing[0]}, ...); run the job again to go on"
        )
    results = [read_result(plan, trial, trial_folder(run, trial)) for trial in trials]
    return [result for result in results if result is not None]


def _fit(
    plan: TrialPlan,
    settings: FinetuneSettings,
    run: UPath,
    watch: Watcher,
    check_held: CheckHeld,
    pending: Sequence[TrialSettings],
    scheduler: HalvingWithinContenders | None,
) -> None:
    trainable = tune.with_parameters(_train, plan=plan, run=run, check_held=check_held)
    num_concurrent = settings.max_concurrent_trials or num_slots(settings)
    ends = _Ends(plan, run, Progress(len(pending), watch), check_held)
    tuner = tune.Tuner(
        tune.with_resources(trainable, settings.trial_resources),
        param_space={"trial": tune.grid_search([t.model_dump(mode="json") for t in pending])},
        tune_config=tune.TuneConfig(
            max_concurrent_trials=num_concurrent,
            # A trial seeds all that it uses, and a new process would import for ten seconds.
            reuse_actors=True,
            scheduler=scheduler,
            trial_name_creator=_name_of,
            trial_dirname_creator=_name_of,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(run),
            failure_config=tune.FailureConfig(max_failures=settings.max_failures),
            callbacks=[ends],
            verbose=0,
        ),
    )
    ended = tuner.fit()
    if ends.refusal is not None:
        raise ends.refusal
    for error, result in ((r.error, r) for r in ended):
        if error is not None:
            trial = TrialSettings.model_validate(result.config["trial"])
            raise SweepError(f"trial {trial.name} failed: {own_error(error)}") from error


def _train(config: dict[str, Any], plan: TrialPlan, run: UPath, check_held: CheckHeld) -> None:
    check_held()  # before the work of hours, also when it is tried again
    settings = TrialSettings.model_validate(config["trial"])
    run_trial(plan, settings, trial_folder(run, settings), tune.report, check_held)


def _name_of(trial: Any) -> str:
    return TrialSettings.model_validate(trial.config["trial"]).name


def num_slots(settings: FinetuneSettings) -> int:
    """Count the trials that the cluster can hold at once, also once it has grown; at least 1."""
    cluster = Cluster.now()
    amounts = settings.trial_resources.items()
    return max(1, min(int(cluster.amount(name, {}) // amount) for name, amount in amounts))


class _Ends(tune.Callback):  # type: ignore[misc]
    """Follows the trials, marks those that the scheduler stopped, and reports progress.

    Attributes:
        refusal: why a trial could not be marked; Tune would bury an error of a callback.
    """

    def __init__(
        self, plan: TrialPlan, run: UPath, progress: Progress, check_held: CheckHeld
    ) -> None:
        self._plan, self._run, self._progress = plan, run, progress
        self._check_held = check_held
        self.refusal: RunError | UserError | None = None

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called when a trial is started, or started again."""
        self._progress.started(_name_of(trial))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called when a trial has failed for good."""
        self._progress.failed(_name_of(trial))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called when a trial has finished or was stopped; only one that finished left a result."""
        settings = TrialSettings.model_validate(trial.config["trial"])
        folder = trial_folder(self._run, settings)
        try:
            result = read_result(self._plan, settings, folder)
            if result is None:
                self._check_held()
                write_stopped(self._plan, settings, folder, trial.last_result)
        except (RunError, UserError) as refusal:
            self.refusal = refusal
            return
        error = None if result is None else result.validation_error
        self._progress.ended(settings.name, trial.last_result, self._plan.tasks, error)
