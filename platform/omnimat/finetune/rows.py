"""From finished trials to rows of the leaderboard: chosen on validation, scored on test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import pandas as pd
from rich.table import Table
from upath import UPath

from omnimat.base.confined import Confined
from omnimat.base.provenance import sha256_of
from omnimat.finetune.folds import CountedFold
from omnimat.finetune.outcome import TrialResult
from omnimat.finetune.plan import TrialPlan
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.tasks import TaskSettings
from omnimat.finetune.trial_settings import Contender, Point, TrialSettings
from omnimat.leaderboard.finding import Finding
from omnimat.leaderboard.folds import FOLD
from omnimat.leaderboard.members import BEST_EPOCH
from omnimat.leaderboard.metrics import per_class_accuracy
from omnimat.leaderboard.overlap import AnyOverlap
from omnimat.leaderboard.row import Row
from omnimat.models.export import WEIGHTS_FILE, Card

SECTION = "finetune"  # what rows name it by
TRAINED_ON = "trained_on"  # the fingerprint of the data set, where another one judges
HELD_OUT_BY = "held_out_by"  # the fingerprints of the data sets in ``held_out``, by name

_TRAINED = {
    "finetuned": "fine-tuned from {run}",
    "frozen": "frozen, from {run}",
    "linear_probe": "linear probe of {run}",
    "from_scratch": "from scratch",
}


@dataclass(frozen=True, slots=True)
class Scored:
    """A chosen trial, and what it predicts for the test split of one task.

    Attributes:
        task: the task.
        result: the result of the trial.
        folder: the folder of the trial.
        predictions: the columns ``material_id``, ``target``, ``prediction`` and ``split``.
        path: where these were written.
        num_folds: how many folds the data set has; 0 without folds.
        overlaps: what the model has seen before of what judges it: its pretraining if it has one,
            and its own training where another data set judges.
    """

    task: TaskSettings
    result: TrialResult
    folder: UPath
    predictions: pd.DataFrame
    path: UPath
    num_folds: int = 0
    overlaps: tuple[AnyOverlap, ...] = ()

    @property
    def fold(self) -> CountedFold | None:
        """The fold that judges."""
        fold = self.result.settings.fold
        return None if fold is None else fold.counted(self.num_folds)


def best_points(results: Iterable[TrialResult]) -> dict[Contender, Point]:
    """Choose for each contender the point with the least validation error, averaged over seeds.

    Among equal ones, the first in the grid is chosen.
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
    """Keep the trials at the chosen points, with all their seeds."""
    return [one for one in results if one.settings.point == chosen[one.settings.contender]]


