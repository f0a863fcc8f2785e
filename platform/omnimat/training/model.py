"""The model that is pretrained: one encoder a modality into one space, and a temperature."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnimat.materials.record import Modality
from omnimat.modalities.tensors import ModalityTensors
from omnimat.nn.precision import at_least_single
from omnimat.nn.projector import ProjectedEncoder, Projector
from omnimat.objectives.embeddings import Embeddings


class Multimodal(nn.Module):
    """Encoders of several modalities.

    Attributes:
        encoders: ``nn.ModuleDict`` by modality, each up to the first head: what an export holds.
        other_heads: ``nn.ModuleDict`` by modality of the projectors into the further heads, which
            only training has; empty where the embedding itself is the only head.
        embedding_dim: width d that all encoders give.
        logit_scale: (1,) parameter, the logarithm of one over the temperature.
    """

    def __init__(
        self,
        encoders: Mapping[Modality, nn.Module],
        embedding_dim: int,
        initial_temperature: float,
        learnable_temperature: bool,
        num_heads: int = 1,
    ) -> None:
        super().__init__()
        self.encoders, self.other_heads = nn.ModuleDict(), nn.ModuleDict()
        for name, encoder in encoders.items():
            self.encoders[name] = encoder
            if num_heads > 1:
                self.encoders[name] = ProjectedEncoder(encoder, embedding_dim)
                others = [Projector(embedding_dim) for _ in range(num_heads - 1)]
                self.other_heads[name] = nn.ModuleList(others)
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
            Embeddings in float32 with the (B,) masks: unit (B, d) rows, or (B, heads, d) where
            there are several heads, zero where missing; and (1,) ``logit_scale``, handed out
            because between forward passes ZeRO-3 holds no parameter.

        Raises:
            KeyError: if the batch lacks one of the model's modalities.
        """
        values: dict[Modality, Tensor] = {}
        present: dict[Modality, Tensor] = {}
        for modality in self.encoders:
            tensors = batch[modality]
            embedded = self._embed(modality, tensors.arrays)
            unit = F.normalize(embedded.to(at_least_single(embedded.dtype)), dim=-1)
            empty = unit.new_zeros(batch_size, *unit.shape[1:])
            missing = torch.zeros(batch_size, dtype=torch.bool, device=unit.device)
            values[modality] = empty.index_copy(0, tensors.rows, unit)
            present[modality] = missing.index_fill(0, tensors.rows, True)
        return Embeddings(values, present), self.logit_scale.clone()

    def _embed(self, modality: Modality, arrays: Mapping[str, Tensor]) -> Tensor:
        encoder = self.encoders[modality]
        if not isinstance(encoder, ProjectedEncoder):
            embedded: Tensor = encoder(arrays)
            return embedded
        hidden = encoder.encoder(arrays)
        heads = [encoder.projector, *cast(nn.ModuleList, self.other_heads[modality])]
        return torch.stack([head(hidden) for head in heads], dim=1)
