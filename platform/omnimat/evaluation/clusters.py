"""How embeddings are laid out: are crystal systems apart, and are modalities together?

UniMat (Ock et al., 2024) gives the silhouette by crystal system for its embeddings of MP-20, from
one run each: -0.028 for XRD, -0.072 for composition and +0.132 for both fused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from upath import UPath

from omnimat.evaluation.rerun import rerun_embeddings
from omnimat.evaluation.section import EmbeddedSplit, Section, task_and_split
from omnimat.evaluation.stored import (
    EMBEDDINGS,
    check_embedded,
    check_pretraining_seed,
    read_embeddings,
)
from omnimat.leaderboard.finding import Finding
from omnimat.leaderboard.row import Row
from omnimat.objectives.embeddings import Column, Embeddings
from omnimat.verification.agreement import check_agreement
from omnimat.verification.evidence import Evidence
from omnimat.verification.outcome import FaultError, Remark, blamed_on
from omnimat.verification.rerun import Sample

if TYPE_CHECKING:
    from torch import Tensor

CRYSTAL_SYSTEM = "crystal_system"

_KEY = "clusters"  # of a row's configuration
_RELATIVE_TOLERANCE = 1e-4  # for sums of float32 in another order

Measure = Callable[[str], Finding | None]
"""Measures what the task of this name asks for; None where there are too few materials."""


@dataclass(frozen=True, slots=True)
class Silhouette:
    """How much nearer materials lie to those of their own class than to those of the next.

    Attributes:
        mean: from -1 to 1; 0 where classes overlap.
        per_class: the mean over the materials of each class, by sorted label.
        num_scored: how many materials were scored.
        num_labelled: how many materials they were drawn from.
    """

    mean: float
    per_class: dict[str, float]
    num_scored: int
    num_labelled: int


class ClustersSettings(Section):
    """Silhouette by crystal system; alignment, uniformity and gap of the modalities.

    With more than one modality, the mean of all of them is measured too, for materials that have
    them all: a fusion that nothing was trained for.

    Attributes:
        max_materials: how many materials the silhouette is computed for, drawn at random, since it
            compares every pair; the other measures are of all.
        seed: decides which ones.
    """

    max_materials: int = Field(default=10_000, ge=3)
    seed: int = Field(default=0, ge=0)

    def judged_by(self, modalities: Collection[str]) -> dict[str, frozenset[str]]:
        """Every modality is judged by the crystal system."""
        return dict.fromkeys(modalities, frozenset({CRYSTAL_SYSTEM}))

    def evaluate(self, split: EmbeddedSplit, folder: UPath) -> list[Finding]:
        """Measure every modality, their mean and every pair; writes no file of its own."""
        del folder
        measures = self._measures(split.embeddings, split.properties)
        found = (measure(task) for task, measure in measures.items())
        return [one for one in found if one is not None]

    @classmethod
    def recompute(cls, row: Row, evidence: Evidence) -> Iterator[Remark]:
        """Measure again, and check that the embeddings are those of the split."""
        task, split = task_and_split(row)
        stored = read_embeddings(row, evidence)
        known = evidence.properties(evidence.dataset(row), split)
        with blamed_on(f"{row.predictions_uri}: {task!r} cannot be measured"):
            properties = [json.loads(known.get(one, "{}")) for one in stored.material_ids]
            settings = cls.model_validate(row.config.get(_KEY, {}))
            found = settings._measures(stored.embeddings, properties)[task](task)
        if found is None:
            raise FaultError(f"{row.predictions_uri} has too few materials for {task!r}")
        yield from check_agreement(row, [found], _RELATIVE_TOLERANCE)
        yield from check_embedded(row, stored, split, evidence)
        yield from check_pretraining_seed(row, evidence)

    @classmethod
    def rerun(cls, row: Row, evidence: Evidence, sample: Sample) -> Iterator[Remark]:
        """Embed a sample of the split again."""
        yield from rerun_embeddings(row, evidence, sample)

    def _measures(
        self, embeddings: Embeddings, properties: Sequence[Mapping[str, Any]]
    ) -> dict[str, Measure]:
        """Give the measures by the names of their tasks."""
        columns: dict[str, Column] = {name: embeddings.column(name) for name in embeddings.values}
        pairs = list(combinations(columns, 2))
        if pairs:
            columns[f"mean of {', '.join(columns)}"] = mean_of_modalities(embeddings)
        systems = [known.get(CRYSTAL_SYSTEM) for known in properties]
        measures: dict[str, Measure] = {}
        for name, column in columns.items():
            measures[f"spread of {name}"] = partial(_spread, column)
            measures[f"crystal systems in {name}"] = partial(self._systems, column, systems)
        for one, other in pairs:
            pair = columns[one], columns[other]
            measures[f"alignment of {one} and {other}"] = partial(_alignment, *pair)
        return measures

    def _systems(self, column: Column, systems: Sequence[str | None], task: str) -> Finding | None:
        rows = column.present.nonzero().squeeze(1)
        labels = [systems[row] for row in rows.tolist()]
        found = silhouette(column.values[rows].numpy(), labels, self.max_materials, self.seed)
        if found is None:
            return None
        return Finding(
            task=task,
            metric="silhouette",
            value=found.mean,
            higher_is_better=True,
            num_test=found.num_scored,
            predictions=EMBEDDINGS,
            details={
                "per_class_silhouette": found.per_class,
                "num_labelled": found.num_labelled,
                "sample_seed": self.seed,
            },
            settings={_KEY: self.model_dump(mode="json")},
        )


def _spread(column: Column, task: str) -> Finding | None:
    values = column.values[column.present]
    if len(values) < 2:
        return None
    return Finding(task, "uniformity", uniformity(values), False, len(values), EMBEDDINGS)


def _alignment(one: Column, other: Column, task: str) -> Finding | None:
    both = one.present & other.present
    if not both.any():
        return None
    pair = one.values[both], other.values[both]
    return Finding(
        task=task,
        metric="alignment",
        value=alignment(*pair),
        higher_is_better=False,
        num_test=int(both.sum()),
        predictions=EMBEDDINGS,
        details={"modality_gap": modality_gap(*pair)},
    )


def mean_of_modalities(embeddings: Embeddings) -> Column:
    """Average all modalities to unit rows, (N, d), present where a material has them all."""
    import torch
    import torch.nn.functional as F

    present = torch.stack(list(embeddings.present.values())).all(dim=0)
    values = F.normalize(torch.stack(list(embeddings.values.values())).mean(dim=0), dim=-1)
    return Column(values * present.unsqueeze(1), present)


def silhouette(
    values: NDArray[np.float32],
    labels: list[str | None],
    max_materials: int = 10_000,
    seed: int = 0,
) -> Silhouette | None:
    """Score classes by the cosine distance (Rousseeuw 1987, scikit-learn's ``silhouette_samples``).

    Args:
        values: (N, d).
        labels: the N labels; materials without one are left out.
        max_materials: how many are scored at most, drawn at random whatever their class.
        seed: decides which ones.

    Returns:
        None where there are fewer than two classes, or no class has two materials.
    """
    from sklearn.metrics import silhouette_samples

    labelled = np.flatnonzero([label is not None for label in labels])
    rows = drawn(labelled, max_materials, seed)
    classes = np.array([labels[row] for row in rows], dtype=np.str_)
    names = np.unique(classes)
    if not 2 <= len(names) < len(rows):
        return None
    scores = silhouette_samples(values[rows], classes, metric="cosine")
    return Silhouette(
        mean=float(np.mean(scores, dtype=np.float64)),
        per_class={str(name): float(scores[classes == name].mean()) for name in names},
        num_scored=len(rows),
        num_labelled=len(labelled),
    )


def drawn(rows: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Draw this many rows, or take all where there are no more; they keep their order."""
    if len(rows) <= count:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))


