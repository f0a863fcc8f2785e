"""The model that is pretrained: one encoder a modality into one space, and a temperature."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnimat.encoders.batch import ModalityTensors
from omnimat.encoders.precision import at_least_single
from omnimat.materials.record import Modality
from omnimat.objectives.embeddings import Embeddings


class Multimodal(nn.Module):
    """Encoders of several modalities.

    Attributes:
        encoders: ``nn.ModuleDict`` by modality.
        embedding_dim: width d that all encoders give.
        logit_scale: (1,) parameter, the logarithm of one over the temperature.
    """

    def __init__(
        self,
        encoders: Mapping[Modality, nn.Module],
        embedding_dim: int,
        initial_temperature: float,
        learnable_temperature: bool,
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({str(name): module for name, module in encoders.items()})
        self.embedding_dim = embedding_dim
        # Of one element rather than a scalar: DeepSpeed cannot broadcast a 0-dim parameter.
        initial = torch.tensor([-math.log(initial_temperature)])
        self.logit_scale = nn.Parameter(initial, requires_grad=learnable_temperature)

    def forward(
        self, batch: Mapping[Modality, ModalityTensors], batch_size: int
    ) -> tuple[Embeddings, Tensor]:
        """Embed a batch of B materials.

        Every encoder runs, even on zero rows, so that all workers take part in the same
        collective operations and every parameter has a gradient.

        Args:
            batch: for each modality of the model the materials that have it.
            batch_size: B, with or without modalities.

        Returns:
            Unit (B, d) rows in float32, zero where missing, with the (B,) masks; and (1,)
            ``logit_scale``, handed out because between forward passes ZeRO-3 holds no parameter.

        Raises:
            KeyError: if the batch lacks one of the model's modalities.
        """
        values: dict[Modality, Tensor] = {}
        present: dict[Modality, Tensor] = {}
        for modality, encoder in self.encoders.items():
            tensors = batch[cast(Modality, modality)]
            embedded = encoder(tensors.arrays)
            unit = F.normalize(embedded.to(at_least_single(embedded.dtype)), dim=-1)
            empty = unit.new_zeros(batch_size, self.embedding_dim)
            missing = torch.zeros(batch_size, dtype=torch.bool, device=unit.device)
            values[cast(Modality, modality)] = empty.index_copy(0, tensors.rows, unit)
            present[cast(Modality, modality)] = missing.index_fill(0, tensors.rows, True)
        return Embeddings(values, present), self.logit_scale.clone()
