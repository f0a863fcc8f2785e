"""The masked contrastive loss of one pair of modalities, and the base of all pairwise objectives.

For a pair (a, b) a row is valid when both modalities are present. Over the n valid rows of the
whole batch, with unit embeddings and temperature tau, the loss is the symmetric InfoNCE of CLIP
(Radford et al. 2021, arXiv 2103.00020), as MultiMat uses it (Moro et al., arXiv 2312.00111):

    L = 1/(2n) sum_i [CE(a_i . b_1..n / tau, i) + CE(b_i . a_1..n / tau, i)]

Rows that are not valid are in no sum and no denominator, so their gradient is exactly zero.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from omnimat.materials.record import MODALITIES, Modality
from omnimat.materials.settings import Settings
from omnimat.objectives.embeddings import Embeddings
from omnimat.objectives.temperature import TemperatureSettings

Pair = tuple[Modality, Modality]


class PairwiseObjective(Settings):
    """An objective that is the mean of the contrastive losses of some pairs of modalities.

    Attributes:
        temperature: how similarities become logits.
    """

    temperature: TemperatureSettings = TemperatureSettings()

    @abstractmethod
    def pairs(self, modalities: Collection[Modality]) -> tuple[Pair, ...]:
        """Give the aligned pairs, in an order that depends on the set of modalities alone.

        Raises:
            UserError: if the objective cannot be computed with these modalities.
        """

    def __call__(
        self, local: Embeddings, everyone: Embeddings, row_offset: int, logit_scale: Tensor
    ) -> dict[str, Tensor]:
        """Give this worker's share of every pair's loss, keyed ``"structure|text"``.

        Args:
            local: Embeddings of this worker's B rows.
            everyone: Embeddings of all workers' rows in rank order, gathered with gradient.
            row_offset: Position of this worker's first row in ``everyone``.
            logit_scale: (1,) natural logarithm of the inverse temperature.

        Returns:
            Scalars. Summed over workers they are the losses one process would compute on the
            whole batch, in value and in gradient; an engine that averages gradients over workers
            has to be given the share times the number of workers.

        Raises:
            UserError: if the objective cannot be computed with these modalities.
        """
        inverse_temperature = self.temperature.inverse_temperature(logit_scale)
        return {
            "|".join(pair): pair_share(local, everyone, row_offset, pair, inverse_temperature)
            for pair in self.pairs(local.values.keys())
        }


def pair_share(
    local: Embeddings,
    everyone: Embeddings,
    row_offset: int,
    pair: Pair,
    inverse_temperature: Tensor,
) -> Tensor:
    """Give the local rows' part of the loss of one pair.

    Memory is two blocks of (valid local rows) x (valid rows) logits. Computed in float32 or better
    whatever the precision of the embeddings.

    Args:
        local: Embeddings of this worker's B rows.
        everyone: Embeddings of all workers' rows in rank order.
        row_offset: Position of this worker's first row in ``everyone``.
        pair: The two modalities.
        inverse_temperature: One positive number.

    Returns:
        A scalar; zero, yet connected to the graph, where no row is valid.
    """
    first, second = pair
    local_valid = local.present[first] & local.present[second]
    valid = everyone.present[first] & everyone.present[second]
    # A local row's positive is itself: its place among the valid rows of the whole batch.
    places = valid.cumsum(0)[row_offset : row_offset + len(local_valid)] - 1
    positives = places[local_valid]
    with torch.autocast(local_valid.device.type, enabled=False):
        forward, backward = (
            _cross_entropy(
                local.values[query][local_valid],
                everyone.values[key][valid],
                positives,
                inverse_temperature,
            )
            for query, key in (pair, pair[::-1])
        )
        return (forward + backward) / (2 * valid.sum().clamp(min=1))


def mean_over_pairs(shares: Mapping[str, Tensor]) -> Tensor:
    """Combine the pairs into the loss to minimise.

    This is the mean of MultiMat's equations. The released MultiMat code divides its anchored sum
    by the number of modalities, anchor included, not by the number of pairs; that is a constant
    factor of (M-1)/M. A pair without a valid row counts as zero and stays in the denominator, so
    the weight of a pair does not change from batch to batch.
    """
    return torch.stack(list(shares.values())).mean()


def canonical(modalities: Collection[Modality]) -> tuple[Modality, ...]:
    """Order modalities as the vocabulary lists them."""
    return tuple(modality for modality in MODALITIES if modality in modalities)


def _cross_entropy(
    queries: Tensor, keys: Tensor, positives: Tensor, inverse_temperature: Tensor
) -> Tensor:
    """Sum over queries of the cross entropy against all keys, in float32 or better."""
    precision = torch.promote_types(queries.dtype, torch.float32)
    logits = inverse_temperature.to(precision) * (queries.to(precision) @ keys.to(precision).T)
    return functional.cross_entropy(logits, positives, reduction="sum")
