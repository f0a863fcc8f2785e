"""Rows of retrieval: the split is ranked again by its stored embeddings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from omnimat.base.errors import UserError
from omnimat.evaluation.duplicates import DUPLICATE_RULES
from omnimat.evaluation.retrieval import MERGED, POOL_TOP_K, RetrievalSettings
from omnimat.evaluation.section import EMBEDDINGS
from omnimat.leaderboard.row import Row
from omnimat.materials.record import Modality
from omnimat.materials.split import Split
from omnimat.modalities.registry import MODALITIES
from omnimat.verification.agreement import check_agreement
from omnimat.verification.dataset import CheckedDataset
from omnimat.verification.embeddings import (
    StoredEmbeddings,
    check_embedded,
    check_pretraining_seed,
    read_embeddings,
    task_and_split,
)
from omnimat.verification.evidence import Evidence
from omnimat.verification.outcome import FaultError, Finding, UnreachableError

_TASK = re.compile(r"retrieval (?P<query>\w+) -> (?P<key>\w+)")
_POOL = re.compile(r"top-\d+ of (?P<size>\d+)")
_CHOICE = re.compile(r"1 of (?P<num>\d+)")

# Cosines in float32 differ by 1e-7 from one BLAS library to another, so of every hundred thousand
# ranks a few are others.
RELATIVE_TOLERANCE = 1e-4


def is_of_retrieval(row: Row) -> bool:
    """Tell rows of this kind."""
    return row.task.startswith("retrieval ") and row.predictions_uri.endswith(EMBEDDINGS)


def check_retrieval(row: Row, evidence: Evidence) -> Iterator[Finding]:
    """Rank again, and see that the split's materials are all there.

    Raises:
        FaultError: the row asks for what cannot be, or its file holds no embeddings.
        UnreachableError: a file is missing, or was written by another version.
    """
    task, split = task_and_split(row)
    pair = _pair(task)
    stored = read_embeddings(row, evidence)
    yield from check_scores(row, pair, stored, evidence)
    yield from check_embedded(row, stored, split, evidence)
    yield from check_groups(row, stored, split, evidence)
    yield from check_pretraining_seed(row, evidence)


def _pair(task: str) -> tuple[Modality, Modality]:
    matched = _TASK.fullmatch(task)
    told = matched.group("query", "key") if matched else ()
    named = [modality for one in told for modality in MODALITIES.names if modality == one]
    if len(named) < 2:
        raise FaultError(f"task is {task!r}, which names no two modalities")
    return named[0], named[1]


def check_scores(
    row: Row, pair: tuple[Modality, Modality], stored: StoredEmbeddings, evidence: Evidence
) -> Iterator[Finding]:
    """Compare the row with what ranking again gives."""
    settings = _settings(row, pair)
    key = ("retrieval", row.predictions_uri, settings.fingerprint())
    try:
        found = evidence.remembered(
            key, lambda: settings.score(stored.embeddings, stored.groups, "")
        )
    except (UserError, ValueError, KeyError) as error:
        told = f"{' -> '.join(pair)} cannot be ranked: {error}"
        raise FaultError(f"{row.predictions_uri}: {told}") from error
    yield from check_agreement(row, found, RELATIVE_TOLERANCE)


def _settings(row: Row, pair: tuple[Modality, Modality]) -> RetrievalSettings:
    pool = _POOL.match(row.metric)
    choice = _CHOICE.match(row.metric)
    try:
        return RetrievalSettings(
            pairs=(pair,),
            pool_size=max(int(pool["size"]), *POOL_TOP_K) if pool else None,
            pool_seed=row.config.get("pool_seed", 0),
            num_choices=(max(int(choice["num"]), 2),) if choice else (),
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "pairs"
        raise FaultError(f"{where} cannot be what retrieval is of: {first['msg']}") from error


def check_groups(
    row: Row, stored: StoredEmbeddings, split: Split, evidence: Evidence
) -> Iterator[Finding]:
    """Find duplicates again, where the row counts them."""
    rule = row.config.get("duplicates")
    if rule is None:
        if row.metric.endswith(MERGED):
            raise FaultError(f"metric is {row.metric!r}, and config has no rule of duplicates")
        return
    if rule not in DUPLICATE_RULES:
        raise UnreachableError(f"config.duplicates is {rule!r}, which this omnimat does not know")
    dataset = evidence.dataset(row)
    key = ("duplicates", str(dataset.directory), split, rule)
    labels = evidence.remembered(key, lambda: _labels(dataset, split, rule))
    again = [labels.get(one, -1) for one in stored.material_ids]
    # Labels may be named otherwise; the same materials have to be together.
    pairs = set(zip(again, stored.groups.tolist(), strict=True))
    if len(pairs) != len(set(again)) or len(pairs) != len(set(stored.groups.tolist())):
        yield f"{row.predictions_uri}: duplicate_group is not what the rule {rule!r} finds"


def _labels(dataset: CheckedDataset, split: Split, rule: Any) -> dict[str, int]:
    records = dataset.index[dataset.index["split"] == split].reset_index(drop=True)
    properties = [json.loads(text) for text in dataset.properties(split).values()]
    groups = DUPLICATE_RULES[rule](records, properties, dataset.directory)
    return dict(zip(records["material_id"], groups.tolist(), strict=True))
