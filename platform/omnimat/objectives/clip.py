"""CLIP: one pair of modalities (Radford et al. 2021, arXiv 2103.00020)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from omnimat.materials.errors import UserError
from omnimat.materials.record import Modality
from omnimat.objectives.contrastive import Pair, PairwiseObjective, canonical


class ClipSettings(PairwiseObjective):
    """Aligns exactly two modalities."""

    type: Literal["clip"] = "clip"

    def pairs(self, modalities: Collection[Modality]) -> tuple[Pair, ...]:
        """Give the one pair.

        Raises:
            UserError: unless there are exactly two modalities.
        """
        ordered = canonical(modalities)
        if len(ordered) != 2:
            raise UserError(
                f"objective.type 'clip' aligns exactly two modalities, not {len(ordered)} "
                f"({', '.join(ordered)}); use 'all_pairs_clip' or 'anchored_clip' for more"
            )
        return ((ordered[0], ordered[1]),)
