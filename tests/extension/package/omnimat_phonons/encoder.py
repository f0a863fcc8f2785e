"""The settings of a small network over any density of states, electronic or of phonons."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from omnimat.modalities.encoder import EncoderSettings


class CurveMlpSettings(EncoderSettings):
    """Settings of the network; it serves two modalities."""

    modalities: ClassVar[tuple[str, ...]] = ("dos", "phonon_dos")
    presets: ClassVar[Mapping[str, Mapping[str, int]]] = {"paper": {}, "tiny": {"width": 16}}
    network: ClassVar[str] = "omnimat_phonons.encoder_network:CurveMlp"

    type: Literal["curve_mlp"] = "curve_mlp"
    num_points: int = 51
    width: int = 64
