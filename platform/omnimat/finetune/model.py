"""The network of a trial: encoders of one or more modalities, and a head on their embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from omnimat.encoders.batch import ModalityTensors
from omnimat.encoders.fusion import FusionSettings, Tokens
from omnimat.materials.record import Modality


class FeatureBatch(NamedTuple):
    """Features of n materials.

    Attributes:
        num_records: n, with or without modalities.
        modalities: those that have each modality.
    """

    num_records: int
    modalities: Mapping[Modality, ModalityTensors]


class ModalityEncoders(nn.ModuleDict):
    """Encoders by modality."""

    def forward(self, batch: FeatureBatch) -> Tokens:
        """Embed n materials: the tokens of their modalities, zero where missing."""
        values: dict[Modality, Tensor] = {}
        present: dict[Modality, Tensor] = {}
        for name, encoder in self.items():
            modality = cast(Modality, name)
            tensors = batch.modalities[modality]
            embedded = encoder(tensors.arrays)
            empty = embedded.new_zeros(batch.num_records, embedded.shape[1])
            nowhere = torch.zeros(batch.num_records, dtype=torch.bool, device=embedded.device)
            values[modality] = empty.index_copy(0, tensors.rows, embedded)
            present[modality] = nowhere.index_fill(0, tensors.rows, True)
        return Tokens.stack(tuple(values), values, present)


class LinearHead(nn.Module):
    """A linear map of the embedding of one modality."""

    def __init__(self, embedding_dim: int, num_outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(embedding_dim, num_outputs)

    def forward(self, tokens: Tokens) -> Tensor:
        """Map the tokens of n materials and one modality to (n, num_outputs)."""
        outputs: Tensor = self.linear(tokens.values.squeeze(1))
        return outputs


class PropertyModel(nn.Module):
    """Encoders with a head: linear for one modality, a fusion for several.

    A fusion's last layer gives the outputs, so that UniMat's fusion has its three linear layers.

    Attributes:
        encoder: of features; what it gives does not change while it is frozen.
        head: of tokens.
    """

    def __init__(
        self,
        encoders: Mapping[Modality, nn.Module],
        fusion: FusionSettings,
        embedding_dim: int,
        num_outputs: int,
    ) -> None:
        super().__init__()
        self.encoder = ModalityEncoders({str(name): module for name, module in encoders.items()})
        self.head: nn.Module = (
            LinearHead(embedding_dim, num_outputs)
            if len(encoders) == 1
            else fusion.build(tuple(encoders), embedding_dim, num_outputs)
        )

    def forward(self, batch: FeatureBatch) -> Tensor:
        """Map the features of n materials to (n, num_outputs)."""
        outputs: Tensor = self.head(self.encoder(batch))
        return outputs
