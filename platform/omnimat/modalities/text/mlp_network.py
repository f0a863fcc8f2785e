"""An MLP for frozen sentence embeddings (MultiMat's released text head has three linear layers)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from torch import Tensor, nn

from omnimat.modalities.text.mlp import TextMlpSettings


class TextMlp(nn.Module):
    """Maps sentence embeddings to embeddings."""

    def __init__(self, settings: TextMlpSettings, embedding_dim: int) -> None:
        super().__init__()
        norm = [nn.LayerNorm(settings.input_width)] if settings.input_norm else []
        widths = (settings.input_width, *settings.hidden_widths)
        hidden: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            hidden += [nn.Linear(before, after), nn.ReLU()]
        self.hidden = nn.Sequential(*norm, *hidden)
        self.head = nn.Linear(widths[-1], embedding_dim)

    def forward(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Embed n texts.

        Args:
            arrays: ``embedding``, shape (n, input_width).

        Returns:
            The embeddings, shape (n, embedding_dim).
        """
        embeddings: Tensor = self.head(self.hidden(arrays["embedding"].to(self.head.weight.dtype)))
        return embeddings
