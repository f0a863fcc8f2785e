"""Rows of zero-shot classification: labels told from sentences, against the data set's own."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from omnimat.evaluation.metrics import METRICS
from omnimat.evaluation.zero_shot import PromptTask
from omnimat.finetune.tasks import Targets
from omnimat.leaderboard.row import Row
from omnimat.verification.agreement import check_details
from omnimat.verification.embeddings import (
    check_pretraining_seed,
    featurizers_of_run,
    task_and_split,
)
from omnimat.verification.evidence import Evidence
from omnimat.verification.modalities import check_left_out
from omnimat.verification.outcome import FaultError, Finding, UnreachableError, named
from omnimat.verification.tables import (
    check_materials,
    check_numbers,
    check_targets,
    read_table,
    unscored,
)

_KEY = "zero_shot"


def is_of_zero_shot(row: Row) -> bool:
    """Tell rows of this kind."""
    return _KEY in row.config


def check_zero_shot(row: Row, evidence: Evidence) -> Iterator[Finding]:
    """Compute the value again from predicted labels, against labels read from the shards.

    Raises:
        FaultError: the row is not of its configuration, or the file holds no predictions.
        UnreachableError: a file is missing, or was written by another version.
    """
    told, split = task_and_split(row)
    task = _task(row, told)
    metric = next((one for name, one in METRICS.items() if name == row.metric), None)
    if metric is None or not metric.is_of_classes or row.unit or not row.higher_is_better:
        raise FaultError(
            f"metric is {row.metric!r}, unit {row.unit!r}, higher_is_better {row.higher_is_better}:"
            " zero-shot has metrics of classes, of which more is better"
        )
    uri = row.predictions_uri
    table = read_table(evidence.predictions(row).data, uri)
    yield from check_numbers(row, table, metric)
    if strange := sorted(set(table["prediction"]) - set(task.prompts)):
        yield f"{uri}: prediction {named(strange)} is no label of config.zero_shot"
    dataset = evidence.dataset(row)
    yield from check_materials(table, dataset.split_by_id, split, uri)
    properties = evidence.properties(dataset, split)
    yield from check_details(row, _details(row, task, table, len(properties)))
    truth = _truth(task, properties)
    yield from check_targets(table, list(properties), truth, uri)
    if left_out := unscored(table, list(properties), truth):
        of_one = {task.modality: featurizers_of_run(row)[task.modality]}
        yield from check_left_out(uri, dataset, left_out, of_one, "all")
    yield from check_pretraining_seed(row, evidence)


def _task(row: Row, told: str) -> PromptTask:
    try:
        task = PromptTask.model_validate(row.config[_KEY])
    except ValidationError as error:
        raise UnreachableError("config.zero_shot cannot be read by this omnimat") from error
    if told != f"zero-shot {task.name} of {task.modality}":
        raise FaultError(f"task is {told!r}, config has {task.name!r} of {task.modality}")
    return task


def _truth(task: PromptTask, properties: Mapping[str, str]) -> Targets:
    labels = [task.truth(json.loads(text)) for text in properties.values()]
    is_known = np.array([label is not None for label in labels], dtype=np.bool_)
    return Targets(np.array([str(label) for label in labels]), is_known)


def _details(row: Row, task: PromptTask, table: pd.DataFrame, num_split: int) -> dict[str, Any]:
    """Give what an evaluation says of such predictions, besides the accuracy of each class."""
    counts = Counter(table["target"].tolist())
    majorities = {"accuracy": max(counts.values()) / len(table)}
    return {
        "chance": 1 / len(task.prompts),
        "num_per_class": dict(counts),
        "num_left_out": num_split - len(table),
        "majority": majorities.get(row.metric, 1 / len(counts)),
    }
