"""What all objectives share, and the masked contrastive loss of one pair of modalities.

For a pair (a, b) a row is valid when both modalities are present. Over the n valid rows of the
whole batch, with unit embeddings and temperature tau, the loss is the symmetric InfoNCE of CLIP
(Radford et al. 2021, arXiv 2103.00020), as MultiMat uses it (Moro et al., arXiv 2312.00111):

    L = 1/(2n) sum_i [CE(a_i . b_1..n / tau, i) + CE(b_i . a_1..n / tau, i)]

Rows that are not valid are in no sum and no denominator, so their gradient is exactly zero.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping
from itertools import combinations
from typing import TYPE_CHECKING, ClassVar

from pydantic import PositiveInt

from omnimat.base.errors import UserError
from omnimat.base.settings import Settings
from omnimat.modalities.registry import in_order
from omnimat.objectives.embeddings import Embeddings
from omnimat.objectives.temperature import TemperatureSettings

if TYPE_CHECKING:
    from torch import Tensor

    from omnimat.objectives.alignment import Alignment
    from omnimat.objectives.blocks import RowReduction

DEFAULT_BLOCK_SIZE = 2048

Group = tuple[str, ...]
Pair = tuple[str, str]


class GroupObjective(Settings):
    """A pure function from gathered embeddings to one worker's shares of the loss.

    The loss is the mean of those of some groups of modalities.

    Attributes:
        num_views: adjacent rows of a batch that belong to one material.
        fewest_modalities: it can be computed with.
        most_modalities: likewise; None where there is no limit.
        type: its name in a job file.
    """

    num_views: ClassVar[int] = 1
    fewest_modalities: ClassVar[int] = 2
    most_modalities: ClassVar[int | None] = None

    type: str

    if TYPE_CHECKING:  # a key of the job file in all that have one

        @property
        def temperature(self) -> TemperatureSettings:
            """How similarities become logits."""

    def groups(self, modalities: Collection[str]) -> tuple[Group, ...]:
        """Give the groups of modalities that are aligned; their order depends on the set alone.

        Raises:
            UserError: the objective cannot be computed with these modalities.
        """
        return (self.ordered(modalities),)

    @property
    def num_heads(self) -> int:
        """How many embeddings of each material and modality it compares; 1 needs no projector."""
        return 1

    def ordered(self, modalities: Collection[str]) -> Group:
        """Order modalities as the vocabulary does.

        Raises:
            UserError: they are too few or too many.
        """
        group = in_order(modalities)
        fewest, most = self.fewest_modalities, self.most_modalities
        if not fewest <= len(group) <= (most or len(group)):
            upwards = "or more" if most is None else f"to {most}"
            number = str(most) if fewest == most else f"{fewest} {upwards}"
            raise UserError(
                f"objective.type {self.type!r} aligns {number} modalities, not {len(group)} "
                f"({', '.join(group)}); change modalities or objective.type"
            )
        return group

    @abstractmethod
    def share(self, alignment: Alignment, logit_scale: Tensor) -> Tensor:
        """Give this worker's share of one group's loss; it is called in single precision."""

    def __call__(
        self, local: Embeddings, everyone: Embeddings, row_offset: int, logit_scale: Tensor
    ) -> dict[str, Tensor]:
        """Give this worker's share of every group's loss, keyed ``"structure|text"``.

        Args:
            local: the embeddings of this worker's B rows.
            everyone: the embeddings of all workers' rows in rank order, gathered with gradient.
            row_offset: the position of this worker's first row in ``everyone``.
            logit_scale: (1,) the natural logarithm of the inverse temperature.

        Returns:
            Scalars. Summed over workers they are the losses that one process would compute on the
            whole batch, in value and in gradient; an engine that averages gradients over workers
            has to be given the share times the number of workers. A group without valid rows has
            a share of zero that is connected to the graph.

        Raises:
            UserError: the objective cannot be computed with these modalities.
        """
        from omnimat.nn.precision import single_precision
        from omnimat.objectives.alignment import align

        with single_precision(logit_scale.device):
            return {
                "|".join(group): self.share(
                    align(
                        [local.column(modality) for modality in group],
                        [everyone.column(modality) for modality in group],
                        row_offset,
                    ),
                    logit_scale,
                )
                for group in self.groups(local.values.keys())
            }


class PairwiseObjective(GroupObjective):
    """An objective of pairs of modalities: InfoNCE of all pairs, unless a subclass says otherwise.

    Attributes:
        temperature: how similarities become logits.
        block_size: how many rows and columns of a similarity matrix are held at a time, at most; a
            smaller matrix is computed whole. The result does not depend on it beyond rounding. On a
            GPU with memory to spare a larger block is faster.
    """

    temperature: TemperatureSettings = TemperatureSettings()
    block_size: PositiveInt = DEFAULT_BLOCK_SIZE

    def groups(self, modalities: Collection[str]) -> tuple[Pair, ...]:
        """Give the M(M-1)/2 pairs of M modalities.

        Raises:
            UserError: the objective cannot be computed with these modalities.
        """
        return tuple(combinations(self.ordered(modalities), 2))

    def share(self, alignment: Alignment, logit_scale: Tensor) -> Tensor:
        """Give the local rows' part of the loss of one pair."""
        inverse_temperature = self.temperature.inverse_temperature(logit_scale)
        return info_nce_share(alignment, inverse_temperature, self.block_size)


def info_nce_share(
    alignment: Alignment, inverse_temperature: Tensor, block_size: int = DEFAULT_BLOCK_SIZE
) -> Tensor:
    """Give the local rows' part of the symmetric InfoNCE of two modalities.

    Memory is linear in the rows and quadratic in ``block_size``. The computation is in float32 or
    better, whatever the precision of the embeddings.

    Args:
        alignment: the two modalities.
        inverse_temperature: one positive number, by which similarities are multiplied.
        block_size: how many rows and columns of logits are held at a time, at most.

    Returns:
        A scalar; if no row is valid it is zero, but still connected to the graph.
    """
    from omnimat.objectives.blocks import LogSumExp

    partition = both_directions(alignment, inverse_temperature, LogSumExp(), block_size)
    positives = positive_logits(alignment, inverse_temperature)
    return alignment.total(partition - 2 * positives) / (2 * alignment.divisor)


def both_directions(
    alignment: Alignment, inverse_temperature: Tensor, reduction: RowReduction, block_size: int
) -> Tensor:
    """Reduce the logits of each local row in both directions, and add the two: (B,)."""
    from omnimat.objectives.blocks import Comparison, reduce_rows

    comparison = Comparison(alignment.valid, alignment.part[0], reduction, block_size)
    (first, second), (keys_first, keys_second) = alignment.local, alignment.everyone
    forward = reduce_rows(first, keys_second, inverse_temperature, comparison)
    return forward + reduce_rows(second, keys_first, inverse_temperature, comparison)


def positive_logits(alignment: Alignment, inverse_temperature: Tensor) -> Tensor:
    """Give the logit of each local row with its own counterpart, (B,)."""
    first, second = alignment.local_values(0), alignment.local_values(1)
    return inverse_temperature.to(first.dtype) * (first * second).sum(1)


def mean_over_groups(shares: Mapping[str, Tensor]) -> Tensor:
    """Combine the pairs into the loss to minimise.

    This is the mean of MultiMat's equations. The released MultiMat code divides its anchored sum
    by the number of modalities, anchor included, instead of the number of pairs; that differs by a
    constant factor of (M-1)/M. A pair without a valid row counts as zero and stays in the
    denominator, so that the weight of a pair does not change from batch to batch.
    """
    import torch

    return torch.stack(list(shares.values())).mean()
