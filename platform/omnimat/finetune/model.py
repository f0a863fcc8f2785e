"""The network of a trial: the encoders of one or more modalities, and a head on top."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from omnimat.base.precision import Precision
from omnimat.finetune.heads.tokens import Tokens
from omnimat.modalities.tensors import ModalityTensors


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Run a network in this precision on this device; ``fast_fp32`` predicts in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


class FeatureBatch(NamedTuple):
    """Features of n materials.

    Attributes:
        num_records: n, counting those without any modality too.
        modalities: for each modality the arrays of the materials that have it.
    """

    num_records: int
    modalities: Mapping[str, ModalityTensors]


class ModalityEncoders(nn.ModuleDict):
    """Encoders by modality."""

    def forward(self, batch: FeatureBatch) -> Tokens:
        """Embed n materials: their tokens, which are zero where a modality is missing."""
        values: dict[str, Tensor] = {}
        present: dict[str, Tensor] = {}
        for modality, encoder in self.items():
            tensors = batch.modalities[modality]
            embedded = encoder(tensors.arrays)
            values[modality], present[modality] = _spread(embedded, tensors.rows, batch.num_records)
        return Tokens.stack(tuple(values), values, present)


def _spread(embedded: Tensor, rows: Tensor, num_records: int) -> tuple[Tensor, Tensor]:
    """Put (m, d) embeddings into their rows, ascending, of (n, d), and say in which (n,) they are.

    Where every record has one, they are given as they are: nothing is copied.
    """
    if len(rows) == num_records:
        return embedded, torch.ones(num_records, dtype=torch.bool, device=embedded.device)
    empty = embedded.new_zeros(num_records, embedded.shape[1])
    nowhere = torch.zeros(num_records, dtype=torch.bool, device=embedded.device)
    return empty.index_copy(0, rows, embedded), nowhere.index_fill(0, rows, True)


class PropertyModel(nn.Module):
    """Encoders, and a head whose last layer gives the outputs of all tasks.

    Attributes:
        encoder: maps features to tokens; while it is frozen, these do not change.
        head: maps tokens to outputs.
    """

    def __init__(self, encoders: Mapping[str, nn.Module], head: nn.Module) -> None:
        super().__init__()
        self.encoder = ModalityEncoders({str(name): module for name, module in encoders.items()})
        self.head = head

    def forward(self, batch: FeatureBatch) -> Tensor:
        """Map the features of n materials to (n, num_outputs)."""
        outputs: Tensor = self.head(self.encoder(batch))
        return outputs
