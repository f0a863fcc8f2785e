"""Decoupled CLIP, as UniMat prints its loss (Ock et al., arXiv 2411.08664, equation 1).

The denominator leaves out the positive (Yeh et al. 2022, arXiv 2110.06848), both directions are
added without the usual factor of 1/2, and each is a mean over the n valid rows:

    L = 1/n sum_i [-2 a_i . b_i / tau
                   + log sum_{j != i} exp(a_i . b_j / tau) + log sum_{j != i} exp(b_i . a_j / tau)]

The loss may be negative. It takes two rows to have a negative; with fewer the loss is zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from omnimat.objectives.contrastive import (
    PairwiseObjective,
    both_directions,
    positive_logits,
)

if TYPE_CHECKING:
    from torch import Tensor

    from omnimat.objectives.alignment import Alignment


class DclSettings(PairwiseObjective):
    """Aligns every modality with every other; UniMat has two."""

    type: Literal["dcl"] = "dcl"

    def share(self, alignment: Alignment, logit_scale: Tensor) -> Tensor:
        """Give the local rows' part of the loss of one pair."""
        from omnimat.objectives.blocks import LogSumExp

        inverse_temperature = self.temperature.inverse_temperature(logit_scale)
        alignment = alignment.unless_fewer_than(2)
        negatives = both_directions(
            alignment, inverse_temperature, LogSumExp(excludes_positives=True), self.block_size
        )
        positives = positive_logits(alignment, inverse_temperature)
        return alignment.total(negatives - 2 * positives) / alignment.divisor
