"""CLIP: one pair of modalities (Radford et al. 2021, arXiv 2103.00020)."""

from __future__ import annotations

from typing import ClassVar, Literal

from omnimat.objectives.contrastive import PairwiseObjective


class ClipSettings(PairwiseObjective):
    """Aligns exactly two modalities."""

    most_modalities: ClassVar[int] = 2

    type: Literal["clip"] = "clip"
