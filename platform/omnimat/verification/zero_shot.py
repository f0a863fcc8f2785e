"""Rows of zero-shot classification: labels told from sentences, against the data set's own."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import numpy as np
from pydantic import ValidationError

from omnimat.evaluation.metrics import METRICS, MetricName, per_class_accuracy
from omnimat.evaluation.zero_shot import PromptTask
from omnimat.finetune.tasks import Targets
from omnimat.leaderboard.row import Row
from omnimat.verification.dataset import CheckedDataset, named
from omnimat.verification.embeddings import (
    check_pretraining_seed,
    featurizers_of_run,
    task_and_split,
)
from omnimat.verification.evidence import Evidence
from omnimat.verification.modalities import usable
from omnimat.verification.outcome import FaultError, Finding, Note, UnreachableError
from omnimat.verification.tables import (
    check_materials,
    check_targets,
    is_same,
    read_table,
    recomputed,
    unscored,
)

_KEY = "zero_shot"
_METRICS: tuple[MetricName, ...] = ("accuracy", "balanced_accuracy")


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
    try:
        task = PromptTask.model_validate(row.config[_KEY])
    except ValidationError as error:
        raise UnreachableError("config.zero_shot cannot be read by this omnimat") from error
    if told != f"zero-shot {task.name} of {task.modality}":
        raise FaultError(f"task is {told!r}, config has {task.name!r} of {task.modality}")
    metric = next((one for one in _METRICS if one == row.metric), None)
    if metric is None or row.unit or not row.higher_is_better:
        raise FaultError(
            f"metric is {row.metric!r}, unit {row.unit!r}, higher_is_better "
            f"{row.higher_is_better}; zero-shot has {' or '.join(_METRICS)}, higher is better"
        )
    uri = row.predictions_uri
    table = read_table(evidence.data(uri, "predictions_uri"), uri)
    if row.num_test != len(table):
        yield f"{uri}: {len(table)} predictions, num_test says {row.num_test}"
    value = recomputed(table, METRICS[metric], uri)
    if not is_same(value, row.value):
        yield f"value is {row.value!r}, {metric} of the predictions in {uri} is {value!r}"
    classes = per_class_accuracy(table["target"].tolist(), table["prediction"].tolist())
    if row.details.get("per_class_accuracy", classes) != classes:
        yield f"details: per_class_accuracy is not that of {uri}"
    if strange := sorted(set(table["prediction"]) - set(task.prompts)):
        yield f"{uri}: prediction {named(strange)} is no label of config.zero_shot"
    dataset = evidence.dataset(row)
    yield from check_materials(table, dataset.split_by_id, split, uri)
    key = ("properties", str(dataset.directory), split)
    properties = evidence.remembered(key, lambda: dataset.properties(split))
    truth = truth_of(task, properties)
    yield from check_targets(table, list(properties), truth, uri)
    left_out = unscored(table, list(properties), truth)
    yield from _check_left_out(row, task, dataset, left_out)
    yield from check_pretraining_seed(row, evidence)
