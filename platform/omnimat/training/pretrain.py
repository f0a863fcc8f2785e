"""A pretraining run from the driver's side: check, train, keep what matters."""

from __future__ import annotations

import json
import time
from typing import Any

import pandas as pd
from upath import UPath

from omnimat.materials.errors import UserError
from omnimat.materials.provenance import code_commit, hardware
from omnimat.materials.workspace import EXPORT, METRICS, RESULT, Workspace
from omnimat.shards.files import write_atomically
from omnimat.shards.manifest import Manifest
from omnimat.stream.featurize import write_store
from omnimat.stream.store import store_fingerprint
from omnimat.training.checkpoint import QUARANTINE
from omnimat.training.plan import RunPlan
from omnimat.training.ray_launcher import fit
from omnimat.training.settings import PretrainSettings


def make_plan(name: str, settings: PretrainSettings, workspace: Workspace) -> RunPlan:
    """Work out a run and refuse what cannot succeed, without touching a cluster.

    Raises:
        UserError: if the data set is missing, too small, or lacks a modality.
    """
    dataset = workspace.dataset(settings.dataset)
    store = None
    if settings.stream.read_from == "store":
        fingerprint = store_fingerprint(Manifest.load(dataset), settings.modalities.featurizers())
        store = workspace.features(settings.dataset, fingerprint)
    plan = RunPlan(name=name, settings=settings, dataset=dataset, store=store)
    _check_modalities(plan)
    _ = plan.batches
    return plan


def _check_modalities(plan: RunPlan) -> None:
    for modality, featurizer in plan.settings.modalities.featurizers().items():
        columns = list(featurizer.index_columns)
        if columns and not plan.records[columns].any(axis=None):
            needed = " or ".join(column.removeprefix("has_") for column in columns)
            raise UserError(
                f"modalities.{modality}: no training record of data set "
                f"{plan.settings.dataset!r} has {needed}; change the featurizer, remove the key, "
                "or ingest a source that has it"
            )


def pretrain(plan: RunPlan, run: UPath) -> dict[str, Any]:
    """Train a plan in the run's folder and leave its export and ``result.json`` there.

    Returns:
        The content of ``result.json``.
    """
    start_s = time.perf_counter()
    run.mkdir(parents=True, exist_ok=True)
    if plan.store is not None:
        write_store(
            plan.dataset,
            plan.store,
            plan.settings.modalities.featurizers(),
            num_featurizers=plan.settings.stream.num_featurizers,
            num_cpus=plan.settings.stream.featurizer_num_cpus,
        )
    checkpoint = fit(plan, run)
    if (run / EXPORT).exists():  # of a driver that was killed right here
        run.fs.rm((run / EXPORT).path, recursive=True)
    (checkpoint / EXPORT).copy_into(run)
    result = _result(plan, run, checkpoint, time.perf_counter() - start_s)
    write_atomically(run / RESULT, f"{json.dumps(result, indent=1)}\n".encode())
    return result


def read_history(run: UPath) -> pd.DataFrame:
    """Read a run's metrics, one row a reported step; a step retaken after a failure counts once."""
    with (run / METRICS).open() as lines:
        history = pd.DataFrame([json.loads(line) for line in lines])
    return history.drop_duplicates("step", keep="last").sort_values("step", ignore_index=True)


def _result(plan: RunPlan, run: UPath, checkpoint: UPath, wall_time_s: float) -> dict[str, Any]:
    history = read_history(run)
    commit, is_dirty = code_commit()
    return {
        "name": plan.name,
        "config_hash": plan.settings.fingerprint(),
        "settings": plan.settings.model_dump(mode="json"),
        "dataset_fingerprint": plan.manifest.dataset_fingerprint,
        "checkpoint": str(checkpoint),
        "num_steps": plan.num_steps,
        "samples_seen": plan.num_steps * plan.settings.training.global_batch_size,
        "left_out_per_epoch": plan.batches.left_out_per_epoch,
        "quarantined": json.loads((checkpoint / QUARANTINE).read_text()),
        "first_loss": float(history["loss"].iloc[0]),
        "last_loss": float(history["loss"].iloc[-1]),
        "wall_time_s": round(wall_time_s, 1),
        "code_commit": commit,
        "code_dirty": is_dirty,
        "hardware": hardware(),
    }
