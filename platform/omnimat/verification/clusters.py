"""Rows about how embeddings are laid out: silhouette, uniformity and alignment, measured again."""

from __future__ import annotations

import json
from collections.abc import Iterator

from omnimat.evaluation import clusters, section
from omnimat.leaderboard.row import Row
from omnimat.objectives.embeddings import Column, Embeddings
from omnimat.verification.agreement import check_agreement
from omnimat.verification.embeddings import (
    StoredEmbeddings,
    check_embedded,
    check_pretraining_seed,
    read_embeddings,
    task_and_split,
)
from omnimat.verification.evidence import Evidence
from omnimat.verification.outcome import FaultError, Finding

_SPREAD, _SYSTEMS, _ALIGNMENT = "spread of ", "crystal systems in ", "alignment of "
_MEAN = "mean of "

# Sums of float32 in another order.
_RELATIVE_TOLERANCE = 1e-4


def is_of_clusters(row: Row) -> bool:
    """Tell rows of this kind."""
    return row.task.startswith((_SPREAD, _SYSTEMS, _ALIGNMENT))


def check_clusters(row: Row, evidence: Evidence) -> Iterator[Finding]:
    """Measure again, and see that the split's materials are all there.

    Raises:
        FaultError: the row asks for what cannot be, or its file holds no embeddings.
        UnreachableError: a file is missing, or was written by another version.
    """
    task, split = task_and_split(row)
    stored = read_embeddings(row, evidence)
    properties = evidence.properties(evidence.dataset(row), split)
    try:
        if task.startswith(_SPREAD):
            found = _spread(task, stored.embeddings)
        elif task.startswith(_ALIGNMENT):
            found = _alignment(task, stored.embeddings)
        else:
            found = _systems(row, task, stored, properties)
    except (KeyError, StopIteration, ValueError) as error:
        told = f"{task!r} cannot be measured: {error}"
        raise FaultError(f"{row.predictions_uri}: {told}") from error
    yield from check_agreement(row, [found], _RELATIVE_TOLERANCE)
    yield from check_embedded(row, stored, split, evidence)
    yield from check_pretraining_seed(row, evidence)


def _spread(task: str, embeddings: Embeddings) -> section.Finding:
    column = _column(task.removeprefix(_SPREAD), embeddings)
    values = column.values[column.present]
    value = clusters.uniformity(values)
    return section.Finding(task, "uniformity", value, False, len(values))


def _alignment(task: str, embeddings: Embeddings) -> section.Finding:
    one, _, other = task.removeprefix(_ALIGNMENT).partition(" and ")
    first, second = _column(one, embeddings), _column(other, embeddings)
    both = first.present & second.present
    pair = first.values[both], second.values[both]
    details = {"modality_gap": clusters.modality_gap(*pair)}
    value = clusters.alignment(*pair)
    return section.Finding(task, "alignment", value, False, int(both.sum()), details=details)


def _systems(
    row: Row, task: str, stored: StoredEmbeddings, properties: dict[str, str]
) -> section.Finding:
    settings = clusters.ClustersSettings.model_validate(row.config.get("clusters", {}))
    column = _column(task.removeprefix(_SYSTEMS), stored.embeddings)
    known = [json.loads(properties[one]) for one in stored.material_ids]
    labels = [
        properties_of_one.get(clusters.CRYSTAL_SYSTEM)
        for properties_of_one, is_there in zip(known, column.present.tolist(), strict=True)
        if is_there
    ]
    values = column.values[column.present].numpy()
    found = clusters.silhouette(values, labels, settings.max_materials, settings.seed)
    if found is None:
        raise ValueError("there are fewer than two classes")
    details = {"per_class_silhouette": found.per_class, "num_labelled": found.num_labelled}
    return section.Finding(task, "silhouette", found.mean, True, found.num_scored, details=details)


def _column(name: str, embeddings: Embeddings) -> Column:
    if name.startswith(_MEAN):
        return clusters.mean_of_modalities(embeddings)
    return next(embeddings.column(one) for one in embeddings.values if one == name)
