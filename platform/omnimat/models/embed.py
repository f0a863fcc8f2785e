"""Embeds the rows of a feature store, or of any other feature table, with an exported encoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from upath import UPath

from omnimat.base.errors import RunError
from omnimat.materials.record import Record
from omnimat.modalities.batch import Batch, collate, feature_table
from omnimat.modalities.layout import QUARANTINE_COLUMN, Featurizer
from omnimat.modalities.tensors import ModalityTensors
from omnimat.modalities.upload import copied_ahead, tensors_of
from omnimat.models.export import Card, load
from omnimat.models.inputs import featurizers_of
from omnimat.nn.devices import fastest_device
from omnimat.nn.precision import exact_products
from omnimat.objectives.embeddings import Column
from omnimat.stream.store import FeatureStore


@dataclass(frozen=True, slots=True)
class ExportedEncoder:
    """An exported encoder that embeds like ``Multimodal`` in evaluation mode.

    Attributes:
        folder: folder of the export.
        card: card that describes the encoder.
        module: the network, on ``device``.
        device: CUDA if it is available, and the CPU otherwise.
    """

    folder: UPath
    card: Card
    module: nn.Module
    device: torch.device

    @classmethod
    def load(cls, folder: UPath) -> Self:
        """Load an exported encoder from its folder.

        Raises:
            UserError: the folder does not hold an export.
        """
        module, card = load(folder)
        device = fastest_device()
        return cls(folder, card, module.to(device), device)

    @property
    def featurizer(self) -> Featurizer:
        """The featurizer that returns the arrays on which it was trained."""
        return featurizers_of({self.card.modality: self.card})[self.card.modality]

    def embed_stored(
        self, store: FeatureStore, positions: NDArray[np.int64], batch_size: int = 256
    ) -> Column:
        """Embed N records of a store.

        Args:
            store: feature store that holds the encoder's modality.
            positions: rows of the store, shape (N,).
            batch_size: how many records are embedded at a time.

        Returns:
            The embeddings on the CPU, of unit length where the modality is present and zero
            elsewhere, float32 of shape (N, d).

        Raises:
            RunError: an embedding is not finite.
        """
        features = store.of_modalities({self.card.modality: self.featurizer})
        starts = range(0, len(positions), batch_size)
        tables = (features.table(positions[start : start + batch_size]) for start in starts)
        columns = [self._finite(column) for column in self._embedded(tables)]
        values = [torch.zeros(0, self.card.embedding_dim), *(c.values for c in columns)]
        present = [torch.zeros(0, dtype=torch.bool), *(c.present for c in columns)]
        return Column(torch.cat(values), torch.cat(present))

    def embed_record(self, record: Record) -> Tensor:
        """Embed one record.

        Returns:
            The embedding on the CPU, of unit length, float32 of shape (d,).

        Raises:
            ValueError: the record cannot be featurized, or lacks what the featurizer needs.
        """
        table = feature_table([record], {self.card.modality: self.featurizer})
        column = self.embed_table(table)
        if not column.present[0]:
            reason = table[QUARANTINE_COLUMN][0].as_py()
            raise ValueError(reason or f"it has nothing that {self.featurizer.type} can read")
        return column.values[0]

    def embed_table(self, table: pa.Table) -> Column:
        """Embed the rows of a feature table as one batch; see ``embed_stored``."""
        return self._finite(self.embed_unchecked(table))

    def _finite(self, column: Column) -> Column:
        if not column.values.isfinite().all():
            raise RunError(
                f"run: the encoder in {self.folder} returns embeddings that are not finite: it "
                "diverged; pretrain it again with a smaller training.lr"
            )
        return column

    def embed_unchecked(self, table: pa.Table) -> Column:
        """Embed as ``embed_table`` does, but leave it to the caller if all of it is finite."""
        batch = self._collated(table)
        tensors = tensors_of(batch)[self.card.modality].to(self.device)
        return self._column(batch, tensors)

    def _embedded(self, tables: Iterable[pa.Table]) -> Iterator[Column]:
        """Do the same to each table, while another thread makes the next one ready."""
        batches = ((batch, [batch]) for batch in map(self._collated, tables))
        for batch, (tensors,) in copied_ahead(batches, self.device):
            yield self._column(batch, tensors[self.card.modality])

    def _collated(self, table: pa.Table) -> Batch:
        return collate(table, {self.card.modality: self.featurizer})

    @torch.no_grad()
    def _column(self, batch: Batch, tensors: ModalityTensors) -> Column:
        """Embed the rows that have the modality; the others are zero."""
        rows = torch.from_numpy(batch.modalities[self.card.modality].rows)
        values = torch.zeros(len(batch.material_ids), self.card.embedding_dim)
        present = torch.zeros(len(values), dtype=torch.bool)
        if len(rows):
            with exact_products():
                embedded = self.module(tensors.arrays)
            values[rows] = F.normalize(embedded.float(), dim=-1).cpu()
            present[rows] = True
        return Column(values, present)
