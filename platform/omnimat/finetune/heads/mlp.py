"""The settings of linear layers with ReLU between them, on the embedding of one modality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import PositiveInt

from omnimat.finetune.heads.head import HeadSettings

if TYPE_CHECKING:
    from torch import nn


class MlpSettings(HeadSettings):
    """Settings of the multilayer perceptron.

    Attributes:
        hidden_widths: the widths of its hidden layers; without any it is one linear layer.
    """

    takes_several: ClassVar[bool] = False
    type: Literal["mlp"] = "mlp"
    hidden_widths: tuple[PositiveInt, ...] = ()

    def build(self, modalities: Sequence[str], embedding_dim: int, num_outputs: int) -> nn.Module:
        """Build the network; see ``HeadSettings.build``."""
        from omnimat.finetune.heads.mlp_network import Mlp

        del modalities  # of which there is one
        return Mlp((embedding_dim, *self.hidden_widths), num_outputs)
