"""Random views of materials, which are the same for the same run, epoch, material and view.

A view depends on nothing else: not on the worker, on what was delivered before, or on the other
modalities. So a run that is resumed, or runs on another number of workers, sees the same views.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from omnimat.base.settings import Settings
from omnimat.materials.record import Record
from omnimat.modalities.batch import Batch, ModalityArrays
from omnimat.modalities.layout import Arrays, Extractor, Featurizer


class AugmentationSettings(Settings):
    """How a modality varies from view to view; it has no side effects and can be pickled."""

    def check(self, featurizer: Any) -> None:
        """Refuse a featurizer whose arrays cannot be varied in this way; most accept any.

        Raises:
            ValueError: the featurizer does not fit; the message says what to change.
        """

    @abstractmethod
    def view(
        self, record: Record, featurizer: Any, generator: np.random.Generator
    ) -> Arrays | None:
        """Return the arrays of the featurizer's fields for a random view of the record."""


class ArrayAugmentationSettings(AugmentationSettings):
    """How a modality varies whose stored arrays can be varied too, without their records."""

    def check_stored(self, featurizer: Any) -> None:
        """Refuse a featurizer whose stored arrays cannot be varied; most that fit can be.

        Raises:
            ValueError: the featurizer does not fit; the message says what to change.
        """
        self.check(featurizer)

    @abstractmethod
    def vary(
        self, arrays: Arrays, featurizer: Any, generators: Sequence[np.random.Generator]
    ) -> Arrays:
        """Return a random view of the stored arrays of n records.

        Args:
            arrays: the featurizer's fields, of n records each; they are not changed.
            featurizer: what has made them.
            generators: the source of random numbers of each record.
        """


def generator(
    seed: int, epoch: int, material_id: str, view: int, modality: str
) -> np.random.Generator:
    """Make the random generator of one modality in one view, independent of all others."""
    name = f"{seed} {epoch} {material_id} {view} {modality}"
    digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


@dataclass(frozen=True)
class RandomViews:
    """The views that a stream shows of each record; by default, a single one of it as it is.

    Attributes:
        num_views: number of views of each record in a batch, which are in adjacent rows.
        seed: seed of the run.
        augmentations: augmentation of each modality that varies; it takes the featurizer of its
            modality.
    """

    num_views: int = 1
    seed: int = 0
    augmentations: Mapping[str, AugmentationSettings] = field(default_factory=dict)

    def extractors(
        self, featurizers: Mapping[str, Featurizer], epoch: int, view: int
    ) -> dict[str, Extractor]:
        """Return the extractors of one view: the featurizer itself where nothing varies."""
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
    augmentation: AugmentationSettings

    def __call__(self, record: Record) -> Arrays | None:
        drawn = generator(
            self.seed, self.epoch, record.material_id, self.view, self.featurizer.modality
        )
        return self.augmentation.view(record, self.featurizer, drawn)


@dataclass(frozen=True, slots=True)
class StoredViews:
    """One view of each stored record in an epoch.

    Attributes:
        augmentations: augmentation of each modality that varies.
        seed: seed of the run.
        epoch: the epoch.
    """

    augmentations: Mapping[str, ArrayAugmentationSettings]
    seed: int
    epoch: int = 0

    def in_epoch(self, epoch: int) -> StoredViews:
        """Return the views of an epoch."""
        return replace(self, epoch=epoch)

    def of(self, batch: Batch, featurizers: Mapping[str, Featurizer]) -> Batch:
        """Return a batch seen through the views, which depend on seed, epoch and ids alone."""
        varied = {
            modality: self._varied(batch, featurizers[modality], augmentation)
            for modality, augmentation in self.augmentations.items()
        }
        return replace(batch, modalities=batch.modalities | varied)

    def _varied(
        self, batch: Batch, featurizer: Featurizer, augmentation: ArrayAugmentationSettings
    ) -> ModalityArrays:
        stored = batch.modalities[featurizer.modality]
        if not len(stored.rows):
            return stored
        ids = batch.material_ids.take(pa.array(stored.rows)).to_pylist()
        generators = [generator(self.seed, self.epoch, one, 0, featurizer.modality) for one in ids]
        return replace(stored, arrays=augmentation.vary(stored.arrays, featurizer, generators))
