"""Evaluation of a pretraining run: a split is embedded once, and each section looks at it."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.files import write_atomically
from omnimat.base.provenance import code_commit, hardware, sha256_of
from omnimat.base.settings import fingerprint
from omnimat.base.workspace import EXPORT, RESULT, Workspace
from omnimat.cluster.metrics import RayMetrics, leaderboard_write
from omnimat.evaluation.section import EMBEDDINGS, EmbeddedSplit, Embedder, Finding
from omnimat.evaluation.settings import EvaluateSettings
from omnimat.leaderboard.row import Row
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.materials.record import Modality
from omnimat.materials.split import Split
from omnimat.models.export import Card
from omnimat.models.inputs import featurizers_of, read_cards
from omnimat.stream.featurize import write_store
from omnimat.stream.location import StoreLocation
from omnimat.training.settings import decisive


def evaluate(
    name: str,
    settings: EvaluateSettings,
    workspace: Workspace,
    leaderboard_url: str | None = None,
) -> list[Row]:
    """Embed a split with a run's encoders and run the sections asked for.

    The run's folder gets ``embeddings.npz`` and what the sections write; ``evaluation.section``
    lists the files. The rows are written in one transaction, and ``result.json`` after them.

    Args:
        name: of this run.
        settings: of the evaluation.
        workspace: holds the data set and the pretraining run.
        leaderboard_url: of SQLAlchemy; None for the workspace's own.

    Returns:
        One row a finding.

    Raises:
        UserError: if the data set or the run is missing, or a section cannot be had of them.
    """
    start_s = time.perf_counter()
    torch.set_num_threads(settings.num_threads)
    run, parent = workspace.run(name), workspace.run(settings.run)
    pretraining = _read_pretraining(parent)
    cards = read_cards(parent)
    location = StoreLocation.of(workspace, settings.dataset, featurizers_of(cards))
    write_store(
        location,
        num_featurizers=settings.num_featurizers,
        num_cpus=settings.featurizer_num_cpus,
    )
    embedder = Embedder(parent, cards, location.dataset, location.open(), settings.batch_size)
    split = _embedded(embedder, settings, run / EMBEDDINGS)
    findings: list[Finding] = []
    for key, section in settings.sections.items():
        print(f"{name}: {key.replace('_', '-')} of {len(split.positions)} materials", flush=True)
        findings += section.evaluate(split, run)
    common = _common(name, settings, location, cards, parent / EXPORT) | {
        "seed": pretraining["settings"]["training"]["seed"],
        "wall_time_s": round(time.perf_counter() - start_s, 2),
    }
    config = _config(settings, cards, pretraining)
    proofs = {file: _proof(run / file) for file in {one.predictions for one in findings}}
    rows = [_row(one, common | proofs[one.predictions], config) for one in findings]
    with RayMetrics(name) as watch, leaderboard_write(watch, len(rows)):
        LeaderboardStore(leaderboard_url or workspace.leaderboard_url).upsert(rows)
    result = {
        "name": name,
        "settings": settings.model_dump(mode="json"),
        "config_hash": settings.fingerprint(),
        "rows": [row.model_dump(mode="json") for row in rows],
    }
    write_atomically(run / RESULT, f"{json.dumps(result, indent=1)}\n".encode())
    return rows


def _read_pretraining(parent: UPath) -> dict[str, Any]:
    path = parent / RESULT
    if not path.exists():
        raise UserError(f"run: {path} is not there; run the pretrain job to its end first")
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def _embedded(embedder: Embedder, settings: EvaluateSettings, path: UPath) -> EmbeddedSplit:
    """Embed the split and keep the embeddings.

    Raises:
        UserError: if it has no material.
    """
    split = embedder.embed(settings.split, settings.duplicates)
    if not len(split.positions):
        raise UserError(f"split: data set {settings.dataset!r} has no {settings.split} material")
    arrays = {
        "material_id": split.records["material_id"].to_numpy(dtype=np.str_),
        "duplicate_group": split.duplicate_groups,
    }
    for modality, values in split.embeddings.values.items():
        arrays[modality] = values.numpy()
        arrays[f"{modality}_present"] = split.embeddings.present[modality].numpy()
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())
    return split


def _proof(path: UPath) -> dict[str, str]:
    return {"predictions_uri": str(path), "predictions_sha256": sha256_of(path)}


def _row(finding: Finding, common: Mapping[str, Any], config: Mapping[str, Any]) -> Row:
    config = {**config, **finding.settings}
    return Row(
        **common,
        task=_task(finding.task, config["split"]),
        metric=finding.metric,
        unit=finding.unit,
        value=finding.value,
        higher_is_better=finding.higher_is_better,
        num_test=finding.num_test,
        details=dict(finding.details),
        config=config,
        config_hash=fingerprint(config),
    )


def _task(task: str, split: Split) -> str:
    """Name a task so that what training has seen is never ranked beside what it has not."""
    return task if split == "test" else f"{task} ({split} split)"


def _config(
    settings: EvaluateSettings, cards: Mapping[Modality, Card], pretraining: Mapping[str, Any]
) -> dict[str, Any]:
    """Give what a result depends on but the seed and the name of the run, which goes with it.

    How the run was spread over machines is not in it, or its seeds would not be averaged. It tells
    the data set that was trained on, since another state of it may have another split.
    """
    pretrain = decisive(pretraining["settings"])
    del pretrain["training"]["seed"]
    return {
        "pretrain": pretrain,
        "pretrain_dataset_fingerprint": next(iter(cards.values())).dataset_fingerprint,
        "split": settings.split,
    }


def _common(
    name: str,
    settings: EvaluateSettings,
    location: StoreLocation,
    cards: Mapping[Modality, Card],
    export: UPath,
) -> dict[str, Any]:
    """Give what all rows share."""
    commit, is_dirty = code_commit()
    return {
        "model": settings.run,
        "variant": "pretrained",
        "dataset": settings.dataset,
        "dataset_uri": str(location.dataset),
        "dataset_fingerprint": location.manifest.dataset_fingerprint,
        "split_sha256": location.manifest.split_sha256,
        "code_commit": commit,
        "code_dirty": is_dirty,
        "checkpoint_uri": str(export),
        "checkpoint_sha256": sha256_of(export),
        "parent_run": settings.run,
        "run_name": name,
        "hardware": hardware(),
        "samples_seen": next(iter(cards.values())).samples_seen,
    }
