"""Rows of predicted properties: fine-tuned networks and what was trained without pretraining."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from omnimat.base.errors import UserError
from omnimat.finetune.tasks import TaskSettings, read_targets
from omnimat.leaderboard.row import Row
from omnimat.materials.record import Modality
from omnimat.materials.split import Split
from omnimat.modalities.layout import Featurizer
from omnimat.models.export import Card
from omnimat.models.inputs import featurizers_of
from omnimat.verification.evidence import Evidence, location_of
from omnimat.verification.modalities import Needs, check_left_out
from omnimat.verification.outcome import FaultError, Finding, UnreachableError
from omnimat.verification.tables import (
    check_materials,
    check_numbers,
    check_targets,
    read_table,
    unscored,
)

_SPLIT: Split = "test"
_TRIAL = "trial.json"
_ALL = 1.0  # of the training split


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
    table = read_table(evidence.predictions(row).data, uri)
    yield from check_numbers(row, table, task.scoring)
    dataset = evidence.dataset(row)
    yield from check_materials(table, dataset.split_by_id, _SPLIT, uri)
    properties = evidence.properties(dataset, _SPLIT)
    try:
        targets = read_targets(properties.values(), task)
    except UserError as error:
        raise FaultError(f"config does not fit the data set: {error}") from error
    yield from check_targets(table, list(properties), targets, uri)
    if left_out := unscored(table, list(properties), targets):
        needs: Needs = "any" if row.config.get("missing_modalities") == "fuse" else "all"
        yield from check_left_out(uri, dataset, left_out, _featurizers(row), needs)
    yield from check_trial(row, evidence)


def tasks_of(config: Mapping[str, Any]) -> dict[str, TaskSettings]:
    """Read the tasks of a configuration, by name.

    Raises:
        UnreachableError: this version does not know such tasks.
    """
    entries = config.get("tasks") or [config.get("task")]
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
    """Compare the row with the trial that left the checkpoint, where there is one."""
    if not row.checkpoint_uri:
        return
    path = location_of(row.checkpoint_uri, "checkpoint_uri").parent / _TRIAL
    try:
        there = _told(json.loads(evidence.data(str(path), "checkpoint_uri")))
    except (ValueError, KeyError, TypeError) as error:
        raise UnreachableError(f"{path} is no result of a trial: {error}") from error
    said = {
        "seed": row.seed,
        "variant": row.variant,
        "train_fraction": row.config.get("train_fraction", _ALL),
        "hyperparameters": row.hyperparameters,
        "samples_seen": row.samples_seen,
        "num_train": row.details.get("num_train", there["num_train"]),
    }
    for name, value in there.items():
        if said[name] != value:
            yield f"{path}: {name} is {value}, the row says {said[name]}"


def _told(trial: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a trial tells of its row; those from before a key was there had its default."""
    settings = trial["settings"]
    point = {key: settings[key] for key in ("lr", *settings.get("chosen", ()))}
    return {
        "seed": settings["seed"],
        "variant": settings["variant"],
        "train_fraction": settings.get("train_fraction", _ALL),
        "hyperparameters": point | {"best_epoch": trial["best_epoch"]},
        "samples_seen": trial["samples_seen"],
        "num_train": trial["num_records"]["train"],
    }


def _featurizers(row: Row) -> dict[Modality, Featurizer]:
    try:
        cards = {name: Card.model_validate(card) for name, card in row.config["cards"].items()}
    except (ValidationError, KeyError, AttributeError) as error:
        raise UnreachableError(
            "config has no encoders that this version of omnimat can read, so what was left out "
            "cannot be explained"
        ) from error
    return featurizers_of(cards)
