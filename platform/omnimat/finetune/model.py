"""The network of a trial: encoders of one or more modalities, and a head on their embeddings."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from omnimat.finetune.heads.fusion import Tokens
from omnimat.materials.record import Modality
from omnimat.modalities.tensors import ModalityTensors

Precision = Literal["fp32", "bf16"]


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Run a network in this precision on this device."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


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
        for modality, encoder in self.items():
            tensors = batch.modalities[modality]
            embedded = encoder(tensors.arrays)
            empty = embedded.new_zeros(batch.num_records, embedded.shape[1])
            nowhere = torch.zeros(batch.num_records, dtype=torch.bool, device=embedded.device)
            values[modality] = empty.index_copy(0, tensors.rows, embedded)
            present[modality] = nowhere.index_fill(0, tensors.rows, True)
        return Tokens.stack(tuple(values), values, present)


class SingleHead(nn.Module):
    """Linear layers with ReLU between them, on the embedding of one modality."""

    def __init__(self, embedding_dim: int, hidden_widths: Sequence[int], num_outputs: int) -> None:
        super().__init__()
        widths = (embedding_dim, *hidden_widths)
        hidden = [
            layer
            for before, after in itertools.pairwise(widths)
            for layer in (nn.Linear(before, after), nn.ReLU())
        ]
        self.layers = nn.Sequential(*hidden, nn.Linear(widths[-1], num_outputs))

    def forward(self, tokens: Tokens) -> Tensor:
        """Map the tokens of n materials and one modality to (n, num_outputs)."""
        outputs: Tensor = self.layers(tokens.values.squeeze(1))
        return outputs


class LinearProbe(nn.Module):
    """One linear layer on the embeddings of all modalities side by side, zero where missing."""

    def __init__(self, embedding_dim: int, num_modalities: int, num_outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(num_modalities * embedding_dim, num_outputs)

    def forward(self, tokens: Tokens) -> Tensor:
        """Map the tokens of n materials to (n, num_outputs)."""
        outputs: Tensor = self.linear((tokens.values * tokens.present[..., None]).flatten(1))
        return outputs


class PropertyModel(nn.Module):
    """Encoders and a head, whose last layer gives the outputs of all tasks.

    So UniMat's fusion has its three linear layers.

    Attributes:
        encoder: of features; what it gives does not change while it is frozen.
        head: of tokens.
    """

    def __init__(self, encoders: Mapping[Modality, nn.Module], head: nn.Module) -> None:
        super().__init__()
        self.encoder = ModalityEncoders({str(name): module for name, module in encoders.items()})
        self.head = head

    def forward(self, batch: FeatureBatch) -> Tensor:
        """Map the features of n materials to (n, num_outputs)."""
        outputs: Tensor = self.head(self.encoder(batch))
        return outputs
