"""Evaluation of a pretraining run: every material sought by another of its modalities."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from upath import UPath

from omnimat.encoders.export import Card
from omnimat.evaluation.embed import embed
from omnimat.evaluation.inputs import (
    export_folder,
    featurizers_of,
    read_cards,
)
from omnimat.evaluation.retrieval import RetrievalScores, score_all_pairs
from omnimat.evaluation.settings import EvaluateSettings
from omnimat.leaderboard.row import Row
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.materials.errors import UserError
from omnimat.materials.provenance import code_commit, hardware, sha256_of
from omnimat.materials.record import Modality
from omnimat.materials.settings import fingerprint
from omnimat.materials.split import Split
from omnimat.materials.workspace import EXPORT, RESULT, Workspace
from omnimat.objectives.embeddings import Embeddings
from omnimat.shards.files import write_atomically
from omnimat.stream.featurize import write_store
from omnimat.stream.location import StoreLocation
from omnimat.stream.store import FeatureStore

RETRIEVAL = "retrieval.json"
EMBEDDINGS = "embeddings.npz"
# A job's output is no terminal: left alone, rich would wrap at 80 characters.
TABLE_WIDTH = 110

Pair = tuple[Modality, Modality]


def evaluate(
    name: str,
    settings: EvaluateSettings,
    workspace: Workspace,
    leaderboard_url: str | None = None,
) -> list[Row]:
    """Embed a split with a run's encoders and score retrieval for every ordered pair.

    In the run's folder it leaves ``embeddings.npz`` (``material_id``, and for each modality
    (N, d) float32 under its name and the boolean (N,) ``<modality>_present``) and
    ``retrieval.json``. The rows are written in one transaction, and ``result.json`` after them.

    Args:
        name: of this run.
        settings: of the evaluation.
        workspace: holds the data set and the pretraining run.
        leaderboard_url: of SQLAlchemy; None for the workspace's own.

    Returns:
        For each pair one row a metric.

    Raises:
        UserError: if the data set or the run is missing, or no material has both of a pair.
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
    ids, embeddings = _embed_split(location.open(), parent, cards, settings)
    scores = _wanted(score_all_pairs(embeddings.values, embeddings.present), settings)
    Console(width=TABLE_WIDTH).print(retrieval_table(scores))
    _write_embeddings(run / EMBEDDINGS, ids, embeddings)
    _write_json(run / RETRIEVAL, _report(settings, len(ids), scores))
    common = _common(name, settings, location, cards, pretraining) | {
        "checkpoint_uri": str(parent / EXPORT),
        "checkpoint_sha256": sha256_of(parent / EXPORT),
        "predictions_uri": str(run / EMBEDDINGS),
        "predictions_sha256": sha256_of(run / EMBEDDINGS),
        "wall_time_s": round(time.perf_counter() - start_s, 2),
    }
    rows = [
        Row(**common, task=_task(pair, settings.split), **facts)
        for pair, one in scores.items()
        for facts in _facts(one)
    ]
    LeaderboardStore(leaderboard_url or workspace.leaderboard_url).upsert(rows)
    result = {
        "name": name,
        "settings": settings.model_dump(mode="json"),
        "config_hash": settings.fingerprint(),
        "rows": [row.model_dump(mode="json") for row in rows],
    }
    _write_json(run / RESULT, result)
    return rows


def retrieval_table(scores: Mapping[Pair, RetrievalScores]) -> Table:
    """Lay scores out for the terminal; every pair is followed by what guessing would give."""
    ks = list(next(iter(scores.values())).hit_rates)
    table = Table("query → key", "pool", *(f"top-{k}" for k in ks), "mean rank", "median rank")
    for (query, key), one in scores.items():
        hits = [f"{100 * rate:.1f} %" for rate in one.hit_rates.values()]
        ranks = [f"{one.mean_rank:.1f}", f"{one.median_rank:.1f}"]
        table.add_row(f"{query} → {key}", str(one.num_candidates), *hits, *ranks)
        chance = [f"{100 * rate:.1f} %" for rate in one.chance_hit_rates.values()]
        table.add_row("  by chance", "", *chance, *[f"{one.chance_rank:.1f}"] * 2, style="dim")
    return table


