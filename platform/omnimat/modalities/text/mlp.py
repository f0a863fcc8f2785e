"""An MLP for frozen sentence embeddings (MultiMat's released text head has three linear layers)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import PositiveInt
from torch import Tensor, nn

from omnimat.base.settings import PresetSettings


class TextMlpSettings(PresetSettings):
    """Settings of the text MLP; the paper preset with 128 outputs has 722,048 parameters.

    ``input_norm`` puts a layer norm before the first layer, for sentence encoders whose vectors
    vary greatly in length.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "tiny": {"hidden_widths": (64,)},
    }
    type: Literal["text_mlp"] = "text_mlp"
    input_width: PositiveInt = 768
    hidden_widths: tuple[PositiveInt, ...] = (512, 512)
    input_norm: bool = False

    def build(self, embedding_dim: int) -> nn.Module:
        """Build the network."""
        return TextMlp(self, embedding_dim)


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
