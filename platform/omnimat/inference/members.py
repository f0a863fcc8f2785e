"""The trials of a sweep that become the members of a model: those that the sweep has chosen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from upath import UPath

from omnimat.base.errors import UserError
from omnimat.finetune.outcome import TrialResult, read_result, trial_folder
from omnimat.finetune.plan import TrialPlan
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.trial_settings import TrialSettings


def members(
    plan: TrialPlan,
    settings: FinetuneSettings,
    run: UPath,
    chosen: Sequence[Mapping[str, Any]],
    variant: str | None,
) -> list[TrialResult]:
    """Read the trials of a variant at the point that its sweep chose, one for each seed.

    Args:
        plan: what the trials share.
        settings: the settings of the sweep.
        run: the folder of the sweep.
        chosen: ``chosen`` of its result: the point of each contender.
        variant: the variant; None for the one of the least validation error. Only trials on all
            the training data count.

    Raises:
        UserError: there is no such variant, or a chosen trial is not there any more.
    """
    of_variant: dict[str, list[TrialSettings]] = {}
    for trial in settings.trials():
        if trial.train_fraction == 1 and _described(trial) in chosen:
            of_variant.setdefault(trial.variant, []).append(trial)
    asked = [name for name in of_variant if variant in {None, name}]
    if not asked:
        raise UserError(
            f"--variant: {run} has chosen no trial of {variant or 'any variant'} on the whole "
            f"training split; its variants are {', '.join(settings.variants)}"
        )
    found = [[_result(plan, trial, run) for trial in of_variant[name]] for name in asked]
    return min(found, key=lambda trials: fmean(one.validation_error for one in trials))


def _described(trial: TrialSettings) -> Any:
    """Describe contender and point as the result of a sweep does."""
    contender = {
        key: value for key, value in trial.contender._asdict().items() if value is not None
    }
    return json.loads(json.dumps(contender | dict(trial.point)))


def _result(plan: TrialPlan, trial: TrialSettings, run: UPath) -> TrialResult:
    folder = trial_folder(run, trial)
    result = read_result(plan, trial, folder)
    if result is None:
        raise UserError(
            f"{folder} holds no result of the trial that the sweep chose, or one of another data "
            "set or of other encoders; run the job of the sweep again"
        )
    return result