def _read_pretraining(parent: UPath) -> dict[str, Any]:
    path = parent / RESULT
    if not path.exists():
        raise UserError(f"run: {path} is not there; run the pretrain job to its end first")
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def _embed_split(
    store: FeatureStore, parent: UPath, cards: Mapping[Modality, Card], settings: EvaluateSettings
) -> tuple[list[str], Embeddings]:
    positions = np.flatnonzero((store.records["split"] == settings.split).to_numpy())
    values: dict[Modality, Tensor] = {}
    present: dict[Modality, Tensor] = {}
    for modality in cards:
        folder = export_folder(parent, modality)
        values[modality], present[modality] = embed(store, folder, positions, settings.batch_size)
    return store.records["material_id"].iloc[positions].tolist(), Embeddings(values, present)


def _wanted(
    scores: dict[Pair, RetrievalScores], settings: EvaluateSettings
) -> dict[Pair, RetrievalScores]:
    """Keep the pairs to report.

    Raises:
        UserError: if a pair asked for, or every pair, has no material.
    """
    wanted = list(scores) if settings.pairs is None else settings.pairs
    missing = [f"{query} -> {key}" for query, key in wanted if (query, key) not in scores]
    if missing or not wanted:
        raise UserError(
            f"pairs: no {settings.split} material of {settings.dataset!r} that run "
            f"{settings.run!r} can embed has both of {', '.join(missing) or 'any pair'}"
        )
    return {pair: scores[pair] for pair in wanted}


def _task(pair: Pair, split: Split) -> str:
    """Name a task so that what training has seen is never ranked beside what it has not."""
    return f"retrieval {pair[0]} -> {pair[1]}" + (f" ({split} split)" if split != "test" else "")


def _facts(scores: RetrievalScores) -> list[dict[str, Any]]:
    """Give what differs between the rows of a pair: metric, value and chance level."""
    higher = [
        (f"top-{k}", rate, scores.chance_hit_rates[k]) for k, rate in scores.hit_rates.items()
    ]
    lower = [
        ("mean rank", scores.mean_rank, scores.chance_rank),
        ("median rank", scores.median_rank, scores.chance_rank),
    ]
    return [
        {
            "metric": metric,
            "value": value,
            "higher_is_better": higher_is_better,
            "num_test": scores.num_candidates,
            "hyperparameters": {"chance": chance},
        }
        for higher_is_better, facts in ((True, higher), (False, lower))
        for metric, value, chance in facts
    ]


def _common(
    name: str,
    settings: EvaluateSettings,
    location: StoreLocation,
    cards: Mapping[Modality, Card],
    pretraining: Mapping[str, Any],
) -> dict[str, Any]:
    """Give what all rows share; ``config`` leaves out the seed and the run, which goes with it.

    It tells the data set that was trained on, since another state of it may have another split.
    """
    manifest = location.manifest
    pretrain_settings = dict(pretraining["settings"])
    training = dict(pretrain_settings["training"])
    seed = training.pop("seed")
    card = next(iter(cards.values()))
    config = {
        "pretrain": pretrain_settings | {"training": training},
        "pretrain_dataset_fingerprint": card.dataset_fingerprint,
        "split": settings.split,
    }
    commit, is_dirty = code_commit()
    return {
        "model": settings.run,
        "variant": "pretrained",
        "seed": seed,
        "dataset": settings.dataset,
        "dataset_fingerprint": manifest.dataset_fingerprint,
        "split_sha256": manifest.split_sha256,
        "config_hash": fingerprint(config),
        "config": config,
        "code_commit": commit,
        "code_dirty": is_dirty,
        "parent_run": settings.run,
        "run_name": name,
        "hardware": hardware(),
        "samples_seen": card.samples_seen,
    }


def _report(
    settings: EvaluateSettings, num_records: int, scores: Mapping[Pair, RetrievalScores]
) -> dict[str, Any]:
    pairs = [
        {"query": query, "key": key}
        | asdict(one)
        | {"chance_hit_rates": one.chance_hit_rates, "chance_rank": one.chance_rank}
        for (query, key), one in scores.items()
    ]
    return settings.model_dump(mode="json") | {"num_records": num_records, "retrieval": pairs}


def _write_embeddings(path: UPath, ids: list[str], embeddings: Embeddings) -> None:
    arrays = {"material_id": np.array(ids)}
    for modality, values in embeddings.values.items():
        arrays[modality] = values.numpy()
        arrays[f"{modality}_present"] = embeddings.present[modality].numpy()
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())


def _write_json(path: UPath, content: Mapping[str, Any]) -> None:
    write_atomically(path, f"{json.dumps(content, indent=1)}\n".encode())
