"""What a trial leaves in its folder: its result, or that successive halving stopped it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor
from upath import UPath

from omnimat.base.checked_json import read_checked_json, write_checked_json
from omnimat.base.errors import RunError, UserError
from omnimat.base.files import read_file
from omnimat.base.settings import Settings, identity
from omnimat.base.workspace import STOPPED, TRIAL, TRIALS
from omnimat.finetune.codec import JointCodec
from omnimat.finetune.plan import TrialPlan
from omnimat.finetune.trial_settings import TrialSettings
from omnimat.materials.split import Split
from omnimat.models.export import WEIGHTS_FILE


class TrialResult(Settings):
    """What a trial found; ``trial.json`` in its folder, written last.

    Attributes:
        plan_fingerprint: the fingerprint of the trial's plan.
        settings: the settings of the trial.
        codec: maps the network's outputs to the targets.
        validation_error: that of the best epoch; ``Fit`` explains it.
        validation_metrics: the metric of each task in the best epoch, in the unit of its target.
        best_epoch: the number of the best epoch, from 1.
        samples_seen: how many training samples the network has seen, repeats counted.
        wall_time_s: how long training and validation took.
        hardware: the machine, as ``base.provenance.hardware`` describes it.
        code_commit: the commit of the code, as ``base.provenance.code_commit`` gives it.
        code_dirty: whether the checkout had uncommitted changes.
        num_records: how many records were used in each split.
        num_without_target: how many were left out in each split because no target is known.
        num_without_modality: how many others were left out because they lack a modality.
        num_unseen_classes: for each task, how many validation records have a class that training
            never saw.
        history: what ``Fit.history`` was at the end.
        weights_sha256: hash of the file of the best weights; None where an older omnimat wrote it.
    """

    plan_fingerprint: str
    settings: TrialSettings
    codec: JointCodec
    validation_error: float
    validation_metrics: dict[str, float]
    best_epoch: int
    samples_seen: int
    wall_time_s: float
    hardware: dict[str, Any]
    code_commit: str
    code_dirty: bool
    num_records: dict[Split, int]
    num_without_target: dict[Split, int]
    num_without_modality: dict[Split, int]
    num_unseen_classes: dict[str, int]
    history: tuple[dict[str, float], ...]
    weights_sha256: str | None = None


def trial_folder(run: UPath, trial: TrialSettings) -> UPath:
    """Give the folder where a trial leaves its weights and its result."""
    return run / TRIALS / trial.name


def read_result(plan: TrialPlan, settings: TrialSettings, folder: UPath) -> TrialResult | None:
    """Read what an earlier trial of this plan and these settings found, if it has finished.

    Raises:
        UserError: if another version of omnimat wrote it.
    """
    path = folder / TRIAL
    try:
        result = TrialResult.model_validate(read_checked_json(path, _again(folder)))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise UserError(
            f"{path} was written by another version of omnimat; choose another name for the run, "
            f"or {_again(folder)}"
        ) from error
    found = {"plan_fingerprint": result.plan_fingerprint, "settings": identity(result.settings)}
    return result if found == _identity(plan, settings) else None


def is_stopped(plan: TrialPlan, trial: TrialSettings, folder: UPath) -> bool:
    """Say whether exactly this trial was stopped early."""
    try:
        content = read_checked_json(folder / STOPPED, _again(folder))
    except FileNotFoundError:
        return False
    return content.get("trial") == _identity(plan, trial)


def write_stopped(
    plan: TrialPlan, trial: TrialSettings, folder: UPath, last: Mapping[str, Any]
) -> None:
    """Record that a trial was stopped after an epoch, and what it had reached by then."""
    reached = {key: last[key] for key in ("epoch", "validation_error")}
    content = {"trial": _identity(plan, trial), **reached}
    write_checked_json(folder / STOPPED, content)


def read_weights(result: TrialResult, folder: UPath) -> dict[str, Tensor]:
    """Read the best weights of a trial.

    Raises:
        RunError: they are missing, or not those that the trial has left.
    """
    path = folder / WEIGHTS_FILE
    try:
        data = read_file(path)
        if result.weights_sha256 not in {None, hashlib.sha256(data).hexdigest()}:
            raise RunError(f"{path} was changed after it was written (sha256): {_again(folder)}")
        tensors: dict[str, Tensor] = load_tensors(data)
        return tensors
    except (FileNotFoundError, SafetensorError) as error:
        raise RunError(f"{path} is missing or damaged ({error}): {_again(folder)}") from error


def _again(folder: UPath) -> str:
    return f"delete {folder} to train this trial again"


def _identity(plan: TrialPlan, trial: TrialSettings) -> dict[str, Any]:
    return {"plan_fingerprint": plan.fingerprint, "settings": identity(trial)}
