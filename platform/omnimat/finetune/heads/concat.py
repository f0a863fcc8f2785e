"""The settings of fusion by concatenation."""

from __future__ import annotations

from typing import ClassVar, Literal

from omnimat.finetune.heads.fusion import FusionSettings


class ConcatSettings(FusionSettings):
    """Settings of concatenation and three linear layers."""

    network: ClassVar[str] = "omnimat.finetune.heads.concat_network:Concat"
    type: Literal["concat"] = "concat"
