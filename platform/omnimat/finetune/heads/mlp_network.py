"""Linear layers with ReLU between them, on the embedding of a single modality."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from omnimat.finetune.heads.tokens import Tokens


class Mlp(nn.Module):
    """The multilayer perceptron."""

    def __init__(self, widths: Sequence[int], num_outputs: int) -> None:
        """Build it.

        Args:
            widths: the width of the embedding and of each hidden layer.
            num_outputs: how many numbers it gives for a material.
        """
        super().__init__()
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
