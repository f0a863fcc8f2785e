"""Is a material like those that a model has learned from?

Two signs say that it is not: an element that no training material has, and an embedding that lies
far from theirs. Distance is Mahalanobis's, in the embeddings of the first member, with the
covariance of Ledoit and Wolf (2004).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Composition, Element
from sklearn.covariance import LedoitWolf

from omnimat.base.settings import Settings
from omnimat.materials.record import Record

Float = NDArray[np.float64]
FAR_QUANTILE = 0.99


class Domain(Settings):
    """What the training materials of a model are like.

    Attributes:
        elements: symbols of all their elements, in the order of atomic numbers.
        max_atoms: number of atoms of the largest.
        far: distance beyond which a material is far from them: 99 % of the validation materials
            are nearer.
        num_materials: how many they are.
    """

    elements: tuple[str, ...]
    max_atoms: int
    far: float
    num_materials: int


@dataclass(frozen=True, slots=True)
class Reference:
    """Where the embeddings of the training materials lie.

    Attributes:
        mean: (d,) their mean.
        whitening: (d, d) matrix that gives their deviations the unit matrix as covariance.
    """

    mean: Float
    whitening: Float

    @classmethod
    def fit(cls, embeddings: NDArray[np.floating]) -> Self:
        """Measure on (N, d) embeddings."""
        found = LedoitWolf().fit(embeddings.astype(np.float64))
        return cls(found.location_, np.linalg.cholesky(found.precision_))

    def distances(self, embeddings: NDArray[np.floating]) -> Float:
        """Give the distance of each of (N, d) embeddings, per square root of dimension: (N,)."""
        whitened = (embeddings.astype(np.float64) - self.mean) @ self.whitening
        distances: Float = np.sqrt((whitened**2).mean(axis=1))
        return distances


def elements_of(formulas: Iterable[str]) -> tuple[str, ...]:
    """List the symbols of all elements of some formulas, in the order of atomic numbers."""
    found = {element for formula in formulas for element in Composition(formula).elements}
    return tuple(element.symbol for element in sorted(found, key=lambda element: element.Z))


def notes(domain: Domain, record: Record, distance: float) -> list[str]:
    """Say why a material is unlike those of the training, if it is."""
    numbers = set() if record.structure is None else set(record.structure.atomic_numbers.tolist())
    symbols = [Element.from_Z(number).symbol for number in sorted(numbers)]
    unseen = [symbol for symbol in symbols if symbol not in domain.elements]
    found = [f"no training material has {', '.join(unseen)}"] if unseen else []
    if distance > domain.far:
        found.append(f"far from training (distance {distance:.2g}, limit {domain.far:.2g})")
    return found
