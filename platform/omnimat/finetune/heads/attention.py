"""The settings of fusion by self-attention over modalities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import PositiveInt, model_validator

from omnimat.finetune.heads.fusion import FusionSettings


class AttentionSettings(FusionSettings):
    """Settings of self-attention over modalities.

    Attributes:
        num_heads: how many heads attention has; they share the hidden width.
        num_blocks: how many blocks of attention and MLP follow each other.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "tiny": {"hidden_width": 32, "num_heads": 2, "num_blocks": 1},
    }
    network: ClassVar[str] = "omnimat.finetune.heads.attention_network:Attention"
    type: Literal["attention"] = "attention"
    hidden_width: PositiveInt = 128
    num_heads: PositiveInt = 4
    num_blocks: PositiveInt = 2

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.hidden_width % self.num_heads:
            raise ValueError("hidden_width must be a multiple of num_heads")
        return self
