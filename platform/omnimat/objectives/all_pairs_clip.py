"""AllPairsCLIP: every pair of modalities (Moro et al., arXiv 2312.00111)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from omnimat.materials.record import Modality
from omnimat.objectives.contrastive import Pair, PairwiseObjective, every_pair


class AllPairsClipSettings(PairwiseObjective):
    """Aligns every modality with every other."""

    type: Literal["all_pairs_clip"] = "all_pairs_clip"

    def pairs(self, modalities: Collection[Modality]) -> tuple[Pair, ...]:
        """Give the M(M-1)/2 pairs of M modalities.

        Raises:
            UserError: if there are fewer than two modalities.
        """
        return every_pair(modalities, self.type)
