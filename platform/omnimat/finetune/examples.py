"""The records of a split that a task can use, in memory and in batches."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import nn

from omnimat.encoders.batch import ModalityTensors
from omnimat.encoders.fusion import Tokens
from omnimat.evaluation.inputs import only_modalities
from omnimat.features.batch import collate
from omnimat.features.layout import ID_COLUMN, PROPERTIES_COLUMN, Featurizer
from omnimat.finetune.model import FeatureBatch
from omnimat.finetune.settings import MissingModalities
from omnimat.finetune.tasks import TaskSettings, read_targets
from omnimat.materials.errors import UserError
from omnimat.materials.record import Modality
from omnimat.materials.split import Split
from omnimat.stream.store import FeatureStore

# Every trial trains on the same part, and a smaller part lies within a larger one.
_PART_SEED = 0


class Inputs(Protocol):
    """What a network takes, for N records."""

    def batch(self, rows: NDArray[np.int64]) -> Any:
        """Give the network's argument for these records, in this order."""


@dataclass(frozen=True, slots=True)
class FeatureInputs:
    """Features of one or more modalities.

    Attributes:
        table: (N rows) feature table of one chunk: taking a batch from many takes 20 times longer.
        featurizers: of the modalities.
        device: where batches go.
    """

    table: pa.Table
    featurizers: Mapping[Modality, Featurizer]
    device: torch.device

    def batch(self, rows: NDArray[np.int64]) -> FeatureBatch:
        """Collate these records for the encoders."""
        collated = collate(self.table.take(pa.array(rows)), self.featurizers)
        tensors = {
            modality: ModalityTensors.from_numpy(arrays).to(self.device)
            for modality, arrays in collated.modalities.items()
        }
        return FeatureBatch(len(rows), tensors)


@dataclass(frozen=True, slots=True)
class EmbeddingInputs:
    """Embeddings of N records that do not change any more."""

    embeddings: Tokens

    def batch(self, rows: NDArray[np.int64]) -> Tokens:
        """Give their rows."""
        places = torch.from_numpy(rows).to(self.embeddings.values.device)
        return Tokens(self.embeddings.values[places], self.embeddings.present[places])


@dataclass(frozen=True, slots=True)
class Examples:
    """What a task can use of a split.

    Attributes:
        material_ids: (N,) str.
        targets: (N,) float64 or str, or (N, k) float64.
        inputs: for N records.
        num_without_target: records left out because the target is unknown.
        num_without_modality: further records left out because the features are missing.
    """

    material_ids: NDArray[np.str_]
    targets: NDArray[Any]
    inputs: Inputs
    num_without_target: int
    num_without_modality: int

    def __len__(self) -> int:
        return len(self.material_ids)


@dataclass(frozen=True, slots=True)
class Usable:
    """The records of a split that a task can use.

    Attributes:
        positions: (N,) rows of the store.
        targets: of these, as in ``Examples``.
        num_without_target: records left out because the target is unknown.
        num_without_modality: further records left out because the features are missing.
    """

    positions: NDArray[np.int64]
    targets: NDArray[Any]
    num_without_target: int
    num_without_modality: int


def find_usable(
    store: FeatureStore,
    featurizers: Mapping[Modality, Featurizer],
    task: TaskSettings,
    split: Split,
    missing_modalities: MissingModalities,
) -> Usable:
    """Find the records of a split that have the target and the modalities; reads no features.

    Raises:
        UserError: if there is none.
    """
    positions = np.flatnonzero((store.records["split"] == split).to_numpy())
    column = store.features.select([PROPERTIES_COLUMN]).take(pa.array(positions))
    properties = column[PROPERTIES_COLUMN].to_pylist()
    targets = read_targets(properties, task)
    has = np.stack([_has(store, f)[positions] for f in featurizers.values()])
    is_present = has.all(axis=0) if missing_modalities == "leave_out" else has.any(axis=0)
    kept = np.flatnonzero(targets.is_known & is_present)
    if len(kept) == 0:
        known = ", ".join(json.loads(properties[0])) if properties else ""
        raise UserError(
            f"task.target: of {len(positions)} {split} records none has both {task.target!r} and "
            f"the features of {', '.join(featurizers)}; properties of the first: {known or 'none'}"
        )
    return Usable(
        positions=positions[kept],
        targets=targets.values[kept],
        num_without_target=int((~targets.is_known).sum()),
        num_without_modality=int((targets.is_known & ~is_present).sum()),
    )


def read_examples(
    store: FeatureStore,
    featurizers: Mapping[Modality, Featurizer],
    usable: Usable,
    device: torch.device,
    max_records: int | None = None,
) -> Examples:
    """Read usable records, or so many of them, into memory."""
    part = np.arange(len(usable.positions))
    if max_records is not None and max_records < len(part):
        part = np.sort(np.random.default_rng(_PART_SEED).permutation(part)[:max_records])
    table = only_modalities(store, featurizers).table(usable.positions[part]).combine_chunks()
    return Examples(
        material_ids=np.array(table[ID_COLUMN].to_pylist()),
        targets=usable.targets[part],
        inputs=FeatureInputs(table, featurizers, device),
        num_without_target=usable.num_without_target,
        num_without_modality=usable.num_without_modality,
    )


def _has(store: FeatureStore, featurizer: Featurizer) -> NDArray[np.bool_]:
    first = f"{featurizer.modality}.{featurizer.fields[0].name}"
    has: NDArray[np.bool_] = store.features[first].is_valid().to_numpy()
    return has


@torch.no_grad()
def apply_in_batches(
    module: nn.Module, inputs: Inputs, num_records: int, batch_size: int
) -> list[Any]:
    """Apply a module in evaluation mode to all records: its output for each batch of them."""
    module.eval()
    firsts = range(0, num_records, batch_size)
    rows = (np.arange(first, min(first + batch_size, num_records)) for first in firsts)
    return [module(inputs.batch(part)) for part in rows]
