"""Random views of materials, the same for the same run, epoch, material and view.

A view depends on nothing else: not on the worker, on what was delivered before, or on the other
modalities. So a resumed run, or one on another number of workers, sees the same views.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np

from omnimat.base.settings import Settings
from omnimat.materials.record import Record
from omnimat.modalities.layout import Arrays, Extractor, Featurizer

_FeaturizerT = TypeVar("_FeaturizerT", contravariant=True)


class Augmentation(Protocol[_FeaturizerT]):
    """How a modality varies from view to view; pure and picklable."""

    def check(self, featurizer: _FeaturizerT) -> None:
        """Refuse a featurizer whose arrays cannot be varied so, with a ``ValueError``."""

    def view(
        self, record: Record, featurizer: _FeaturizerT, generator: np.random.Generator
    ) -> Arrays | None:
        """Give the fields of the featurizer as a random view of the record shows them."""


class AugmentationSettings(Settings):
    """The base of augmentations that a job file names."""

    def check(self, featurizer: Featurizer) -> None:
        """Refuse a featurizer whose arrays cannot be varied so; most take any.

        Raises:
            ValueError: with what to change.
        """


def generator(
    seed: int, epoch: int, material_id: str, view: int, modality: str
) -> np.random.Generator:
    """Make the random numbers of one modality of one view; those of any other are unrelated."""
    name = f"{seed} {epoch} {material_id} {view} {modality}"
    digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


@dataclass(frozen=True)
class RandomViews:
    """What a stream shows of each record; by default the record as it is, once.

    Attributes:
        num_views: of each record in a batch, in adjacent rows.
        seed: of the run.
        augmentations: of the modalities that vary; each takes the featurizer of its modality.
    """

    num_views: int = 1
    seed: int = 0
    augmentations: Mapping[str, Augmentation[Any]] = field(default_factory=dict)

    def extractors(
        self, featurizers: Mapping[str, Featurizer], epoch: int, view: int
    ) -> dict[str, Extractor]:
        """Give what makes the arrays of one view: the featurizer itself where nothing varies."""
        drawn = {
            modality: _DrawnView(self.seed, epoch, view, featurizers[modality], augmentation)
            for modality, augmentation in self.augmentations.items()
        }
        return {**featurizers, **drawn}


@dataclass(frozen=True, slots=True)
class _DrawnView:
    seed: int
    epoch: int
    view: int
    featurizer: Featurizer
    augmentation: Augmentation[Any]

    def __call__(self, record: Record) -> Arrays | None:
        drawn = generator(
            self.seed, self.epoch, record.material_id, self.view, self.featurizer.modality
        )
        return self.augmentation.view(record, self.featurizer, drawn)
