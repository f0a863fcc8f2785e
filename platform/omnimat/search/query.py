"""What is sought: a crystal, a density of states, a diffraction pattern, a formula or words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from omnimat.materials.record import Modality, Record
from omnimat.modalities.featurizers import (
    CompositionFeaturizer,
    DosFeaturizer,
    TextFeaturizer,
    XrdFeaturizer,
)
from omnimat.modalities.layout import Arrays, Featurizer
from omnimat.modalities.text.embedding import TextEmbedding

Float = NDArray[np.float64]


class Query(ABC):
    """Something that the encoders of one or more modalities can read.

    Attributes:
        kind: what it is, for people.
        modalities: whose encoders can read it; the first does unless another is asked for.
    """

    __slots__ = ()
    kind: ClassVar[str]
    modalities: ClassVar[tuple[Modality, ...]]

    @abstractmethod
    def arrays(self, featurizer: Featurizer) -> Arrays:
        """Give the arrays of the featurizer's modality, which is one of ``modalities``.

        Raises:
            ValueError: they cannot be had of this query.
        """

    def notes(self, featurizer: Featurizer) -> list[str]:
        """Say in whole sentences how these arrays differ from what was given."""
        del featurizer
        return []


@dataclass(frozen=True, slots=True)
class Crystal(Query):
    """A structure, and so all that is computed from one."""

    record: Record
    kind: ClassVar[str] = "a structure"
    modalities: ClassVar[tuple[Modality, ...]] = ("structure", "xrd", "composition")

    def arrays(self, featurizer: Featurizer) -> Arrays:
        """Featurize the structure."""
        return cast(Arrays, featurizer(self.record))


@dataclass(frozen=True, slots=True)
class StatesCurve(Query):
    """A density of states of an unknown cell: (n,) energies from the Fermi level, (n,) states."""

    energies_ev: Float
    dos_per_ev: Float
    kind: ClassVar[str] = "a density of states"
    modalities: ClassVar[tuple[Modality, ...]] = ("dos",)

    def arrays(self, featurizer: Featurizer) -> Arrays:
        """Bring the curve to the featurizer's grid."""
        curve = cast(DosFeaturizer, featurizer)
        return curve.of_curve(self.energies_ev, self.dos_per_ev, num_atoms=None)

    def notes(self, featurizer: Featurizer) -> list[str]:
        """Say which channel the encoder was trained on."""
        spin = cast(DosFeaturizer, featurizer).spin
        channel = "of spin up" if spin == "up" else "of both spins together"
        return [f"The curve is taken to be the density {channel}, as the encoder's were."]


@dataclass(frozen=True, slots=True)
class Pattern(Query):
    """A measured diffraction pattern: (n,) scattering angles, (n,) intensities on any scale."""

    two_theta_degree: Float
    intensity: Float
    kind: ClassVar[str] = "a diffraction pattern"
    modalities: ClassVar[tuple[Modality, ...]] = ("xrd",)

    def arrays(self, featurizer: Featurizer) -> Arrays:
        """Bring the pattern to the featurizer's grid."""
        return cast(XrdFeaturizer, featurizer).of_curve(self.two_theta_degree, self.intensity)

    def notes(self, featurizer: Featurizer) -> list[str]:
        """Compare what was measured with the encoder's grid."""
        pattern = cast(XrdFeaturizer, featurizer)
        grid, step = pattern.two_theta_degree, pattern.step_degree
        first, last = self.two_theta_degree[[0, -1]]
        notes = []
        if first > grid[0] + step / 2 or last < grid[-1] - step / 2:
            notes.append(
                f"Measured from {first:g} to {last:g} degrees; the encoder takes {grid[0]:g} to "
                f"{grid[-1]:g}, and sees 0 where nothing was measured."
            )
        spacing = float(np.median(np.diff(self.two_theta_degree)))
        if spacing > 2 * step:
            notes.append(
                f"The points lie {spacing:g} degrees apart, the encoder's {step:g}: a list of "
                "peaks is no pattern."
            )
        if (self.intensity < 0).any():
            notes.append("Negative intensities are taken as 0.")
        return notes


@dataclass(frozen=True, slots=True)
class Formula(Query):
    """A composition: (n,) elements, each once, and their (n,) amounts."""

    atomic_numbers: NDArray[np.int32]
    amounts: Float
    kind: ClassVar[str] = "a formula"
    modalities: ClassVar[tuple[Modality, ...]] = ("composition",)

    def arrays(self, featurizer: Featurizer) -> Arrays:
        """Featurize the formula."""
        magpie = cast(CompositionFeaturizer, featurizer)
        return magpie.of_formula(self.atomic_numbers, self.amounts)


@dataclass(frozen=True, slots=True)
class Sentence(Query):
    """A description in words."""

    text: str
    kind: ClassVar[str] = "a sentence"
    modalities: ClassVar[tuple[Modality, ...]] = ("text",)

    def arrays(self, featurizer: Featurizer) -> Arrays:
        """Featurize the sentence."""
        if isinstance(featurizer, TextEmbedding) and featurizer.source != "hashed":
            raise ValueError(
                "the run's text encoder reads sentence embeddings that came with the data, and a "
                "new sentence has none: pretrain with modalities.text.featurizer.type text_tokens "
                "or huggingface_embedding, or with source hashed"
            )
        arrays = cast(TextFeaturizer, featurizer).of_text(self.text)
        if arrays is None:
            raise ValueError("the sentence has no words")
        return arrays
