"""Linear layers with ReLU between them, on the embedding of a single modality."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import PositiveInt
from torch import Tensor, nn

from omnimat.finetune.heads.head import HeadSettings
from omnimat.finetune.heads.tokens import Tokens


class MlpSettings(HeadSettings):
    """Settings of the multilayer perceptron.

    Attributes:
        hidden_widths: the widths of its hidden layers; without any it is one linear layer.
    """

    takes_several: ClassVar[bool] = False
    type: Literal["mlp"] = "mlp"
    hidden_widths: tuple[PositiveInt, ...] = ()

    def build(self, modalities: Sequence[str], embedding_dim: int, num_outputs: int) -> Mlp:
        """Build the network; see ``HeadSettings.build``."""
        del modalities  # of which there is one
        return Mlp((embedding_dim, *self.hidden_widths), num_outputs)


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
