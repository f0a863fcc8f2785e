"""Barlow Twins of two, three or four modalities: correlations instead of contrasts.

Zbontar et al. 2021 (arXiv 2103.03230) for two; the others are those of MultiMat's supplement
(Moro et al., arXiv 2312.00111). With embeddings standardised over the n valid rows,

    C_ij.. = 1/n sum_r a_ri b_rj ..
    L = sum_{i=j=..} (C_ij.. - 1)^2 + off_diagonal_weight * sum_{others} (C_ij.. - T_ij..)^2

where T is 0 for two modalities; for three 1/2 where two indices agree; for four 1/2 where three
agree, 1/3 where they agree two and two, 1/6 where two agree; and 0 where all differ.

The loss is not a sum over rows but one over the entries of C, each of which needs every row. So
every worker correlates the rows of all workers, for its own part of the first index.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from omnimat.objectives.contrastive import DEFAULT_BLOCK_SIZE, GroupObjective
from omnimat.objectives.temperature import TemperatureSettings

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from omnimat.objectives.alignment import Alignment

# The targets by the number of pairs of indices that agree; some numbers cannot occur.
_TARGETS = {
    2: (0.0, 1.0),
    3: (0.0, 1 / 2, 0.0, 1.0),
    4: (0.0, 1 / 6, 1 / 3, 1 / 2, 0.0, 0.0, 1.0),
}
_VARIANCE_FLOOR = 1e-8


class BarlowTwinsSettings(GroupObjective):
    """Correlates two, three or four modalities at once.

    Attributes:
        off_diagonal_weight: the weight of all entries but those where every index agrees.
        standardize: whether each dimension is brought to mean 0 and variance 1 over the valid rows
            of the whole batch, as Zbontar et al. do. If not, unit embeddings of width d cannot
            reach the target of 1. Fewer than two valid rows have no variance and a loss of zero.
        block_size: at most the square of this many entries of C is held at a time, or one row of C.
            With four modalities the n x d^2 products of two of them are held as well.
    """

    most_modalities: ClassVar[int] = max(_TARGETS)

    type: Literal["barlow_twins"] = "barlow_twins"
    off_diagonal_weight: float = Field(default=0.0051, ge=0)
    standardize: bool = True
    block_size: PositiveInt = DEFAULT_BLOCK_SIZE

    @property
    def temperature(self) -> TemperatureSettings:
        """A fixed temperature, because a model asks for one; this loss has none."""
        return TemperatureSettings()

    def share(self, alignment: Alignment, logit_scale: Tensor) -> Tensor:
        """Give the loss of this worker's part of the correlations."""
        import torch
        from torch.utils.checkpoint import checkpoint

        from omnimat.objectives.blocks import slices

        alignment = alignment.unless_fewer_than(2)
        count, valid = alignment.divisor, alignment.valid
        columns = [alignment.values(place) for place in range(len(alignment.everyone))]
        if self.standardize:
            columns = [_standardized(column, valid, count) for column in columns]
        num_rows, width = columns[0].shape
        begin, end = (width * row // alignment.part[2] for row in alignment.part[:2])
        entries_per_index = width ** (len(columns) - 1) + num_rows * width
        at_a_time = max(1, self.block_size**2 // entries_per_index)
        total = columns[0].sum() * 0
        for indices in slices(end - begin, at_a_time):
            place = torch.arange(begin, end, device=columns[0].device)[indices]
            total = total + checkpoint(
                self._slab_loss,
                place,
                count,
                *columns,
                use_reentrant=False,
                preserve_rng_state=False,
            )
        return total * (alignment.count > 0)

    def _slab_loss(self, place: Tensor, count: Tensor, first: Tensor, *others: Tensor) -> Tensor:
        """Sum the weighted squared errors of C[place]."""
        import torch

        order, width = 1 + len(others), first.shape[1]
        half = (order - 1) // 2
        left = _products([first[:, place], *others[:half]])
        right = _products(others[half:])
        correlation = (left.T @ right / count).view(-1, *(width,) * (order - 1))
        agreements = _agreements(place, width, order)
        target = _targets_on(order, correlation.device).to(correlation.dtype)[agreements]
        on_diagonal = agreements == len(_TARGETS[order]) - 1
        squares = (correlation - target).square()
        return torch.where(on_diagonal, squares, self.off_diagonal_weight * squares).sum()


@functools.cache
def _targets_on(order: int, device: torch.device) -> Tensor:
    """Keep the targets on a device: a GPU would be waited for to copy them there again."""
    import torch

    return torch.tensor(_TARGETS[order], dtype=torch.float64, device=device)


def _standardized(values: Tensor, valid: Tensor, count: Tensor) -> Tensor:
    """Bring each dimension to mean 0 and variance 1 over the valid rows; the others stay zero."""
    import torch

    centred = (values - values.sum(0) / count) * valid[:, None]
    variance = centred.square().sum(0) / count
    return centred * torch.rsqrt(variance + _VARIANCE_FLOOR)


def _products(columns: Sequence[Tensor]) -> Tensor:
    """Multiply out the columns of each row: (n, d), (n, e), .. -> (n, d e ..)."""
    product = columns[0]
    for column in columns[1:]:
        product = (product[:, :, None] * column[:, None, :]).flatten(1)
    return product


def _agreements(place: Tensor, width: int, order: int) -> Tensor:
    """Count the pairs of equal indices for each entry of C[place]."""
    import torch

    whole = torch.arange(width, device=place.device)
    axes = torch.meshgrid(place, *(whole,) * (order - 1), indexing="ij")
    return torch.stack([one == other for one, other in combinations(axes, 2)]).sum(0)
