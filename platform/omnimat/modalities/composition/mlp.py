"""An MLP for composition descriptors (UniMat, Ock et al., 2024: an MLP on Magpie features)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import PositiveInt

from omnimat.modalities.encoder import EncoderSettings


class CompositionMlpSettings(EncoderSettings):
    """Settings of the composition MLP; UniMat specifies no widths, so these are our own.

    Attributes:
        input_width: number of features of a composition.
        hidden_widths: widths of the hidden layers.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "tiny": {"hidden_widths": (64,)},
    }
    network: ClassVar[str] = "omnimat.modalities.composition.mlp_network:CompositionMlp"
    type: Literal["composition_mlp"] = "composition_mlp"
    input_width: PositiveInt = 132
    hidden_widths: tuple[PositiveInt, ...] = (512, 512)
