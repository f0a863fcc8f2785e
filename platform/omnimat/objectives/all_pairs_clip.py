"""AllPairsCLIP: every pair of modalities (Moro et al., arXiv 2312.00111)."""

from __future__ import annotations

from typing import Literal

from omnimat.objectives.contrastive import PairwiseObjective


class AllPairsClipSettings(PairwiseObjective):
    """Aligns every modality with every other."""

    type: Literal["all_pairs_clip"] = "all_pairs_clip"
