"""What a finished sweep is worth, beside a guess that looks at no material."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from statistics import fmean, stdev
from typing import Any

import pandas as pd

from omnimat.base.checked_json import read_checked_json
from omnimat.base.confined import beside
from omnimat.base.workspace import RESULT, TRIAL, Workspace
from omnimat.finetune.outcome import TrialResult
from omnimat.finetune.rows import SECTION
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.tasks import TaskSettings
from omnimat.leaderboard.board import rounded
from omnimat.leaderboard.folds import FOLD

_REMEDY = "run the job of the sweep again"


@dataclass(frozen=True, slots=True)
class Worth:
    """The scores of one variant of a sweep on one task.

    Attributes:
        task: what is predicted.
        variant: how the networks were trained.
        train_fraction: the fraction of the training split that they learned from.
        scores: of each seed, or of each fold, averaged over its seeds.
        guesses: of as many guesses: the training mean, or the most frequent class.
        num_test: how many materials were judged in all.
        parts: what there is a score of (``seeds``, ``folds of formulas``).
    """

    task: TaskSettings
    variant: str
    train_fraction: float
    scores: tuple[float, ...]
    guesses: tuple[float, ...]
    num_test: int
    parts: str

    @property
    def is_better(self) -> bool:
        """Whether the scores are better on average than the guesses."""
        gain = fmean(self.scores) - fmean(self.guesses)
        return gain > 0 if self.task.scoring.higher_is_better else gain < 0

    @property
    def sentence(self) -> str:
        """What it is worth, in a line."""
        unit = f" {self.task.error_unit}" if self.task.unit else ""
        of_class = self.task.scoring.is_of_classes
        guess = "the most frequent class" if of_class else "the training mean"
        of_part = self.train_fraction < 1
        part = f", {100 * self.train_fraction:g} % of the training split" if of_part else ""
        told = (
            f"{self.task.target}{part}: {self.task.metric_name} {_with_spread(self.scores)}{unit} "
            f"({self.num_test} test materials, {len(self.scores)} {self.parts}); to guess {guess} "
            f"gives {_with_spread(self.guesses)}{unit}"
        )
        return told if self.is_better else f"{told}, so nothing was learned that helps"


def worth(name: str, workspace: Workspace) -> list[Worth]:
    """Compare the rows of a finished sweep with guesses on the same test materials.

    Args:
        name: name of the sweep.
        workspace: where it lies.

    Returns:
        One for each task, variant and fraction of the training split.
    """
    result = read_checked_json(workspace.run(name) / RESULT, _REMEDY)
    settings = FinetuneSettings.model_validate(result["settings"])
    # The rows of a trial follow each other in the order of the tasks; means of networks come last.
    num_tasks = len(settings.tasks)
    rows = [row for row in result["rows"] if row["section"] == SECTION]
    table = pd.DataFrame(
        {
            "place": number % num_tasks,
            "variant": row["variant"],
            "train_fraction": row["config"]["train_fraction"],
            "part": row["seed"] if settings.folds is None else row["config"][FOLD]["test"],
            **_scored(row, number % num_tasks, settings, workspace),
        }
        for number, row in enumerate(rows)
    )
    return compared(settings, table)


def compared(settings: FinetuneSettings, table: pd.DataFrame) -> list[Worth]:
    """Compare scores with guesses.

    Args:
        settings: of the sweep.
        table: for each row of it the ``place`` of its task, ``variant``, ``train_fraction``,
            ``part`` (its seed, or the fold that tests), ``score``, ``guess`` and ``num_test``.

    Returns:
        One for each task, variant and fraction of the training split.
    """
    groups = table.groupby(["place", "variant", "train_fraction"])
    return [_of(settings, rows) for _, rows in groups]


def _of(settings: FinetuneSettings, rows: pd.DataFrame) -> Worth:
    first = rows.iloc[0]
    parts = rows.groupby("part")[["score", "guess", "num_test"]].mean()
    counts, names = parts["num_test"].astype(int), "seeds"
    num_test = counts.iloc[0]
    if settings.folds is not None:
        num_test = counts.sum()
        names = "folds of formulas" if settings.folds.of_formulas else "folds"
    return Worth(
        task=settings.tasks[first["place"]],
        variant=first["variant"],
        train_fraction=float(first["train_fraction"]),
        scores=tuple(parts["score"]),
        guesses=tuple(parts["guess"]),
        num_test=int(num_test),
        parts=names,
    )


def _scored(
    row: Mapping[str, Any], place: int, settings: FinetuneSettings, workspace: Workspace
) -> dict[str, float]:
    """Give the score of a row, that of a guess by its training targets, and the materials."""
    files, score = workspace.files, settings.tasks[place].scoring.function
    table = pd.read_parquet(BytesIO(files.read(row["predictions_uri"], "predictions_uri")))
    path = files.file(beside(row["checkpoint_uri"], TRIAL), "checkpoint_uri")
    trial = TrialResult.model_validate(read_checked_json(path, _REMEDY))
    targets = table["target"].tolist()
    guess = trial.codec.codecs[place].guess(len(targets)).tolist()
    return {"score": row["value"], "guess": score(targets, guess), "num_test": len(targets)}


def _with_spread(values: Sequence[float]) -> str:
    return rounded(fmean(values), stdev(values) if len(values) > 1 else None)
