"""Embeds the rows of a feature store, or of any other feature table, with an exported encoder."""

from __future__ import annotations

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
from omnimat.modalities.batch import collate, feature_table
from omnimat.modalities.layout import QUARANTINE_COLUMN, Featurizer
from omnimat.modalities.tensors import ModalityTensors
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
        columns = [
            self.embed_table(features.table(positions[start : start + batch_size]))
            for start in starts
        ]
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
        column = self.embed_unchecked(table)
        if not column.values.isfinite().all():
            raise RunError(
                f"run: the encoder in {self.folder} returns embeddings that are not finite: it "
                "diverged; pretrain it again with a smaller training.lr"
            )
        return column

    @torch.no_grad()
    def embed_unchecked(self, table: pa.Table) -> Column:
        """Embed as ``embed_table`` does, but leave it to the caller if all of it is finite."""
        modality = self.card.modality
        arrays = collate(table, {modality: self.featurizer}).modalities[modality]
        tensors = ModalityTensors.from_numpy(arrays)
        values = torch.zeros(len(table), self.card.embedding_dim)
        present = torch.zeros(len(table), dtype=torch.bool)
        if len(tensors.rows):
            with exact_products():
                embedded = self.module(tensors.to(self.device).arrays)
            values[tensors.rows] = F.normalize(embedded.float(), dim=-1).cpu()
            present[tensors.rows] = True
        return Column(values, present)
