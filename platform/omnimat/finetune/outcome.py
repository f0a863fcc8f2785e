"""What a trial leaves in its folder: what it found, or that successive halving stopped it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.files import write_atomically
from omnimat.base.settings import Settings, identity
from omnimat.finetune.codec import JointCodec
from omnimat.finetune.plan import TrialPlan
from omnimat.finetune.settings import TrialSettings
from omnimat.materials.split import Split

RESULT_FILE = "trial.json"
STOPPED_FILE = "stopped.json"


class TrialResult(Settings):
    """What a trial found; ``trial.json`` in its folder, written last.

    Attributes:
        plan_fingerprint: of the trial's plan.
        settings: of the trial.
        codec: maps the network's outputs to the targets.
        validation_error: of the best epoch, as ``Fit.history`` explains it.
        validation_metrics: of the best epoch by task, each in its target's unit.
        best_epoch: from 1.
        samples_seen: in training, repeats counted.
        wall_time_s: training and validation.
        hardware: it ran on, as ``materials.provenance.hardware`` gives it.
        code_commit: it ran, as ``materials.provenance.code_commit`` gives it.
        code_dirty: likewise.
        num_records: used, by split.
        num_without_target: records left out, by split.
        num_without_modality: further records left out, by split.
        num_unseen_classes: validation records whose class training never saw, by task.
        history: as of ``Fit``.
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


def trial_folder(run: UPath, trial: TrialSettings) -> UPath:
    """Where a trial leaves its weights and result."""
    return run / "trials" / trial.name


def read_result(plan: TrialPlan, settings: TrialSettings, folder: UPath) -> TrialResult | None:
    """Read what an earlier trial of this plan and these settings found, if it finished.

    Raises:
        UserError: if another version of omnimat wrote it.
    """
    path = folder / RESULT_FILE
    if not path.exists():
        return None
    try:
        result = TrialResult.model_validate_json(path.read_text())
    except ValidationError as error:
        raise UserError(
            f"{path} was written by another version of omnimat; choose another name for the run, "
            f"or delete {folder} to train this trial again"
        ) from error
    found = {"plan_fingerprint": result.plan_fingerprint, "settings": identity(result.settings)}
    return result if found == _identity(plan, settings) else None


def is_stopped(plan: TrialPlan, trial: TrialSettings, folder: UPath) -> bool:
    """Say whether this very trial was stopped early."""
    path = folder / STOPPED_FILE
    return path.exists() and json.loads(path.read_text())["trial"] == _identity(plan, trial)


def write_stopped(
    plan: TrialPlan, trial: TrialSettings, folder: UPath, last: Mapping[str, Any]
) -> None:
    """Record that a trial was stopped after an epoch, and what it had reached."""
    reached = {key: last[key] for key in ("epoch", "validation_error")}
    content = {"trial": _identity(plan, trial), **reached}
    write_atomically(folder / STOPPED_FILE, f"{json.dumps(content, indent=1)}\n".encode())


def _identity(plan: TrialPlan, trial: TrialSettings) -> dict[str, Any]:
    return {"plan_fingerprint": plan.fingerprint, "settings": identity(trial)}
