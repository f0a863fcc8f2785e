"""Is a material like those that a model has learned from?

Three signs say that it is not: an element that no training material has, more atoms than any of
them, and an embedding that lies far from theirs. Distance is Mahalanobis's, in the embeddings of
the first member, with the covariance of Ledoit and Wolf (2004).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from omnimat.base.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

Float = NDArray[np.float64]
FAR_QUANTILE = 0.99
_LEAST_WIDTH = 1e-6


class Domain(Settings):
    """What the training materials of a model are like.

    Attributes:
        elements: symbols of all their elements, in the order of atomic numbers.
        max_atoms: number of atoms in the cell of the largest; 0 where none has a structure.
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
        """Measure on (N, d) embeddings.

        Directions in which they hardly differ are taken for as wide as a millionth of the widest;
        where all are equal, or there is one, the distance is Euclid's.
        """
        from sklearn.covariance import LedoitWolf

        points = embeddings.astype(np.float64)
        mean = points.mean(axis=0)
        if len(points) == 1 or not (points - mean).any():
            return cls(mean, np.eye(len(mean)))
        variances, axes = np.linalg.eigh(LedoitWolf().fit(points).covariance_)
        widths = np.sqrt(variances.clip(min=0))
        return cls(mean, axes / np.maximum(widths, widths.max() * _LEAST_WIDTH))

    @classmethod
    def of(cls, mean: Tensor, whitening: Tensor, width: int) -> Self:
        """Use what was measured before on embeddings of a width.

        Raises:
            ValueError: it was measured on others.
        """
        if mean.shape != (width,) or whitening.shape != (width, width):
            raise ValueError(f"the reference is not one of {width} numbers")
        return cls(mean.double().numpy(), whitening.double().numpy())

    def distances(self, embeddings: NDArray[np.floating]) -> Float:
        """Give the distance of each of (N, d) embeddings, per square root of dimension: (N,).

        That of an embedding that is not finite is not either.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            whitened = (embeddings.astype(np.float64) - self.mean) @ self.whitening
            distances: Float = np.sqrt((whitened**2).mean(axis=1))
        return distances


def elements_of(formulas: Iterable[str]) -> tuple[str, ...]:
    """List the symbols of all elements of some formulas, in the order of atomic numbers."""
    from pymatgen.core import Composition

    found = {element for formula in formulas for element in Composition(formula).elements}
    return tuple(element.symbol for element in sorted(found, key=lambda element: element.Z))


def notes(
    domain: Domain, atomic_numbers: Iterable[int], num_atoms: int, distance: float
) -> list[str]:
    """Say why a material is unlike those of the training, if it is.

    Args:
        domain: what those are like.
        atomic_numbers: its elements, in ascending order.
        num_atoms: how many atoms its cell has; 0 where that is not known.
        distance: the distance of its embedding from theirs.
    """
    from pymatgen.core import Element

    symbols = [Element.from_Z(number).symbol for number in atomic_numbers]
    unseen = [symbol for symbol in symbols if symbol not in domain.elements]
    found = [f"no training material has {', '.join(unseen)}"] if unseen else []
    if num_atoms > domain.max_atoms > 0:
        found.append(f"more atoms than any training material ({num_atoms}, {domain.max_atoms})")
    if distance > domain.far:
        found.append(f"far from training (distance {distance:.2g}, limit {domain.far:.2g})")
    return found
