"""The settings of fusion by the gated multimodal unit."""

from __future__ import annotations

from typing import ClassVar, Literal

from omnimat.finetune.heads.fusion import FusionSettings


class GatedSettings(FusionSettings):
    """Settings of the gated unit."""

    network: ClassVar[str] = "omnimat.finetune.heads.gated_network:Gated"
    type: Literal["gated"] = "gated"
