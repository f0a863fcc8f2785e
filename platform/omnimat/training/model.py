"""The model that is pretrained: one encoder per modality, a temperature, and regressors.

All encoders map into the same embedding space.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnimat.modalities.tensors import ModalityTensors
from omnimat.nn.precision import widened
from omnimat.nn.projector import ProjectedEncoder, Projector
from omnimat.objectives.embeddings import Embeddings
from omnimat.training.regressor import Regressor


class Multimodal(nn.Module):
    """The encoders of several modalities.

    Attributes:
        encoders: ``nn.ModuleDict`` that maps each modality to its encoder, up to and including the
            first head. This is what an export holds.
        other_heads: ``nn.ModuleDict`` that maps each modality to the projectors of its further
            heads, which are used only in training. It is empty where the embedding itself is the
            only head.
        regressors: ``nn.ModuleDict`` that maps each regression to the network that predicts from
            the embedding of its first modality; they too are used only in training.
        embedding_dim: width d of the embeddings of every encoder.
        logit_scale: parameter of shape (1,), the logarithm of one over the temperature.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        embedding_dim: int,
        initial_temperature: float,
        learnable_temperature: bool,
        num_heads: int = 1,
        regressors: Mapping[str, Regressor] | None = None,
    ) -> None:
        super().__init__()
        self.regressors = nn.ModuleDict({str(k): one for k, one in (regressors or {}).items()})
        self.encoders, self.other_heads = nn.ModuleDict(), nn.ModuleDict()
        for name, encoder in encoders.items():
            self.encoders[name] = encoder
            if num_heads > 1:
                self.encoders[name] = ProjectedEncoder(encoder, embedding_dim)
                others = [Projector(embedding_dim) for _ in range(num_heads - 1)]
                self.other_heads[name] = nn.ModuleList(others)
        self.embedding_dim = embedding_dim
        # Shape (1,) rather than a scalar, because DeepSpeed cannot broadcast a 0-dim parameter.
        initial = torch.tensor([-math.log(initial_temperature)])
        self.logit_scale = nn.Parameter(initial, requires_grad=learnable_temperature)

    def forward(
        self, batch: Mapping[str, ModalityTensors], batch_size: int
    ) -> tuple[Embeddings, Tensor]:
        """Embed a batch of B materials.

        Every encoder runs, even on zero rows, so that all workers take part in the same
        collective operations and every parameter gets a gradient.

        Args:
            batch: for each modality of the model, the materials that have it.
            batch_size: B, the number of materials, with or without a given modality.

        Returns:
            The embeddings in float32 with their masks of shape (B,), and ``logit_scale`` of shape
            (1,). Embeddings are unit vectors of shape (B, d), or (B, heads, d) where there are
            several heads, and zero where the modality is missing. Predictions, (B, k), are made of
            what an export gives, which is not normalised. ``logit_scale`` is returned because
            ZeRO-3 holds no whole parameters between forward passes.

        Raises:
            KeyError: the batch lacks one of the model's modalities.
        """
        values: dict[str, Tensor] = {}
        present: dict[str, Tensor] = {}
        predictions: dict[str, Tensor] = {}
        for modality in self.encoders:
            tensors = batch[modality]
            embedded = self._embed(modality, tensors.arrays)
            unit = F.normalize(widened(embedded), dim=-1)
            missing = torch.zeros(batch_size, dtype=torch.bool, device=unit.device)
            values[modality] = _spread(unit, tensors.rows, batch_size)
            present[modality] = missing.index_fill(0, tensors.rows, True)
            for name, predicted in self._predict(modality, embedded).items():
                predictions[name] = _spread(predicted, tensors.rows, batch_size)
        return Embeddings(values, present, predictions), self.logit_scale.clone()

    def _predict(self, modality: str, embedded: Tensor) -> dict[str, Tensor]:
        """Apply the regressors of a modality to its embeddings, as an export gives them."""
        exported = embedded if embedded.dim() == 2 else embedded[:, 0]
        every = cast(Mapping[str, Regressor], self.regressors)
        return {
            name: widened(regressor(exported))
            for name, regressor in every.items()
            if regressor.source == modality
        }

    def _embed(self, modality: str, arrays: Mapping[str, Tensor]) -> Tensor:
        encoder = self.encoders[modality]
        if not isinstance(encoder, ProjectedEncoder):
            embedded: Tensor = encoder(arrays)
            return embedded
        hidden = encoder.encoder(arrays)
        heads = [encoder.projector, *cast(nn.ModuleList, self.other_heads[modality])]
        return torch.stack([head(hidden) for head in heads], dim=1)


def _spread(given: Tensor, rows: Tensor, batch_size: int) -> Tensor:
    """Put n rows where they belong among B, which are zero elsewhere."""
    return given.new_zeros(batch_size, *given.shape[1:]).index_copy(0, rows, given)
