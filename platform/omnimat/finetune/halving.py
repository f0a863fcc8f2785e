"""Asynchronous successive halving (Li et al. 2020, MLSys) on Ray Tune, within contenders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler

from omnimat.finetune.settings import AshaSettings
from omnimat.finetune.trial_settings import Contender, TrialSettings


class HalvingWithinContenders(FIFOScheduler):  # type: ignore[misc]
    """Compares a trial only with others of its contender.

    If it compared contenders, it would stop what the sweep is there to compare.
    """

    def __init__(self, settings: AshaSettings, num_epochs: int) -> None:
        """Halve trials of this many epochs at most; they end by themselves."""
        super().__init__()
        self._options: Mapping[str, Any] = {
            "time_attr": "epoch",
            "metric": "validation_error",
            "mode": "min",
            "grace_period": settings.grace_epochs,
            "reduction_factor": settings.reduction_factor,
            "max_t": num_epochs + 1,
        }
        self._schedulers: dict[Contender, ASHAScheduler] = {}

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Hand a trial to the scheduler of its contender."""
        self._of(trial).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Say whether a trial goes on after an epoch."""
        decision: str = self._of(trial).on_trial_result(tune_controller, trial, result)
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Let others be compared with what a trial has reached."""
        self._of(trial).on_trial_complete(tune_controller, trial, result)

    def _of(self, trial: Any) -> ASHAScheduler:
        contender = TrialSettings.model_validate(trial.config["trial"]).contender
        return self._schedulers.setdefault(contender, ASHAScheduler(**self._options))
