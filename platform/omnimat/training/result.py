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
from omnimat.training.checkpoint_manifest import CheckpointManifest, DamagedCheckpointError
from omnimat.training.checkpoint_store import newest_checkpoint
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
    _copy_export(checkpoint, run)
    history = read_history(run)
    write_atomically(run / HISTORY, history.to_parquet(index=False))
    result = _result(plan, run, checkpoint, history, wall_time_s)
    fence.check()
    write_checked_json(run / RESULT, result)
    plan.losses(result["quarantined"], run).say(plan.name)
    return result


def _copy_export(checkpoint: UPath, run: UPath) -> None:
    """Copy the files of the export that the manifest lists, once all of them have been checked.

    What progress the checkpoint records is checked too, since the result quotes it.
    """
    if (run / EXPORT).exists():  # left by a driver that was killed at this point
        run.fs.rm((run / EXPORT).path, recursive=True)
    manifest = CheckpointManifest.read(checkpoint)
    exported = [name for name in manifest.files if name.startswith(f"{EXPORT}/")]
    try:
        manifest.check(checkpoint, (PROGRESS, *exported))
    except DamagedCheckpointError as error:
        raise RunError(
            f"{error}; submit the job again to go on from the checkpoint before it"
        ) from error
    for name in exported:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (checkpoint / name).copy(run / name)


def _result(
    plan: RunPlan, run: UPath, checkpoint: UPath, history: pd.DataFrame, wall_time_s: float
) -> dict[str, Any]:
    commit, is_dirty = code_commit()
    return {
        "name": plan.name,
        "config_hash": plan.settings.fingerprint(),
        "settings": plan.settings.model_dump(mode="json"),
        "dataset_fingerprint": plan.manifest.dataset_fingerprint,
        "records_fingerprint": Pretraining.planned(plan).materials.fingerprint,
        "checkpoint": checkpoint.relative_to(run).as_posix(),
        "num_steps": plan.num_steps,
        "samples_seen": plan.num_steps * plan.settings.training.global_batch_size,
        "left_out_per_epoch": plan.batches.left_out_per_epoch,
        "quarantined": Progress.read(checkpoint).quarantined,
        "first_loss": float(history["loss"].iloc[0]),
        "last_loss": float(history["loss"].iloc[-1]),
        "wall_time_s": round(wall_time_s, 1),
        "code_commit": commit,
        "code_dirty": is_dirty,
        "hardware": hardware(),
    }
