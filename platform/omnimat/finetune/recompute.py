"""Rows of predicted properties, computed again from their predictions and the data set."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from pydantic import ValidationError

from omnimat.base.confined import beside
from omnimat.base.retry import reason
from omnimat.base.workspace import TRIAL
from omnimat.finetune.folds import CountedFold, Fold, Folds
from omnimat.finetune.rows import chosen_on_validation, score
from omnimat.finetune.tasks import TaskSettings, read_targets
from omnimat.finetune.trial_settings import TrialSettings
from omnimat.leaderboard.folds import FOLD
from omnimat.leaderboard.row import Row
from omnimat.materials.split import Split
from omnimat.materials.targets import Targets
from omnimat.modalities.layout import Featurizer
from omnimat.models.export import Card
from omnimat.models.inputs import featurizers_of
from omnimat.verification.agreement import check_agreement
from omnimat.verification.dataset import CheckedDataset
from omnimat.verification.evidence import Evidence
from omnimat.verification.left_out import Needs, check_left_out
from omnimat.verification.outcome import FaultError, Remark, UnreachableError, blamed_on
from omnimat.verification.tables import check_materials, check_targets, read_table, unscored

_SPLIT: Split = "test"


def recompute(row: Row, evidence: Evidence) -> Iterator[Remark]:
    """Score the predictions again, and compare the row with the trial that left the checkpoint.

    Raises:
        FaultError: if the configuration has no such task, or the file holds no predictions.
        UnreachableError: if a file is missing or was written by another version.
    """
    yield from check_predictions(row, evidence)
    yield from check_trial(row, evidence)


def check_predictions(row: Row, evidence: Evidence) -> Iterator[Remark]:
    """Score the predictions again, against targets that are read from the shards.

    Raises:
        FaultError: if the configuration has no such task, or the file holds no predictions.
        UnreachableError: if a file is missing or was written by another version.
    """
    judged = yield from check_scores(row, evidence)
    if left_out := judged.unscored():
        needs: Needs = "any" if row.config.get("missing_modalities") == "fuse" else "all"
        uri, dataset = row.predictions_uri, evidence.dataset(row)
        yield from check_left_out(uri, dataset, left_out, _featurizers(row), needs)


@dataclass(frozen=True, slots=True)
class Judged:
    """Predictions, and the N materials of the data set that judge them.

    Attributes:
        table: the predictions.
        material_ids: the (N,) materials.
        targets: their (N,) or (N, k) targets, read from the shards.
    """

    table: pd.DataFrame
    material_ids: Sequence[str]
    targets: Targets

    def unscored(self) -> list[str]:
        """Give the materials that have a target but no prediction."""
        return unscored(self.table, self.material_ids, self.targets)


def check_scores(row: Row, evidence: Evidence) -> Generator[Remark, None, Judged]:
    """Check value, materials, fold and targets, whoever has made the predictions.

    Returns:
        What was checked.

    Raises:
        FaultError: if the configuration has no such task, or the file holds no predictions.
        UnreachableError: if a file is missing or was written by another version.
    """
    fold = fold_of(row.config)
    tasks = tasks_of(row.config, fold)
    if row.task not in tasks:
        known = ", ".join(map(repr, tasks))
        raise FaultError(f"task is {row.task!r}, but config predicts {known}")
    task, uri = tasks[row.task], row.predictions_uri
    table = read_table(row, evidence)
    with blamed_on(f"{uri}: its predictions have no score"):
        found = score(task, table)
    yield from check_agreement(row, [found])
    judging = _judging(evidence.dataset(row), fold, evidence)
    if fold is not None and fold.num_folds != judging.num_folds:
        there = f"data set {row.dataset} has {judging.num_folds} folds"
        yield f"{there}, config.{FOLD}.num_folds is {fold.num_folds}"
    yield from check_materials(table, judging.splits, _SPLIT, uri)
    with blamed_on("config does not fit the data set"):
        targets = read_targets(judging.properties.values(), task)
    judged = Judged(table, list(judging.properties), targets)
    yield from check_targets(table, judged.material_ids, targets, uri)
    return judged


@dataclass(frozen=True, slots=True)
class _Judging:
    """The split of a data set, or that of a fold.

    Attributes:
        splits: the split of every material; None for one that takes no part.
        properties: the properties of the test materials, as JSON by material id.
        num_folds: how many folds the data set has; 0 without folds.
    """

    splits: Mapping[str, str | None]
    properties: Mapping[str, str]
    num_folds: int


def texts_of(
    dataset: CheckedDataset, fold: CountedFold | None, evidence: Evidence, split: Split
) -> Mapping[str, str]:
    """Give the properties of a split, of the data set or of a fold, as JSON by material id.

    Raises:
        UnreachableError: if a record cannot be read.
    """
    if fold is None:
        return evidence.properties(dataset, split)
    splits = _judging(dataset, fold, evidence).splits
    texts = evidence.properties(dataset, None)
    return {one: text for one, text in texts.items() if splits[one] == split}


def _judging(dataset: CheckedDataset, fold: CountedFold | None, evidence: Evidence) -> _Judging:
    if fold is None:
        return _Judging(dataset.split_by_id, evidence.properties(dataset, _SPLIT), 0)
    key = ("fold", str(dataset.directory), fold.fold.fingerprint())
    return evidence.remembered(key, lambda: _of_fold(dataset, fold.fold, evidence))


def _of_fold(dataset: CheckedDataset, fold: Fold, evidence: Evidence) -> _Judging:
    """Split the data set anew; whatever the row or its trial says of that is not looked at."""
    texts, index = evidence.properties(dataset, None), dataset.index
    folds = Folds.of(index, [texts[one] for one in index["material_id"]], fold)
    splits = dict(zip(index["material_id"], folds.split(fold), strict=True))
    test = {one: text for one, text in texts.items() if splits[one] == _SPLIT}
    return _Judging(splits, test, len(folds.known))


def fold_of(config: Mapping[str, Any]) -> CountedFold | None:
    """Read the fold of a configuration; None for the split of the data set."""
    if FOLD not in config:
        return None
    try:
        return CountedFold.model_validate(config[FOLD])
    except ValidationError as error:
        raise UnreachableError("config has a fold that this omnimat cannot read") from error


def tasks_of(config: Mapping[str, Any], fold: CountedFold | None) -> dict[str, TaskSettings]:
    """Read the tasks of a configuration by their names; an old one has a single task."""
    entries = config.get("tasks") or [config.get("task")]
    try:
        tasks = [TaskSettings.model_validate(entry) for entry in entries]
    except (ValidationError, TypeError) as error:
        raise UnreachableError("config has tasks that this omnimat cannot read") from error
    if fold is not None:
        tasks = [fold.task(task) for task in tasks]
    return {task.name: task for task in tasks}


def check_trial(row: Row, evidence: Evidence) -> Iterator[Remark]:
    """Compare a row with the trial that left the checkpoint, if it has one.

    Raises:
        UnreachableError: if there is no result of a trial beside the checkpoint.
    """
    if not row.checkpoint_uri:
        return
    path = beside(row.checkpoint_uri, TRIAL)
    try:
        there = _told(json.loads(evidence.data(path, "checkpoint_uri")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreachableError(f"{path} is no result of a trial: {reason(error)}") from error
    said = {
        "seed": row.seed,
        "variant": row.variant,
        "train_fraction": row.config.get("train_fraction", 1.0),
        "hyperparameters": row.hyperparameters,
        "samples_seen": row.samples_seen,
        "num_train": row.details.get("num_train", there["num_train"]),
        FOLD: None if (fold := fold_of(row.config)) is None else _as_json(fold.fold),
    }
    for name, value in there.items():
        if said[name] != value:
            yield f"{path}: {name} is {value}, the row says {said[name]}"


def _told(trial: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a trial says about its row; keys of another version are passed over."""
    keys = trial["settings"].keys() & TrialSettings.model_fields.keys()
    settings = TrialSettings.model_validate({key: trial["settings"][key] for key in keys})
    return {
        "seed": settings.seed,
        "variant": settings.variant,
        "train_fraction": settings.train_fraction,
        "hyperparameters": chosen_on_validation(settings, trial["best_epoch"]),
        "samples_seen": trial["samples_seen"],
        "num_train": trial["num_records"]["train"],
        FOLD: _as_json(settings.fold),
    }


def _as_json(fold: Fold | None) -> dict[str, Any] | None:
    return None if fold is None else fold.model_dump(mode="json", exclude_none=True)


def _featurizers(row: Row) -> dict[str, Featurizer]:
    try:
        cards = {name: Card.model_validate(card) for name, card in row.config["cards"].items()}
    except (ValidationError, KeyError, AttributeError) as error:
        raise UnreachableError(
            "config has no encoders that this omnimat can read, so what was left out cannot be "
            "explained"
        ) from error
    return featurizers_of(cards)
