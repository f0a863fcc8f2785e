"""SigLIP: every pair of rows is its own binary decision (Zhai et al. 2023, arXiv 2303.15343).

Over the n valid rows, with z_ij = 1 on the diagonal and -1 elsewhere:

    L = 1/n sum_ij log(1 + exp(-z_ij (a_i . b_j / tau + bias)))
      = 1/n [sum_ij log(1 + exp(l_ij)) - sum_i l_ii],   l_ij = a_i . b_j / tau + bias
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from omnimat.objectives.contrastive import (
    PairwiseObjective,
    positive_logits,
)
from omnimat.objectives.temperature import TemperatureSettings

if TYPE_CHECKING:
    from torch import Tensor

    from omnimat.objectives.alignment import Alignment


class SigLipSettings(PairwiseObjective):
    """Aligns every modality with every other.

    Attributes:
        temperature: the paper starts at 0.1 and learns it.
        bias: added to every logit, so that the n negatives of a positive do not outweigh it at the
            start. The paper starts at -10 and learns it; here it is fixed, so that an objective has
            no parameter but the temperature. About -log(n) balances a batch of n rows.
    """

    type: Literal["siglip"] = "siglip"
    temperature: TemperatureSettings = TemperatureSettings(initial=0.1, learnable=True)
    bias: float = Field(default=-10.0)

    def share(self, alignment: Alignment, logit_scale: Tensor) -> Tensor:
        """Give the local rows' part of the loss of one pair."""
        from omnimat.objectives.blocks import Comparison, SoftplusSum, reduce_rows

        inverse_temperature = self.temperature.inverse_temperature(logit_scale)
        # The sum over all pairs of rows is the same seen from either modality.
        comparison = Comparison(
            alignment.valid, alignment.part[0], SoftplusSum(self.bias), self.block_size
        )
        queries, keys = alignment.local[0], alignment.everyone[1]
        softplus = reduce_rows(queries, keys, inverse_temperature, comparison)
        positives = positive_logits(alignment, inverse_temperature) + self.bias
        return alignment.total(softplus - positives) / alignment.divisor
