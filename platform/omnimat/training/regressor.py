"""The network between an embedding and the numbers that are predicted from it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn


class Regressor(nn.Module):
    """Linear layers with SiLU between them.

    Attributes:
        source: modality whose embedding it takes.
    """

    def __init__(
        self, source: str, embedding_dim: int, hidden_widths: Sequence[int], num_outputs: int
    ) -> None:
        super().__init__()
        self.source = source
        widths = (embedding_dim, *hidden_widths)
        hidden = [
            layer
            for before, after in itertools.pairwise(widths)
            for layer in (nn.Linear(before, after), nn.SiLU())
        ]
        self.layers = nn.Sequential(*hidden, nn.Linear(widths[-1], num_outputs))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Map (n, embedding_dim) to (n, num_outputs)."""
        outputs: Tensor = self.layers(embeddings)
        return outputs
