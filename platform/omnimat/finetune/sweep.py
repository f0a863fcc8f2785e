"""The sweep: Ray Tune runs the trials, validation chooses, the test split is scored once."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping, Sequence

import pandas as pd
import ray
from upath import UPath

from omnimat.encoders.export import Card
from omnimat.evaluation.inputs import (
    export_folder,
    featurizers_of,
    read_cards,
)
from omnimat.finetune.rows import Scored, best_learning_rates, make_row, trials_table
from omnimat.finetune.settings import FinetuneSettings, Variant
from omnimat.finetune.trial import TrialPlan, TrialResult, predict
from omnimat.finetune.tuning import run_trials, trial_folder, trial_resources
from omnimat.leaderboard.row import Row
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.materials.errors import UserError
from omnimat.materials.provenance import sha256_of
from omnimat.materials.record import Modality
from omnimat.materials.settings import fingerprint
from omnimat.materials.workspace import RESULT, Workspace
from omnimat.shards.files import write_atomically
from omnimat.stream.featurize import write_store
from omnimat.stream.location import StoreLocation


def run_sweep(
    name: str,
    settings: FinetuneSettings,
    workspace: Workspace,
    leaderboard_url: str | None = None,
) -> list[Row]:
    """Run a sweep in the connected Ray cluster; run again, it goes on.

    In the run's folder it leaves ``trials/``, ``trials.parquet`` and ``predictions/``. The rows
    are written in one transaction, and ``result.json`` after them.

    Args:
        name: of this run.
        settings: of the sweep.
        workspace: holds the data set and the pretraining run.
        leaderboard_url: of SQLAlchemy; None for the workspace's own.

    Returns:
        One row a variant and seed.

    Raises:
        UserError: if the data set or the export is missing, or a split has no record for the task.
        SweepError: if a trial failed or the sweep was interrupted.
    """
    start_s = time.perf_counter()
    run = workspace.run(name)
    cards = read_cards(workspace.run(settings.run))
    plan = make_plan(settings, workspace, cards)
    write_store(
        plan.store,
        num_featurizers=settings.num_featurizers,
        num_cpus=settings.featurizer_num_cpus,
    )
    plan.check_splits()
    results = run_trials(plan, settings, run)
    _write_parquet(run / "trials.parquet", trials_table(results, settings.task))
    chosen = best_learning_rates(results, settings.task)
    selected = [
        result for result in results if chosen[result.settings.variant] == result.settings.lr
    ]
    scored = _score(plan, selected, settings, run)
    rows = [make_row(name, settings, plan, cards, one) for one in scored]
    LeaderboardStore(leaderboard_url or workspace.leaderboard_url).upsert(rows)
    _write_result(run, name, settings, chosen, rows, time.perf_counter() - start_s)
    return rows


def make_plan(
    settings: FinetuneSettings, workspace: Workspace, cards: Mapping[Modality, Card]
) -> TrialPlan:
    """Work out what all trials share, without touching a cluster.

    The pretraining run's own feature store is used where it is complete, else one of these
    modalities alone.

    Raises:
        UserError: if the data set is missing or the run has no encoder of a modality.
    """
    if missing := [modality for modality in settings.modalities if modality not in cards]:
        raise UserError(
            f"modalities: run {settings.run!r} has no encoder for {', '.join(missing)}; "
            f"choose among {', '.join(cards)}"
        )
    store = StoreLocation.of(workspace, settings.dataset, featurizers_of(cards))
    if not store.is_complete:
        alone = featurizers_of({modality: cards[modality] for modality in settings.modalities})
        store = StoreLocation.of(workspace, settings.dataset, alone)
    run = workspace.run(settings.run)
    exports = {modality: export_folder(run, modality) for modality in settings.modalities}
    decides = settings.method()
    return TrialPlan(
        store=store,
        exports=exports,
        fusion=settings.fusion,
        missing_modalities=settings.missing_modalities,
        task=settings.task,
        fingerprint=fingerprint(
            {
                "dataset": store.manifest.dataset_fingerprint,
                "exports": {name: sha256_of(folder) for name, folder in exports.items()},
                "fusion": decides.get("fusion"),
                "missing_modalities": decides.get("missing_modalities"),
                "task": decides["task"],
            }
        ),
    )


def _score(
    plan: TrialPlan, selected: Sequence[TrialResult], settings: FinetuneSettings, run: UPath
) -> list[Scored]:
    """Predict the test split with every selected trial, in parallel; nothing else reads it."""
    resources = trial_resources(settings)
    task = ray.remote(predict).options(
        num_cpus=resources["CPU"], num_gpus=resources.get("GPU", 0), max_retries=2
    )
    folders = [trial_folder(run, result.settings) for result in selected]
    predicted = ray.get(
        [
            task.remote(plan, result, folder, "test")
            for result, folder in zip(selected, folders, strict=True)
        ]
    )
    scored = []
    for result, folder, predictions in zip(selected, folders, predicted, strict=True):
        trial = result.settings
        path = run / "predictions" / f"{trial.variant}-seed{trial.seed}.parquet"
        _write_parquet(path, predictions)
        scored.append(Scored(result, folder, predictions, path))
    return scored


def _write_parquet(path: UPath, table: pd.DataFrame) -> None:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_atomically(path, buffer.getvalue())


def _write_result(
    run: UPath,
    name: str,
    settings: FinetuneSettings,
    chosen: Mapping[Variant, float],
    rows: Sequence[Row],
    wall_time_s: float,
) -> None:
    result = {
        "name": name,
        "settings": settings.model_dump(mode="json"),
        "config_hash": settings.fingerprint(),
        "chosen_lr": dict(chosen),
        "rows": [row.model_dump(mode="json") for row in rows],
        "wall_time_s": round(wall_time_s, 1),
    }
    write_atomically(run / RESULT, f"{json.dumps(result, indent=1)}\n".encode())
