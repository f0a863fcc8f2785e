"""TensorCLIP: three modalities at once (MultiMat's supplement, Moro et al., arXiv 2312.00111).

With s_ijk = sum_d a_id b_jd c_kd, targets M_ijk of 1 where all three indices agree, 1/2 where
exactly two do and 0 elsewhere, and N_i the (j, k) that differ from each other and from i:

    L_a = 1/n sum_i sum_jk M_ijk [-s_ijk / tau + log sum_{(j', k') in N_i} exp(s_ij'k' / tau)]

and L = L_a + L_b + L_c, one term for each axis. The targets of a row sum to 1 + 3 (n - 1) / 2, so
the loss grows with the number n of valid rows. It takes three rows to have a negative; with fewer
the loss is zero.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import PositiveInt

from omnimat.objectives.contrastive import DEFAULT_BLOCK_SIZE, GroupObjective
from omnimat.objectives.temperature import TemperatureSettings

if TYPE_CHECKING:
    from torch import Tensor

    from omnimat.objectives.alignment import Alignment


class TensorClipSettings(GroupObjective):
    """Aligns exactly three modalities simultaneously.

    Time grows with the cube of the batch and memory with its square: the (n, n, n) tensor is taken
    in slabs of local rows, each of which is computed again in the backward pass.

    Attributes:
        temperature: how similarities become logits.
        block_size: a slab holds at most the square of this many similarities, or one row.
    """

    fewest_modalities: ClassVar[int] = 3
    most_modalities: ClassVar[int] = 3

    type: Literal["tensor_clip"] = "tensor_clip"
    temperature: TemperatureSettings = TemperatureSettings()
    block_size: PositiveInt = DEFAULT_BLOCK_SIZE

    def share(self, alignment: Alignment, logit_scale: Tensor) -> Tensor:
        """Give the local rows' part of the three terms."""
        import torch

        alignment = alignment.unless_fewer_than(3)
        factor = self.temperature.inverse_temperature(logit_scale)
        values = [alignment.values(axis) for axis in range(3)]
        num_targets = 1 + 3 * (alignment.count - 1) / 2
        total = torch.zeros((), device=logit_scale.device)
        for axis in range(3):
            first, second = (values[other] for other in range(3) if other != axis)
            queries = alignment.local_values(axis) * factor.to(values[axis].dtype)
            partition = self._log_partition(queries, first, second, alignment)
            positives = _targets_times_logits(queries, first, second, alignment)
            total = total + num_targets * alignment.total(partition) - positives
        return total / alignment.divisor

    def _log_partition(
        self, queries: Tensor, first: Tensor, second: Tensor, alignment: Alignment
    ) -> Tensor:
        """Give the logarithm of the sum over each query's negatives, (B,)."""
        import torch
        from torch.utils.checkpoint import checkpoint

        from omnimat.objectives.blocks import slices

        rows_at_a_time = max(1, self.block_size**2 // max(1, len(first) ** 2))
        begin, end, _ = alignment.part
        places = torch.arange(begin, end, device=first.device)
        parts = [
            checkpoint(
                _slab_log_partition,
                queries[rows],
                first,
                second,
                places[rows],
                alignment.valid,
                use_reentrant=False,
                preserve_rng_state=False,
            )
            for rows in slices(len(queries), rows_at_a_time)
        ]
        return torch.cat([queries.new_zeros(0), *parts])


def _slab_log_partition(
    queries: Tensor, first: Tensor, second: Tensor, places: Tensor, valid: Tensor
) -> Tensor:
    import torch

    logits = (queries[:, None] * first) @ second.T
    index = torch.arange(len(first), device=places.device)
    own = index == places[:, None]
    agree = own[:, :, None] | own[:, None, :] | (index[:, None] == index)
    logits = logits.masked_fill(agree | ~(valid[:, None] & valid), -math.inf)
    # The sum over no negatives would have no gradient; that of a row that is not valid is not used.
    is_query = valid[places, None, None]
    return torch.where(is_query, logits, torch.zeros_like(logits)).flatten(1).logsumexp(1)


def _targets_times_logits(
    queries: Tensor, first: Tensor, second: Tensor, alignment: Alignment
) -> Tensor:
    """Give the sum of M_ijk s_ijk over local i and all j and k, without making the tensor.

    Each of the three sums of 1/2 over a pair of equal indices contains the diagonal once. Rows that
    are not valid are zero.
    """
    begin, end, _ = alignment.part
    own_first, own_second = first[begin:end], second[begin:end]
    diagonal = (queries * own_first * own_second).sum()
    pairs = (
        (queries * own_first).sum(0) @ second.sum(0)
        + (queries * own_second).sum(0) @ first.sum(0)
        + queries.sum(0) @ (first * second).sum(0)
    )
    return (pairs - diagonal) / 2
