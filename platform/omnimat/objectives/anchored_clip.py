"""AnchoredCLIP: every modality against one anchor (Moro et al., arXiv 2312.00111)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from omnimat.base.errors import UserError
from omnimat.modalities.registry import ModalityName
from omnimat.objectives.contrastive import Pair, PairwiseObjective


class AnchoredClipSettings(PairwiseObjective):
    """Aligns every modality with the anchor, and no two others directly.

    Attributes:
        anchor: the modality all others are aligned with.
    """

    type: Literal["anchored_clip"] = "anchored_clip"
    anchor: ModalityName = "structure"

    def groups(self, modalities: Collection[str]) -> tuple[Pair, ...]:
        """Give the M-1 pairs of M modalities, the anchor first in each.

        Raises:
            UserError: the anchor is not among the modalities, or it is the only one.
        """
        ordered = self.ordered(modalities)
        if self.anchor not in ordered:
            raise UserError(
                f"objective.anchor is {self.anchor!r}, which is not among the modalities; "
                f"choose one of {', '.join(ordered)}"
            )
        return tuple((self.anchor, other) for other in ordered if other != self.anchor)
