"""From finished trials to leaderboard rows: selection on validation, and the proof of a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import pandas as pd
from upath import UPath

from omnimat.encoders.export import WEIGHTS_FILE, Card
from omnimat.finetune.settings import FinetuneSettings, Variant
from omnimat.finetune.tasks import TaskSettings
from omnimat.finetune.trial import TrialPlan, TrialResult
from omnimat.leaderboard.row import Row
from omnimat.materials.provenance import sha256_of
from omnimat.materials.record import Modality
from omnimat.materials.settings import fingerprint

_TRAINED = {
    "finetuned": "fine-tuned from {run}",
    "frozen": "frozen, from {run}",
    "from_scratch": "from scratch",
}


@dataclass(frozen=True, slots=True)
class Scored:
    """A selected trial and what it predicts for the test split.

    Attributes:
        result: of the trial.
        folder: of the trial.
        predictions: with the columns ``material_id``, ``target``, ``prediction`` and ``split``.
        path: where they were written.
    """

    result: TrialResult
    folder: UPath
    predictions: pd.DataFrame
    path: UPath


def trials_table(results: Sequence[TrialResult], task: TaskSettings) -> pd.DataFrame:
    """Lay out every trial: one row each."""
    return pd.DataFrame(
        {
            "variant": result.settings.variant,
            "lr": result.settings.lr,
            "seed": result.settings.seed,
            "metric": task.metric_name,
            "validation_metric": result.validation_metric,
            "best_epoch": result.best_epoch,
            "num_epochs": len(result.history),
            "samples_seen": result.samples_seen,
            "wall_time_s": result.wall_time_s,
        }
        for result in results
    )


def best_learning_rates(results: Sequence[TrialResult], task: TaskSettings) -> dict[Variant, float]:
    """Choose for each variant the rate of the best validation metric, averaged over seeds.

    Of equal ones the first in the grid is chosen.
    """
    sign = 1 if task.metric.higher_is_better else -1
    by_point: dict[Variant, dict[float, list[float]]] = {}
    for result in results:
        rates = by_point.setdefault(result.settings.variant, {})
        rates.setdefault(result.settings.lr, []).append(sign * result.validation_metric)
    return {
        variant: max(rates, key=lambda lr, rates=rates: fmean(rates[lr]))  # type: ignore[misc]
        for variant, rates in by_point.items()
    }


def model_label(settings: FinetuneSettings, cards: Mapping[Modality, Card]) -> str:
    """Name a model by its modalities, their encoders and, of several, the fusion."""
    inputs = [f"{modality} ({cards[modality].encoder.type})" for modality in settings.modalities]
    fusion = f", {settings.fusion.type} fusion" if len(inputs) > 1 else ""
    return " + ".join(inputs) + fusion


def make_row(
    name: str,
    settings: FinetuneSettings,
    plan: TrialPlan,
    cards: Mapping[Modality, Card],
    scored: Scored,
) -> Row:
    """Score a trial's test predictions and say all it takes to check or repeat that.

    ``config`` leaves out the seed, so that rows of one sweep are averaged over their seeds.
    """
    trial, task = scored.result.settings, settings.task
    manifest = plan.store.manifest
    used = {name: cards[name].model_dump(mode="json") for name in settings.modalities}
    config = settings.method() | {"cards": used}
    trained = _TRAINED[trial.variant].format(run=settings.run)
    return Row(
        task=task.name,
        metric=task.metric_name,
        unit=task.unit,
        higher_is_better=task.metric.higher_is_better,
        model=f"{model_label(settings, cards)}, {trained}",
        variant=trial.variant,
        seed=trial.seed,
        value=task.metric.function(
            scored.predictions["target"].tolist(), scored.predictions["prediction"].tolist()
        ),
        num_test=len(scored.predictions),
        dataset=settings.dataset,
        dataset_fingerprint=manifest.dataset_fingerprint,
        split_sha256=manifest.split_sha256,
        config_hash=fingerprint(config),
        config=config,
        code_commit=scored.result.code_commit,
        code_dirty=scored.result.code_dirty,
        checkpoint_uri=str(scored.folder / WEIGHTS_FILE),
        checkpoint_sha256=sha256_of(scored.folder / WEIGHTS_FILE),
        predictions_uri=str(scored.path),
        predictions_sha256=sha256_of(scored.path),
        parent_run="" if trial.variant == "from_scratch" else settings.run,
        run_name=name,
        hyperparameters={"lr": trial.lr, "best_epoch": scored.result.best_epoch},
        hardware=scored.result.hardware,
        wall_time_s=scored.result.wall_time_s,
        samples_seen=scored.result.samples_seen,
    )
