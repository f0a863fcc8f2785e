"""From finished trials to leaderboard rows: selection on validation, and the proof of a score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import pandas as pd
from rich.table import Table
from upath import UPath

from omnimat.base.provenance import sha256_of
from omnimat.base.settings import fingerprint
from omnimat.evaluation.metrics import per_class_accuracy
from omnimat.finetune.outcome import TrialResult
from omnimat.finetune.plan import TrialPlan
from omnimat.finetune.settings import Contender, FinetuneSettings, Point, TrialSettings
from omnimat.finetune.tasks import TaskSettings
from omnimat.leaderboard.row import Row
from omnimat.materials.record import Modality
from omnimat.models.export import WEIGHTS_FILE, Card

_TRAINED = {
    "finetuned": "fine-tuned from {run}",
    "frozen": "frozen, from {run}",
    "linear_probe": "linear probe of {run}",
    "from_scratch": "from scratch",
}


@dataclass(frozen=True, slots=True)
class Scored:
    """A selected trial and what it predicts of one task's test split.

    Attributes:
        task: that is predicted.
        result: of the trial.
        folder: of the trial.
        predictions: with the columns ``material_id``, ``target``, ``prediction`` and ``split``.
        path: where they were written.
    """

    task: TaskSettings
    result: TrialResult
    folder: UPath
    predictions: pd.DataFrame
    path: UPath


def best_points(results: Iterable[TrialResult]) -> dict[Contender, Point]:
    """Choose for each contender the point of the least validation error, averaged over seeds.

    Of equal ones the first in the grid is chosen.
    """
    errors: dict[Contender, dict[Point, list[float]]] = {}
    for result in results:
        points = errors.setdefault(result.settings.contender, {})
        points.setdefault(result.settings.point, []).append(result.validation_error)
    return {
        contender: min(points, key=lambda point, points=points: fmean(points[point]))  # type: ignore[misc]
        for contender, points in errors.items()
    }


def selected(
    results: Sequence[TrialResult], chosen: Mapping[Contender, Point]
) -> list[TrialResult]:
    """Keep the trials at the chosen points, all seeds of each."""
    return [one for one in results if one.settings.point == chosen[one.settings.contender]]


def trials_table(results: Sequence[TrialResult], tasks: Sequence[TaskSettings]) -> pd.DataFrame:
    """Lay out every trial: one row for each and task."""
    return pd.DataFrame(
        {
            "variant": one.settings.variant,
            "train_fraction": one.settings.train_fraction,
            **dict(one.settings.point),
            "seed": one.settings.seed,
            "task": task.name,
            "metric": task.metric_name,
            "unit": task.unit,
            "validation_metric": one.validation_metrics[task.name],
            "validation_error": one.validation_error,
            "best_epoch": one.best_epoch,
            "num_epochs": len(one.history),
            "samples_seen": one.samples_seen,
            "wall_time_s": one.wall_time_s,
        }
        for one in results
        for task in tasks
    )


def sweep_table(
    results: Sequence[TrialResult],
    tasks: Sequence[TaskSettings],
    chosen: Mapping[Contender, Point],
) -> Table:
    """Lay out a sweep for the terminal: a line a point, seeds averaged, the chosen ones marked."""
    lines: dict[tuple[Contender, Point], list[TrialResult]] = {}
    for one in results:
        lines.setdefault((one.settings.contender, one.settings.point), []).append(one)
    keys = [key for key, _ in next(iter(chosen.values()))]
    named = [f"{task.name} {task.metric_name}" for task in tasks]
    table = Table("variant", "of training", *keys, "seeds", "validation error", *named, "chosen")
    for ((variant, part), point), members in lines.items():
        table.add_row(
            variant,
            f"{100 * part:g} %",
            *(f"{value:g}" if isinstance(value, float) else str(value) for _, value in point),
            str(len(members)),
            _mean([one.validation_error for one in members]),
            *(_mean([one.validation_metrics[task.name] for one in members]) for task in tasks),
            "yes" if chosen[variant, part] == point else "",
        )
    return table


def _mean(values: Sequence[float]) -> str:
    spread = f" ± {stdev(values):.2g}" if len(values) > 1 else ""
    return f"{fmean(values):.4g}{spread}"


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
    result, task, manifest = scored.result, scored.task, plan.store.manifest
    used = {name: cards[name].model_dump(mode="json") for name in settings.modalities}
    config = settings.method() | {"cards": used, "train_fraction": result.settings.train_fraction}
    return Row(
        task=task.name,
        metric=task.metric_name,
        unit=task.unit,
        higher_is_better=task.scoring.higher_is_better,
        model=f"{model_label(settings, cards)}, {_trained(settings, result.settings)}",
        variant=result.settings.variant,
        seed=result.settings.seed,
        value=task.scoring.function(*_test_values(scored)),
        num_test=len(scored.predictions),
        dataset=settings.dataset,
        dataset_uri=str(plan.store.dataset),
        dataset_fingerprint=manifest.dataset_fingerprint,
        split_sha256=manifest.split_sha256,
        config_hash=fingerprint(config),
        config=config,
        code_commit=result.code_commit,
        code_dirty=result.code_dirty,
        checkpoint_uri=str(scored.folder / WEIGHTS_FILE),
        checkpoint_sha256=sha256_of(scored.folder / WEIGHTS_FILE),
        predictions_uri=str(scored.path),
        predictions_sha256=sha256_of(scored.path),
        parent_run="" if result.settings.variant == "from_scratch" else settings.run,
        run_name=name,
        hyperparameters=dict(result.settings.point) | {"best_epoch": result.best_epoch},
        details=_details(scored),
        hardware=result.hardware,
        wall_time_s=result.wall_time_s,
        samples_seen=result.samples_seen,
    )


def _trained(settings: FinetuneSettings, trial: TrialSettings) -> str:
    part = f"{100 * trial.train_fraction:g} % of training" if trial.train_fraction < 1 else ""
    how = _TRAINED[trial.variant].format(run=settings.run)
    return ", ".join(words for words in (how, part, settings.label) if words)


def _test_values(scored: Scored) -> tuple[list[Any], list[Any]]:
    return scored.predictions["target"].tolist(), scored.predictions["prediction"].tolist()


def _details(scored: Scored) -> dict[str, Any]:
    """Say how many records taught, and how well each class is recognised."""
    details: dict[str, Any] = {"num_train": scored.result.num_records["train"]}
    if scored.task.kind == "classification":
        details["per_class_accuracy"] = per_class_accuracy(*_test_values(scored))
    return details
