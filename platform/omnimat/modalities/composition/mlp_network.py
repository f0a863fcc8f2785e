"""An MLP for composition descriptors (UniMat, Ock et al., 2024: an MLP on Magpie features)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from torch import Tensor, nn

from omnimat.modalities.composition.mlp import CompositionMlpSettings
from omnimat.nn.batch_norm import BatchNorm


class CompositionMlp(nn.Module):
    """Maps Magpie features to embeddings."""

    def __init__(self, settings: CompositionMlpSettings, embedding_dim: int) -> None:
        super().__init__()
        # Magpie mixes fractions with melting points, so scales differ by five orders of magnitude.
        self.standardise = BatchNorm(settings.input_width)
        widths = (settings.input_width, *settings.hidden_widths)
        hidden: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            hidden += [nn.Linear(before, after, bias=False), BatchNorm(after), nn.ReLU()]
        self.hidden = nn.Sequential(*hidden)
        self.head = nn.Linear(widths[-1], embedding_dim)

    def forward(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Embed n compositions.

        Args:
            arrays: ``magpie``, shape (n, input_width).

        Returns:
            The embeddings, shape (n, embedding_dim).
        """
        standard = self.standardise(arrays["magpie"]).to(self.head.weight.dtype)
        embeddings: Tensor = self.head(self.hidden(standard))
        return embeddings