def alignment(first: Tensor, second: Tensor) -> float:
    """Average the squared distance of two embeddings (Wang and Isola 2020, alpha = 2).

    Args:
        first: (N, d) unit rows.
        second: (N, d) unit rows of the same materials.

    Returns:
        From 0, where they are equal, to 4; 2 where their directions are unrelated.
    """
    return float((first.double() - second.double()).square().sum(dim=1).mean())


def uniformity(values: Tensor, block_rows: int = 256) -> float:
    """Take the log of the mean of exp(-2 distance^2) over all pairs (Wang and Isola 2020, t = 2).

    Args:
        values: (N, d) unit rows, N > 1.
        block_rows: how many rows are compared at a time, which takes ``block_rows * N`` float32.

    Returns:
        0 where all rows are equal, and less the more they are spread; random directions in many
        dimensions give nearly -4.
    """
    import torch

    total = 0.0
    for start in range(0, len(values), block_rows):
        # Between unit rows the squared distance is 2 - 2 cos; each pair is taken once.
        cosines = values[start : start + block_rows] @ values[start:].T
        kernel = cosines.mul_(4).sub_(4).exp_().triu_(diagonal=1)
        total += float(kernel.sum(dtype=torch.float64))
    return math.log(total / math.comb(len(values), 2))


def modality_gap(first: Tensor, second: Tensor) -> float:
    """Measure how far apart the means of two (N, d) modalities are (Liang et al. 2022)."""
    return float((first.double().mean(dim=0) - second.double().mean(dim=0)).norm())
