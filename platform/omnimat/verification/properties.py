"""Rows of predicted properties: fine-tuned networks and what was trained without pretraining."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from pydantic import ValidationError
from upath import UPath

from omnimat.encoders.export import Card
from omnimat.evaluation.inputs import featurizers_of
from omnimat.evaluation.metrics import per_class_accuracy
from omnimat.features.layout import Featurizer
from omnimat.finetune.tasks import Targets, TaskSettings, read_targets
from omnimat.leaderboard.row import Row
from omnimat.materials.record import Modality
from omnimat.materials.split import Split
from omnimat.verification.dataset import CheckedDataset, named
from omnimat.verification.evidence import Evidence
from omnimat.verification.modalities import Needs, usable
from omnimat.verification.outcome import FaultError, Finding, Note, UnreachableError
from omnimat.verification.tables import (
    check_materials,
    check_targets,
    is_same,
    read_table,
    recomputed,
    unscored,
)

_SPLIT: Split = "test"
_TRIAL = "trial.json"
_CLASSES = "per_class_accuracy"


def is_of_properties(row: Row) -> bool:
    """Tell rows of this kind."""
    return "tasks" in row.config or "task" in row.config


def check_properties(row: Row, evidence: Evidence) -> Iterator[Finding]:
    """Compute the value again from predictions, against targets read from the shards.

    Raises:
        FaultError: the task is none of the configuration's, or the file holds no predictions.
        UnreachableError: a file is missing, or was written by another version.
    """
    tasks = tasks_of(row.config)
    if row.task not in tasks:
        known = ", ".join(map(repr, tasks))
        raise FaultError(f"task is {row.task!r}, but config predicts {known}")
    task = tasks[row.task]
    yield from check_fit(row, task)
    uri = row.predictions_uri
    table = read_table(evidence.data(uri, "predictions_uri"), uri)
    yield from check_value(row, task, table)
    dataset = evidence.dataset(row)
    yield from check_materials(table, dataset.split_by_id, _SPLIT, uri)
    material_ids, targets = targets_of(dataset, task, _SPLIT, evidence)
    yield from check_targets(table, material_ids, targets, uri)
    yield from check_left_out(row, dataset, unscored(table, material_ids, targets))
    yield from check_trial(row, evidence)


def tasks_of(config: Mapping[str, Any]) -> dict[str, TaskSettings]:
    """Read the tasks of a configuration, by name.

    Raises:
        UnreachableError: this version does not know such tasks.
    """
    entries = config.get("tasks") or [config["task"]]
    try:
        tasks = [TaskSettings.model_validate(entry) for entry in entries]
    except (ValidationError, TypeError) as error:
        raise UnreachableError("config has tasks that this omnimat cannot read") from error
    return {task.name: task for task in tasks}


def check_fit(row: Row, task: TaskSettings) -> Iterator[Finding]:
    """Compare metric, unit and direction with those of the task."""
    for name, there in (
        ("metric", task.metric_name),
        ("unit", task.unit),
        ("higher_is_better", task.scoring.higher_is_better),
    ):
        if getattr(row, name) != there:
            yield f"{name} is {getattr(row, name)!r}, that of task {task.name!r} is {there!r}"


def check_trial(row: Row, evidence: Evidence) -> Iterator[Finding]:
    """Compare seed and variant with the trial that left the checkpoint, where there is one."""
    if not row.checkpoint_uri:
        return
    path = UPath(row.checkpoint_uri).parent / _TRIAL
    try:
        settings = json.loads(evidence.data(str(path), "checkpoint_uri"))["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise UnreachableError(f"{path} is no result of a trial: {error}") from error
    for name in ("seed", "variant"):
        if settings.get(name) != getattr(row, name):
            yield f"{path}: {name} is {settings.get(name)}, the row says {getattr(row, name)}"


def check_value(row: Row, task: TaskSettings, table: pd.DataFrame) -> Iterator[Finding]:
    """Compute the value again, and what else the row says of its predictions.

    Raises:
        FaultError: the predictions have no metric.
    """
    if row.num_test != len(table):
        yield f"{row.predictions_uri}: {len(table)} predictions, num_test says {row.num_test}"
    value = recomputed(table, task.scoring, row.predictions_uri)
    if not is_same(value, row.value):
        yield (
            f"value is {row.value!r}, {task.metric_name} of the predictions in "
            f"{row.predictions_uri} is {value!r}"
        )
    if _CLASSES in row.details:
        classes = per_class_accuracy(table["target"].tolist(), table["prediction"].tolist())
        if classes != row.details[_CLASSES]:
            yield f"details: {_CLASSES} is not that of {row.predictions_uri}"


def targets_of(
    dataset: CheckedDataset, task: TaskSettings, split: Split, evidence: Evidence
) -> tuple[list[str], Targets]:
    """Read a task's targets of a split from the shards.

    Returns:
        The ids of the split's N materials and their targets.
    """
    key = ("properties", str(dataset.directory), split)
    properties = evidence.remembered(key, lambda: dataset.properties(split))
    return list(properties), read_targets(properties.values(), task)


def check_left_out(row: Row, dataset: CheckedDataset, left_out: list[str]) -> Iterator[Finding]:
    """See that materials with a target were left out for want of a modality alone."""
    if not left_out:
        return
    featurizers = _featurizers(row)
    needs: Needs = "any" if row.config.get("missing_modalities") == "fuse" else "all"
    if could := usable(dataset, left_out, featurizers, needs):
        yield (
            f"{row.predictions_uri}: material {named(could)} of the {_SPLIT} split is left out, "
            "but has the target and the modalities"
        )
    lacking = len(left_out) - len(could)
    if lacking:
        yield Note(
            f"{lacking} materials of the {_SPLIT} split have the target and lack "
            f"{' or '.join(featurizers) if needs == 'all' else 'all of ' + ', '.join(featurizers)}"
        )


def _featurizers(row: Row) -> dict[Modality, Featurizer]:
    try:
        cards = {name: Card.model_validate(card) for name, card in row.config["cards"].items()}
    except (ValidationError, KeyError, AttributeError) as error:
        raise UnreachableError(
            "config has no encoders that this version of omnimat can read, so what was left out "
            "cannot be explained"
        ) from error
    return featurizers_of(cards)
