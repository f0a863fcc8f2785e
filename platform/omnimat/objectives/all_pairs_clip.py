"""AllPairsCLIP: every pair of modalities (Moro et al., arXiv 2312.00111)."""

from __future__ import annotations

from collections.abc import Collection
from itertools import combinations
from typing import Literal

from omnimat.materials.errors import UserError
from omnimat.materials.record import Modality
from omnimat.objectives.contrastive import Pair, PairwiseObjective, canonical


class AllPairsClipSettings(PairwiseObjective):
    """Aligns every modality with every other."""

    type: Literal["all_pairs_clip"] = "all_pairs_clip"

    def pairs(self, modalities: Collection[Modality]) -> tuple[Pair, ...]:
        """Give the M(M-1)/2 pairs of M modalities.

        Raises:
            UserError: if there are fewer than two modalities.
        """
        ordered = canonical(modalities)
        if len(ordered) < 2:
            raise UserError(
                f"objective.type 'all_pairs_clip' needs at least two modalities, "
                f"not {len(ordered)}; add one to the encoders"
            )
        return tuple(combinations(ordered, 2))
