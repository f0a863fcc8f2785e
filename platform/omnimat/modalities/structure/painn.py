"""The settings of PaiNN (Schütt et al., ICML 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from omnimat.modalities.structure.crystal import CutoffEncoderSettings


class PaiNNSettings(CutoffEncoderSettings):
    """Settings of PaiNN; the paper preset with 512 outputs has 36,490,752 parameters.

    ``paper`` is the size in the first version of CLaC, ``revision`` that in the later one
    (15,172,608 parameters). The head acts on each atom, so the mean and the sum over atoms differ
    only by a factor, which the normalisation of embeddings removes; CLaC sums.

    Attributes:
        hidden_width: width of the scalars, and of the vectors, of each atom.
        num_layers: number of message and update layers.
        num_radial: number of radial basis functions of the distance.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "revision": {"hidden_width": 512, "num_layers": 5},
        "tiny": {"hidden_width": 32, "num_layers": 2},
    }
    network: ClassVar[str] = "omnimat.modalities.structure.painn_network:PaiNN"
    type: Literal["painn"] = "painn"
    hidden_width: PositiveInt = 1024
    num_layers: PositiveInt = 3
    num_radial: PositiveInt = 20
    cutoff_angstrom: PositiveFloat = 5.0