def trials_table(results: Sequence[TrialResult], tasks: Sequence[TaskSettings]) -> pd.DataFrame:
    """Lay out all trials: a line for each trial and task."""
    return pd.DataFrame(
        {
            "variant": one.settings.variant,
            "train_fraction": one.settings.train_fraction,
            **_fold_column(one.settings.contender),
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
    """Lay out a sweep: a line for each point, averaged over seeds; the chosen ones are marked."""
    lines: dict[tuple[Contender, Point], list[TrialResult]] = {}
    for one in results:
        lines.setdefault((one.settings.contender, one.settings.point), []).append(one)
    keys = [key for key, _ in next(iter(chosen.values()))]
    named = [f"{task.name} {task.metric_name}" for task in tasks]
    folds = _fold_column(next(iter(chosen)))
    first = ("variant", "of training", *folds, *keys)
    table = Table(*first, "seeds", "validation error", *named, "chosen")
    for (contender, point), members in lines.items():
        table.add_row(
            contender.variant,
            f"{100 * contender.train_fraction:g} %",
            *_fold_column(contender).values(),
            *(f"{value:g}" if isinstance(value, float) else str(value) for _, value in point),
            str(len(members)),
            _mean([one.validation_error for one in members]),
            *(_mean([one.validation_metrics[task.name] for one in members]) for task in tasks),
            "yes" if chosen[contender] == point else "",
        )
    return table


def _fold_column(contender: Contender) -> dict[str, str]:
    """Give the column of the fold, which only a sweep over folds has."""
    return {} if contender.fold is None else {"fold": contender.fold}


def _mean(values: Sequence[float]) -> str:
    spread = f" ± {stdev(values):.2g}" if len(values) > 1 else ""
    return f"{fmean(values):.4g}{spread}"


def model_label(settings: FinetuneSettings, cards: Mapping[str, Card]) -> str:
    """Name a model by its modalities, their encoders and, if they are several, the fusion."""
    inputs = [f"{modality} ({cards[modality].encoder.type})" for modality in settings.modalities]
    fusion = f", {settings.head.type} fusion" if len(inputs) > 1 else ""
    return " + ".join(inputs) + fusion


def score(
    task: TaskSettings, predictions: pd.DataFrame, details: Mapping[str, Any] | None = None
) -> Finding:
    """Score a table of predictions.

    Args:
        task: what is predicted.
        predictions: the columns ``target`` and ``prediction``.
        details: what else the finding tells.

    Raises:
        ValueError: if a number is not finite, or a prediction has not the shape of its target.
    """
    values = predictions["target"].tolist(), predictions["prediction"].tolist()
    is_class = task.kind == "classification"
    per_class = {"per_class_accuracy": per_class_accuracy(*values)} if is_class else {}
    return Finding(
        task=task.name,
        metric=task.metric_name,
        value=task.scoring.function(*values),
        higher_is_better=task.scoring.higher_is_better,
        num_test=len(predictions),
        unit=task.unit,
        details={**(details or {}), **per_class},
    )


def make_row(
    name: str,
    settings: FinetuneSettings,
    plan: TrialPlan,
    cards: Mapping[str, Card],
    scored: Scored,
    storage: Confined,
) -> Row:
    """Score a trial's test predictions, with everything it takes to check or repeat that.

    ``config`` leaves out the seed, so that the rows of a sweep are averaged over their seeds. Task
    and ``config`` name the fold, so that rows of several folds are not.
    """
    result, fold = scored.result, scored.fold
    taught: dict[str, Any] = {"num_train": result.num_records["train"]}
    for overlap in scored.overlaps:
        taught |= overlap.as_details()
    task = scored.task if fold is None else fold.task(scored.task)
    return score(task, scored.predictions, taught).row(
        config_of(settings, plan, cards, result.settings, fold),
        **common_of(settings, plan, cards, result.settings),
        section=SECTION,
        dataset=settings.judging_dataset,
        dataset_uri=storage.name_of(plan.judging.dataset),
        code_commit=result.code_commit,
        code_dirty=result.code_dirty,
        checkpoint_uri=storage.name_of(scored.folder / WEIGHTS_FILE),
        checkpoint_sha256=sha256_of(scored.folder / WEIGHTS_FILE),
        predictions_uri=storage.name_of(scored.path),
        predictions_sha256=sha256_of(scored.path),
        parent_run="" if result.settings.variant == "from_scratch" else settings.run,
        run_name=name,
        hyperparameters=chosen_on_validation(result.settings, result.best_epoch),
        hardware=result.hardware,
        wall_time_s=result.wall_time_s,
        samples_seen=result.samples_seen,
    )


def config_of(
    settings: FinetuneSettings,
    plan: TrialPlan,
    cards: Mapping[str, Card],
    trial: TrialSettings,
    fold: CountedFold | None,
) -> dict[str, Any]:
    """Give the configuration of the rows of a trial."""
    used = {name: cards[name].model_dump(mode="json") for name in settings.modalities}
    config = settings.method() | {"cards": used, "train_fraction": trial.train_fraction}
    told: dict[str, Any] = {}
    if fold is not None:
        told[FOLD] = fold.model_dump(mode="json", exclude_none=True)
    if settings.test_dataset is not None:  # the row pins down the data set that judges
        told[TRAINED_ON] = plan.store.manifest.dataset_fingerprint
    if plan.held_out:
        told[HELD_OUT_BY] = dict(plan.held_out_fingerprints)
    return config | told


def common_of(
    settings: FinetuneSettings, plan: TrialPlan, cards: Mapping[str, Card], trial: TrialSettings
) -> dict[str, Any]:
    """Give what the rows of a trial have in common and what is known before it."""
    manifest = plan.judging.manifest
    return {
        "model": f"{model_label(settings, cards)}, {_trained(settings, trial)}",
        "variant": trial.variant,
        "seed": trial.seed,
        "dataset_fingerprint": manifest.dataset_fingerprint,
        "split_sha256": manifest.split_sha256,
    }


def chosen_on_validation(trial: TrialSettings, best_epoch: int) -> dict[str, Any]:
    """Give the point of the grid and the epoch."""
    return dict(trial.point) | {BEST_EPOCH: best_epoch}


def _trained(settings: FinetuneSettings, trial: TrialSettings) -> str:
    part = f"{100 * trial.train_fraction:g} % of training" if trial.train_fraction < 1 else ""
    how = _TRAINED[trial.variant].format(run=settings.run)
    return ", ".join(words for words in (how, part, settings.label) if words)
