"""The records of a split that a task can use, in memory and in batches."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import nn

from omnimat.base.errors import UserError
from omnimat.finetune.folds import Fold, FoldRule, Folds
from omnimat.finetune.heads.tokens import Tokens
from omnimat.finetune.kept import KeptInputs, fits
from omnimat.finetune.model import FeatureBatch, autocast
from omnimat.finetune.settings import MissingModalities
from omnimat.finetune.tasks import TaskSettings, read_targets
from omnimat.finetune.trial_settings import TrialSettings
from omnimat.materials.split import Split
from omnimat.materials.targets import Targets
from omnimat.modalities.batch import Batch, collate
from omnimat.modalities.layout import ID_COLUMN, PROPERTIES_COLUMN, Featurizer
from omnimat.modalities.upload import copied_ahead
from omnimat.modalities.views import StoredViews
from omnimat.nn.precision import exact_products
from omnimat.stream.store import FeatureStore

# So all trials train on the same part, and a smaller part lies within a larger one.
_PART_SEED = 0


class Inputs(Protocol):
    """What a network takes for N records."""

    def batches(self, parts: Iterable[NDArray[np.int64]]) -> Iterator[Any]:
        """Give the network's argument for the records of each part, in their order."""

    def in_epoch(self, epoch: int) -> Inputs:
        """Give the inputs as they are in an epoch, which differ where features vary."""

    def kept(self) -> Inputs:
        """Give the same inputs, made ready for many passes."""


@dataclass(frozen=True, slots=True)
class FeatureInputs:
    """Features of one or more modalities.

    Attributes:
        table: the feature table with N rows, in one chunk: to take a batch from many chunks takes
            20 times longer.
        featurizers: the featurizers of the modalities.
        device: where batches are put.
        views: how the features vary; None if they stay as they are stored.
    """

    table: pa.Table
    featurizers: Mapping[str, Featurizer]
    device: torch.device
    views: StoredViews | None = None

    def batches(self, parts: Iterable[NDArray[np.int64]]) -> Iterator[FeatureBatch]:
        """Collate the records of each part for the encoders, one part ahead of the caller."""
        items = ((len(rows), [self._collated(rows)]) for rows in parts)
        for num_records, (tensors,) in copied_ahead(items, self.device):
            yield FeatureBatch(num_records, tensors)

    def _collated(self, rows: NDArray[np.int64]) -> Batch:
        collated = collate(self.table.take(pa.array(rows)), self.featurizers)
        return collated if self.views is None else self.views.of(collated, self.featurizers)

    def in_epoch(self, epoch: int) -> FeatureInputs:
        """Give the same records, through the views of this epoch."""
        return self if self.views is None else replace(self, views=self.views.in_epoch(epoch))

    def kept(self) -> Inputs:
        """Keep what does not vary on the device, if there is room for it."""
        if self.views is not None or not fits(self.table.nbytes, self.device):
            return self
        return KeptInputs.of(self.table, self.featurizers, self.device)


@dataclass(frozen=True, slots=True)
class EmbeddingInputs:
    """Embeddings of N records, which no longer change."""

    embeddings: Tokens

    def batches(self, parts: Iterable[NDArray[np.int64]]) -> Iterator[Tokens]:
        """Give the embeddings of the records of each part, in their order."""
        for rows in parts:
            places = torch.from_numpy(rows).to(self.embeddings.values.device)
            yield Tokens(self.embeddings.values[places], self.embeddings.present[places])

    def in_epoch(self, epoch: int) -> EmbeddingInputs:
        """Give the same: nothing varies."""
        del epoch
        return self

    def kept(self) -> EmbeddingInputs:
        """Give the same, which is kept."""
        return self


@dataclass(frozen=True, slots=True)
class Examples:
    """The N records of a split that a network can learn from or be judged by.

    Attributes:
        material_ids: their (N,) ids.
        targets: their targets for each task; every record has at least one that is known.
        inputs: what the network takes for them.
        num_without_target: how many records were left out because no target is known.
        num_without_modality: how many others were left out because features are missing.
    """

    material_ids: NDArray[np.str_]
    targets: tuple[Targets, ...]
    inputs: Inputs
    num_without_target: int
    num_without_modality: int

    def __len__(self) -> int:
        return len(self.material_ids)


