"""How a space of embeddings is laid out: crystal systems apart, modalities together.

UniMat (Ock et al., 2024) gives the silhouette by crystal system of its embeddings of MP-20, each of
one run: -0.028 of XRD, -0.072 of composition and +0.132 of both fused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from upath import UPath

from omnimat.base.settings import Settings
from omnimat.evaluation.section import EmbeddedSplit, Finding
from omnimat.objectives.embeddings import Column, Embeddings

CRYSTAL_SYSTEM = "crystal_system"


@dataclass(frozen=True, slots=True)
class Silhouette:
    """How much nearer materials lie to those of their own class than to those of the next.

    Attributes:
        mean: from -1 to 1; 0 where classes overlap.
        per_class: the mean over each class's materials, by sorted label.
        num_scored: materials scored.
        num_labelled: materials they were drawn from.
    """

    mean: float
    per_class: dict[str, float]
    num_scored: int
    num_labelled: int


class ClustersSettings(Settings):
    """Silhouette by crystal system; alignment, uniformity and gap of the modalities.

    With more than one modality, the mean of all of them is looked at too, where a material has
    them all: fusion that nothing was trained for.

    Attributes:
        max_materials: the silhouette is of so many, drawn at random, since it takes every pair;
            the other measures are of all.
        seed: of the draw.
    """

    max_materials: int = Field(default=10_000, ge=3)
    seed: int = Field(default=0, ge=0)

    def evaluate(self, split: EmbeddedSplit, folder: UPath) -> list[Finding]:
        """Measure every modality, their mean and every pair; writes no file of its own."""
        del folder
        embeddings = split.embeddings
        columns: dict[str, Column] = {name: embeddings.column(name) for name in embeddings.values}
        if len(columns) > 1:
            columns[f"mean of {', '.join(columns)}"] = mean_of_modalities(embeddings)
        systems = [properties.get(CRYSTAL_SYSTEM) for properties in split.properties]
        findings: list[Finding] = []
        for name, column in columns.items():
            findings += self._spread(name, column, systems)
        return [*findings, *_pairs(embeddings)]

    def _spread(self, name: str, column: Column, systems: list[str | None]) -> Iterator[Finding]:
        rows = column.present.nonzero().squeeze(1)
        if len(rows) > 1:
            yield Finding(
                task=f"spread of {name}",
                metric="uniformity",
                value=uniformity(column.values[rows]),
                higher_is_better=False,
                num_test=len(rows),
            )
        labels = [systems[row] for row in rows.tolist()]
        found = silhouette(column.values[rows].numpy(), labels, self.max_materials, self.seed)
        if found is not None:
            yield Finding(
                task=f"crystal systems in {name}",
                metric="silhouette",
                value=found.mean,
                higher_is_better=True,
                num_test=found.num_scored,
                details={
                    "per_class_silhouette": found.per_class,
                    "num_labelled": found.num_labelled,
                    "sample_seed": self.seed,
                },
                settings={"clusters": self.model_dump(mode="json")},
            )


def mean_of_modalities(embeddings: Embeddings) -> Column:
    """Give the unit mean of all modalities: (N, d), present where a material has them all."""
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
        labels: of the N; those without are left out.
        max_materials: scored at most, drawn at random without regard to the class.
        seed: of the draw.

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
    """Draw so many rows, all where there are no more; in their order."""
    if len(rows) <= count:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))


def alignment(first: Tensor, second: Tensor) -> float:
    """Mean squared distance of two embeddings of one material (Wang and Isola 2020, alpha = 2).

    Args:
        first: (N, d) unit rows.
        second: (N, d) unit rows of the same materials.

    Returns:
        From 0 (equal) to 4; 2 for directions that have nothing to do with each other.
    """
    return float((first.double() - second.double()).square().sum(dim=1).mean())


def uniformity(values: Tensor, block_rows: int = 256) -> float:
    """Log of the mean of exp(-2 distance^2) over all pairs (Wang and Isola 2020, t = 2).

    Args:
        values: (N, d) unit rows, N > 1.
        block_rows: rows compared at a time; memory is ``block_rows * N`` float32.

    Returns:
        From 0 (one point) down; random directions in many dimensions give nearly -4.
    """
    total = 0.0
    for start in range(0, len(values), block_rows):
        # Between unit rows the squared distance is 2 - 2 cos; each pair is taken once.
        cosines = values[start : start + block_rows] @ values[start:].T
        kernel = cosines.mul_(4).sub_(4).exp_().triu_(diagonal=1)
        total += float(kernel.sum(dtype=torch.float64))
    return math.log(total / math.comb(len(values), 2))


def modality_gap(first: Tensor, second: Tensor) -> float:
    """Distance of the means of two modalities (Liang et al. 2022, "Mind the gap"): (N, d) each."""
    return float((first.double().mean(dim=0) - second.double().mean(dim=0)).norm())


def _pairs(embeddings: Embeddings) -> Iterator[Finding]:
    for one, other in combinations(embeddings.values, 2):
        both = embeddings.present[one] & embeddings.present[other]
        if both.any():
            first, second = embeddings.values[one][both], embeddings.values[other][both]
            yield Finding(
                task=f"alignment of {one} and {other}",
                metric="alignment",
                value=alignment(first, second),
                higher_is_better=False,
                num_test=int(both.sum()),
                details={"modality_gap": modality_gap(first, second)},
            )
