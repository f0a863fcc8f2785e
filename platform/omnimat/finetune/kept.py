"""Features of N records that are collated once and stay on the device, for many passes.

A batch is gathered from them. It equals what ``collate`` makes of the same rows, number by number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import psutil
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnimat.finetune.model import FeatureBatch
from omnimat.modalities.batch import ModalityArrays, collate, joined_counts
from omnimat.modalities.layout import Counts, Featurizer, Field
from omnimat.modalities.tensors import ModalityTensors

# Of the memory that is free. Several trials may share a device, and each keeps two splits.
_LARGEST_SHARE = 1 / 8


def fits(num_bytes: int, device: torch.device) -> bool:
    """Say whether so much may stay on a device beside a network that is trained there."""
    if device.type == "cuda":
        free_bytes, _ = torch.cuda.mem_get_info(device)
    else:
        free_bytes = psutil.virtual_memory().available
    return num_bytes <= _LARGEST_SHARE * free_bytes


@dataclass(frozen=True, slots=True)
class RaggedAxis:
    """How many items each of n records has along one axis, on the host and on the device.

    Attributes:
        counts: (n,) number of items.
        device_counts: the same on the device.
        firsts: (n,) where the items of each record begin, on the device.
    """

    counts: Counts
    device_counts: Tensor
    firsts: Tensor

    @classmethod
    def of(cls, counts: Counts, device: torch.device) -> Self:
        """Copy the counts of an axis to a device."""
        copied = torch.from_numpy(counts).to(device)
        return cls(counts, copied, torch.cumsum(copied, 0) - copied)

    def chosen(self, records: NDArray[np.int64], places: Tensor) -> ChosenItems:
        """Find the items of some records, given on the host and on the device."""
        counts = self.device_counts.index_select(0, places)
        begins = torch.cumsum(counts, 0) - counts
        num_items = int(self.counts[records].sum())  # so that nobody need ask the device
        items = ChosenItems(counts, begins, torch.arange(num_items, device=places.device))
        moved = items.spread(self.firsts.index_select(0, places) - begins)
        return replace(items, positions=items.positions + moved)


@dataclass(frozen=True, slots=True)
class ChosenItems:
    """The items of n chosen records along one axis.

    Attributes:
        counts: (n,) how many each record has.
        begins: (n,) where those of each record begin in the batch.
        positions: where each item of the batch lies among those of all records.
    """

    counts: Tensor
    begins: Tensor
    positions: Tensor

    def spread(self, values: Tensor) -> Tensor:
        """Repeat a value of each record for each of its items."""
        return torch.repeat_interleave(values, self.counts, output_size=len(self.positions))


@dataclass(frozen=True, slots=True)
class KeptModality:
    """One modality of N records, of which n have it.

    Attributes:
        fields: what its featurizer returns.
        places: (N,) the place of each record among the n, -1 where it lacks the modality; None
            where none does, so that records and places are the same.
        arrays: each field of the n records, on the device. What counts items along an axis counts
            from the first item of its own record.
        axes: the ragged axes.
        joined: for each axis along which a field joins items, the pairs of each of the n records.
    """

    fields: tuple[Field, ...]
    places: NDArray[np.int64] | None
    arrays: Mapping[str, Tensor]
    axes: Mapping[str, RaggedAxis]
    joined: Mapping[str, Counts]

    @classmethod
    def of(
        cls,
        fields: tuple[Field, ...],
        collated: ModalityArrays,
        num_records: int,
        device: torch.device,
    ) -> Self:
        """Copy a modality to a device."""
        places = np.full(num_records, -1)
        places[collated.rows] = np.arange(len(collated.rows))
        ragged = {field.axis: f"num_{field.axis}s" for field in fields if field.axis != "material"}
        counts = {axis: collated.arrays[name].astype(np.int64) for axis, name in ragged.items()}
        arrays = {field.name: _own_indices(field, collated, counts) for field in fields}
        return cls(
            fields=fields,
            places=None if len(collated.rows) == num_records else places,
            arrays={name: torch.from_numpy(array).to(device) for name, array in arrays.items()},
            axes={axis: RaggedAxis.of(each, device) for axis, each in counts.items()},
            joined=joined_counts(fields, collated.arrays),
        )

    def batch(self, rows: NDArray[np.int64], device: torch.device) -> ModalityTensors:
        """Gather the records at these rows, in this order."""
        present, records = self._present(rows)
        places = torch.from_numpy(records).to(device, non_blocking=True)
        chosen = {name: axis.chosen(records, places) for name, axis in self.axes.items()}
        arrays = {}
        for field in self.fields:
            items = chosen.get(field.axis)
            positions = places if items is None or field.is_padded else items.positions
            arrays[field.name] = self.arrays[field.name].index_select(0, positions)
            if field.is_padded:
                longest = int(self.axes[field.axis].counts[records].max(initial=0))
                arrays[field.name] = arrays[field.name][:, :longest].contiguous()
            if field.counted_from is not None:
                assert items is not None
                begins = chosen[field.counted_from].begins
                arrays[field.name] += items.spread(begins.to(arrays[field.name].dtype))
        arrays |= {f"num_{name}s": items.counts for name, items in chosen.items()}
        for name, counts in self.joined.items():
            shape = int(counts[records].sum()), 0
            arrays[f"joined_{name}s"] = torch.empty(shape, dtype=torch.int32, device=device)
        return ModalityTensors(torch.from_numpy(present).to(device, non_blocking=True), arrays)

    def _present(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Find which of these rows have the modality, and their places."""
        if self.places is None:
            return np.arange(len(rows)), rows
        own = self.places[rows]
        present = np.flatnonzero(own >= 0)
        return present, own[present]


def _own_indices(
    field: Field, collated: ModalityArrays, counts: Mapping[str, Counts]
) -> NDArray[np.generic]:
    """Give a field, in which indices of items count from the first item of their own record."""
    array = collated.arrays[field.name]
    if field.counted_from is None:
        return array
    sizes = counts[field.counted_from]
    begins = (np.cumsum(sizes) - sizes).astype(field.dtype)
    own: NDArray[np.generic] = array - np.repeat(begins, counts[field.axis])
    return own


@dataclass(frozen=True, slots=True)
class KeptInputs:
    """Features of N records on a device.

    Attributes:
        modalities: the modalities.
        device: where they and all batches lie.
    """

    modalities: Mapping[str, KeptModality]
    device: torch.device

    @classmethod
    def of(
        cls, table: pa.Table, featurizers: Mapping[str, Featurizer], device: torch.device
    ) -> Self:
        """Collate a feature table of N rows."""
        collated = collate(table, featurizers).modalities
        return cls(
            {
                name: KeptModality.of(featurizer.fields, collated[name], len(table), device)
                for name, featurizer in featurizers.items()
            },
            device,
        )

    def batch(self, rows: NDArray[np.int64]) -> FeatureBatch:
        """Gather these records for the encoders, in this order."""
        each = self.modalities.items()
        return FeatureBatch(len(rows), {name: one.batch(rows, self.device) for name, one in each})

    def batches(self, parts: Iterable[NDArray[np.int64]]) -> Iterator[FeatureBatch]:
        """Gather the records of each batch."""
        return map(self.batch, parts)

    def in_epoch(self, epoch: int) -> KeptInputs:
        """Give the same: nothing varies."""
        del epoch
        return self

    def kept(self) -> KeptInputs:
        """Give the same, which is kept."""
        return self