@dataclass(frozen=True, slots=True)
class Usable:
    """Where the records of ``Examples`` lie; the other attributes are the same.

    Attributes:
        positions: (N,) rows of the store.
    """

    positions: NDArray[np.int64]
    targets: tuple[Targets, ...]
    num_without_target: int
    num_without_modality: int


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the N records of a store.

    Attributes:
        is_in: (N,) whether each record is one of them.
        name: what messages call them, as in ``test records``.
    """

    is_in: NDArray[np.bool_]
    name: str

    @classmethod
    def of(cls, store: FeatureStore, split: Split, fold: Fold | None) -> Part:
        """Find the records of a split: that of the data set, or that of a fold."""
        if fold is None:
            return cls((store.records["split"] == split).to_numpy(), f"{split} records")
        is_in: NDArray[np.bool_] = read_folds(store, fold).split(fold) == split
        return cls(is_in, f"{split} records of {fold.property} {fold.test}")


def read_folds(store: FeatureStore, rule: FoldRule) -> Folds:
    """Find the folds of a store's records."""
    column = store.columns([PROPERTIES_COLUMN])[PROPERTIES_COLUMN]
    return Folds.of(store.records, column.to_pylist(), rule)


def find_usable(
    store: FeatureStore,
    featurizers: Mapping[str, Featurizer],
    tasks: Sequence[TaskSettings],
    part: Part,
    missing_modalities: MissingModalities,
) -> Usable:
    """Find the records of a part that have a target and the modalities; reads no features.

    Raises:
        UserError: if there is no such record for a task.
    """
    positions = np.flatnonzero(part.is_in)
    column = store.columns([PROPERTIES_COLUMN]).take(pa.array(positions))
    properties = column[PROPERTIES_COLUMN].to_pylist()
    targets = [read_targets(properties, task) for task in tasks]
    has = np.stack([_has(store, f)[positions] for f in featurizers.values()])
    is_present = has.all(axis=0) if missing_modalities == "leave_out" else has.any(axis=0)
    for task, of_task in zip(tasks, targets, strict=True):
        if not (of_task.is_known & is_present).any():
            known = ", ".join(json.loads(properties[0])) if properties else ""
            raise UserError(
                f"tasks: {task.name!r}: of {len(positions)} {part.name} none has both "
                f"{task.target!r} and the features of {', '.join(featurizers)}; properties of the "
                f"first: {known or 'none'}"
            )
    is_known = np.any([of_task.is_known for of_task in targets], axis=0)
    kept = np.flatnonzero(is_known & is_present)
    return Usable(
        positions=positions[kept],
        targets=tuple(of_task[kept] for of_task in targets),
        num_without_target=int((~is_known).sum()),
        num_without_modality=int((is_known & ~is_present).sum()),
    )


def read_examples(
    store: FeatureStore,
    featurizers: Mapping[str, Featurizer],
    usable: Usable,
    device: torch.device,
    fraction: float = 1.0,
    views: StoredViews | None = None,
) -> Examples:
    """Read usable records, or a part of them but at least one, into memory."""
    part = part_of(len(usable.positions), fraction)
    table = store.of_modalities(featurizers).table(usable.positions[part]).combine_chunks()
    return Examples(
        material_ids=np.array(table[ID_COLUMN].to_pylist()),
        targets=tuple(of_task[part] for of_task in usable.targets),
        inputs=FeatureInputs(table, featurizers, device, views),
        num_without_target=usable.num_without_target,
        num_without_modality=usable.num_without_modality,
    )


def part_of(num_records: int, fraction: float) -> NDArray[np.int64]:
    """Give the places of a part of the records, but at least one, in ascending order."""
    if fraction >= 1:
        return np.arange(num_records)
    num_kept = max(1, round(fraction * num_records))
    return np.sort(np.random.default_rng(_PART_SEED).permutation(num_records)[:num_kept])


def _has(store: FeatureStore, featurizer: Featurizer) -> NDArray[np.bool_]:
    first = f"{featurizer.modality}.{featurizer.fields[0].name}"
    has: NDArray[np.bool_] = store.columns([first])[first].is_valid().to_numpy()
    return has


@torch.no_grad()
def apply_in_batches(
    module: nn.Module, inputs: Inputs, num_records: int, settings: TrialSettings
) -> list[Any]:
    """Apply a module in evaluation mode to all records, and give its output for each batch."""
    module.eval()
    device = next(module.parameters()).device
    firsts = range(0, num_records, settings.batch_size)
    rows = (np.arange(first, min(first + settings.batch_size, num_records)) for first in firsts)
    with autocast(settings.precision, device), exact_products():
        return [module(batch) for batch in inputs.batches(rows)]
