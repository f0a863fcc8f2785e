"""An MLP on the values of properties and on the mask of those that are known."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from omnimat.modalities.properties.mlp import PropertyMlpSettings


class PropertyMlp(nn.Module):
    """Maps properties to embeddings."""

    def __init__(self, settings: PropertyMlpSettings, embedding_dim: int) -> None:
        super().__init__()
        widths = (settings.num_values + settings.num_properties, *settings.hidden_widths)
        hidden: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            hidden += [nn.Linear(before, after), nn.LayerNorm(after), nn.GELU()]
        self.hidden = nn.Sequential(*hidden)
        self.head = nn.Linear(widths[-1], embedding_dim)

    def forward(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Embed n materials.

        Args:
            arrays: ``values``, shape (n, num_values), and ``is_known``, shape (n, num_properties).

        Returns:
            The embeddings, shape (n, embedding_dim).
        """
        given = torch.cat([arrays["values"], arrays["is_known"]], dim=1)
        embeddings: Tensor = self.head(self.hidden(given.to(self.head.weight.dtype)))
        return embeddings
