"""Evaluation of a pretraining run: a split is embedded once, and every section looks at it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from upath import UPath

from omnimat.base.checked_json import write_checked_json
from omnimat.base.confined import Confined
from omnimat.base.errors import UserError
from omnimat.base.files import write_atomically
from omnimat.base.lease import Fence
from omnimat.base.provenance import code_commit, sha256_of
from omnimat.base.workspace import EXPORT, RESULT, Workspace
from omnimat.cluster.metrics import RayMetrics, leaderboard_write
from omnimat.cluster.threads import use_threads
from omnimat.evaluation.leakage import Judging, find_leakage
from omnimat.evaluation.section import EmbeddedSplit, Embedder, task_on
from omnimat.evaluation.settings import EvaluateSettings, name_on_rows
from omnimat.evaluation.stored import EMBEDDINGS, to_npz
from omnimat.leaderboard.finding import Finding
from omnimat.leaderboard.replacement import refuse_other_result
from omnimat.leaderboard.row import Row
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.models.export import Card
from omnimat.models.inputs import featurizers_of, read_cards, read_pretraining
from omnimat.stream.featurize import write_store
from omnimat.stream.location import StoreLocation
from omnimat.training.settings import decisive


def evaluate(
    name: str,
    settings: EvaluateSettings,
    workspace: Workspace,
    fence: Fence,
    leaderboard_url: str | None = None,
) -> list[Row]:
    """Embed a split with a run's encoders, and run the sections.

    The run's folder gets ``embeddings.npz`` and the files of the sections, which
    ``evaluation.section`` lists. The rows are written in one transaction, and ``result.json`` last.

    Args:
        name: the name of this run.
        settings: its settings.
        workspace: where the data set and the pretraining run are.
        fence: the run's folder and its lease.
        leaderboard_url: the URL of the leaderboard for SQLAlchemy; None for the workspace's own.

    Returns:
        A row for each finding.

    Raises:
        UserError: if the data set or the run is missing, or does not have what a section needs.
        LostError: another process has taken the run over.
    """
    start_s = time.perf_counter()
    use_threads(settings.num_threads)
    run, check_held, parent = fence.folder, fence.check, workspace.run(settings.run)
    pretraining = read_pretraining(parent)
    cards = read_cards(parent)
    judging = Judging.of_sections(settings, tuple(cards), workspace)
    leakage = find_leakage(workspace, settings.run, cards, judging)
    location = StoreLocation.of(workspace, settings.dataset, featurizers_of(cards))
    seed = pretraining["settings"]["training"]["seed"]
    common = _common(name, settings, location, cards, parent / EXPORT, workspace.files)
    common, config = common | {"seed": seed}, _config(settings, cards, pretraining)
    board = LeaderboardStore(leaderboard_url or workspace.leaderboard_url)
    _refuse_other_encoders(board, settings, config, common)
    write_store(
        location,
        num_featurizers=settings.num_featurizer_actors,
        num_cpus=settings.featurizer_num_cpus,
        max_quarantined=settings.max_quarantined,
    )
    embedder = _embedder(parent, cards, location, settings)
    common["hardware"] = embedder.hardware()
    split = _embedded(embedder, settings, fence)
    overlap = leakage.of_parts({settings.split: split.material_ids.tolist()})
    print(f"{name}: {overlap.sentence}", flush=True)
    findings: list[tuple[str, Finding]] = []
    for key, section in settings.sections.items():
        print(f"{name}: {key.replace('_', '-')} of {len(split.positions)} materials", flush=True)
        check_held()
        findings += [(name_on_rows(key), found) for found in section.evaluate(split, run)]
    common["wall_time_s"] = round(time.perf_counter() - start_s, 2)
    files = {found.predictions for _, found in findings}
    proofs = {file: _proof(run / file, workspace.files) for file in files}
    rows = [
        replace(
            found,
            task=task_on(found.task, settings.split),
            details={**found.details, **overlap.as_details()},
        ).row(config, section=section, **common, **proofs[found.predictions])
        for section, found in findings
    ]
    check_held()
    with RayMetrics(name) as watch, leaderboard_write(watch, len(rows)):
        board.upsert(rows)
    result = {
        "name": name,
        "settings": settings.model_dump(mode="json"),
        "config_hash": settings.fingerprint(),
        "rows": [row.model_dump(mode="json") for row in rows],
    }
    check_held()
    write_checked_json(run / RESULT, result)
    location.losses().say(name)
    return rows


def _embedder(
    parent: UPath, cards: Mapping[str, Card], location: StoreLocation, settings: EvaluateSettings
) -> Embedder:
    """Embed in this process, or on the GPUs of the cluster where the job takes any."""
    told = (parent, cards, location.dataset, location.open(), settings.batch_size)
    if not settings.encoder_gpus:
        return Embedder(*told)
    from omnimat.evaluation.on_gpus import EmbedderOnGpus

    return EmbedderOnGpus(
        *told,
        features=location,
        gpus_per_encoder=settings.encoder_gpus,
        num_threads=settings.num_threads,
    )


def _refuse_other_encoders(
    board: LeaderboardStore,
    settings: EvaluateSettings,
    config: Mapping[str, Any],
    common: Mapping[str, Any],
) -> None:
    """Refuse, before anything is embedded, to replace checked rows of other encoders."""
    sections = {name_on_rows(key) for key in settings.sections}
    keys = ("model", "variant", "seed", "dataset_fingerprint", "split_sha256")
    for row in board.checked(**{key: common[key] for key in keys}):
        is_of_this = all(row.config.get(key) == value for key, value in config.items())
        if row.section in sections and is_of_this:
            refuse_other_result(row, {"checkpoint_sha256": common["checkpoint_sha256"]})


def _embedded(embedder: Embedder, settings: EvaluateSettings, fence: Fence) -> EmbeddedSplit:
    """Embed the split and keep the embeddings.

    Raises:
        UserError: if the split has no material.
        LostError: another process has taken the run over.
    """
    split = embedder.embed(settings.split, settings.duplicates)
    if not len(split.positions):
        raise UserError(f"split: data set {settings.dataset!r} has no {settings.split} material")
    embeddings = to_npz(split)
    fence.check()
    write_atomically(fence.folder / EMBEDDINGS, embeddings)
    return split


def _proof(path: UPath, storage: Confined) -> dict[str, str]:
    return {"predictions_uri": storage.name_of(path), "predictions_sha256": sha256_of(path)}


def _config(
    settings: EvaluateSettings, cards: Mapping[str, Card], pretraining: Mapping[str, Any]
) -> dict[str, Any]:
    """Give what a result depends on, except the seed and the run's name, which changes with it.

    How the run was spread over machines is left out, so that its seeds are averaged anyway. The
    data set that was trained on is included, since another version may have another split.
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
    cards: Mapping[str, Card],
    export: UPath,
    storage: Confined,
) -> dict[str, Any]:
    """Give what all rows have in common."""
    commit, is_dirty = code_commit()
    return {
        "model": settings.run,
        "variant": "pretrained",
        "dataset": settings.dataset,
        "dataset_uri": storage.name_of(location.dataset),
        "dataset_fingerprint": location.manifest.dataset_fingerprint,
        "split_sha256": location.manifest.split_sha256,
        "code_commit": commit,
        "code_dirty": is_dirty,
        "checkpoint_uri": storage.name_of(export),
        "checkpoint_sha256": sha256_of(export),
        "parent_run": settings.run,
        "run_name": name,
        "samples_seen": next(iter(cards.values())).samples_seen,
    }
