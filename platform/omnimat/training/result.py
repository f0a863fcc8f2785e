"""The files that a finished pretraining run leaves: history, encoders and ``result.json``."""

from __future__ import annotations

from typing import Any

import pandas as pd
from upath import UPath

from omnimat.base.checked_json import write_checked_json
from omnimat.base.errors import RunError
from omnimat.base.files import write_atomically
from omnimat.base.lease import Fence
from omnimat.base.provenance import code_commit, hardware
from omnimat.base.workspace import EXPORT, HISTORY, RESULT
from omnimat.training.checkpoint import PROGRESS, Progress
from omnimat.training.checkpoint_folders import FOLDER, newest_checkpoint
from omnimat.training.checkpoint_manifest import CheckpointManifest, DamagedCheckpointError
from omnimat.training.history import read_history
from omnimat.training.plan import RunPlan
from omnimat.training.seen import Pretraining


def finish(plan: RunPlan, fence: Fence, wall_time_s: float) -> dict[str, Any]:
    """Copy the export out of the last checkpoint, then write the history, then the result.

    Args:
        plan: plan of the run, whose training has ended.
        fence: the run's folder and its lease.
        wall_time_s: seconds since the run was last started.

    Returns:
        The content of ``result.json``.

    Raises:
        RunError: the checkpoint is not what its manifest says, or another process has taken the run
            over.
    """
    fence.check()
    run = fence.folder
    checkpoint = newest_checkpoint(run)
    assert checkpoint is not None  # the last step always writes one
    progress = _hand_on(checkpoint, run)
    history = read_history(run)
    fence.check()
    write_atomically(run / HISTORY, history.to_parquet(index=False))
    result = _result(plan, checkpoint, progress, history, wall_time_s)
    fence.check()
    write_checked_json(run / RESULT, result)
    plan.losses(result["quarantined"], run / RESULT).say(plan.name)
    return result


def _hand_on(checkpoint: UPath, run: UPath) -> Progress:
    """Copy the export out of a checkpoint, and return the progress that it records.

    All files are checked before one is copied. Each is checked again as it was read for the copy.
    """
    if (run / EXPORT).exists():  # left by a driver that was killed at this point
        run.fs.rm((run / EXPORT).path, recursive=True)
    try:
        manifest = CheckpointManifest.read(checkpoint)
        exported = [name for name in manifest.files if name.startswith(f"{EXPORT}/")]
        manifest.check(checkpoint, exported)
        progress = Progress.parsed(
            manifest.read_checked(checkpoint, PROGRESS), checkpoint / PROGRESS
        )
        for name in exported:
            write_atomically(run / name, manifest.read_checked(checkpoint, name))
    except DamagedCheckpointError as error:
        raise RunError(
            f"{error}; submit the job again to go on from the checkpoint before it"
        ) from error
    return progress


def _result(
    plan: RunPlan,
    checkpoint: UPath,
    progress: Progress,
    history: pd.DataFrame,
    wall_time_s: float,
) -> dict[str, Any]:
    commit, is_dirty = code_commit()
    return {
        "name": plan.name,
        "config_hash": plan.settings.fingerprint(),
        "settings": plan.settings.model_dump(mode="json"),
        "dataset_fingerprint": plan.manifest.dataset_fingerprint,
        "records_fingerprint": Pretraining.planned(plan).materials.fingerprint,
        "checkpoint": f"{FOLDER}/{checkpoint.name}",
        "num_steps": plan.num_steps,
        "samples_seen": plan.num_steps * plan.settings.training.global_batch_size,
        "left_out_per_epoch": plan.batches.left_out_per_epoch,
        "quarantined": progress.quarantined,
        "first_loss": _loss(history, 0),
        "last_loss": _loss(history, -1),
        "wall_time_s": round(wall_time_s, 1),
        "code_commit": commit,
        "code_dirty": is_dirty,
        "hardware": hardware(),
    }


def _loss(history: pd.DataFrame, row: int) -> float | None:
    """Return the loss of a row; None where all of the history was damaged and deleted."""
    return None if history.empty else float(history["loss"].iloc[row])
