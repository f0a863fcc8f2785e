"""CLaC's InfoNCE over two augmented views of each material (arXiv 2502.16451, revised code).

With (G, T) and (G', T') two independently augmented views of structure and text,

    L = C(G, T) + C(G', T) + C(G, T') + C(G', T') + C(G, G') + C(T, T')

where C is the symmetric InfoNCE, all of weight 1. The views of a material are adjacent rows of the
batch: rows 2m and 2m + 1 are its first and second view. So nothing else changes: two views are a
batch of twice the rows.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, Literal

import torch
from torch import Tensor

from omnimat.materials.errors import UserError
from omnimat.materials.record import Modality
from omnimat.objectives.alignment import align
from omnimat.objectives.contrastive import Pair, PairwiseObjective, canonical, info_nce_share
from omnimat.objectives.embeddings import Embeddings
from omnimat.objectives.temperature import TemperatureSettings

_FIRST, _SECOND = 0, 1
_MARKS = ("", "'")


class ClacSettings(PairwiseObjective):
    """Aligns two modalities across and within two views.

    The loss minimised is the mean of the six terms, a sixth of CLaC's sum. All terms see the same
    embeddings and temperature; CLaC projects anew for C(G, G') and for C(T, T').

    Attributes:
        temperature: CLaC starts at 0.07 and learns it.
    """

    num_views: ClassVar[int] = 2

    type: Literal["clac"] = "clac"
    temperature: TemperatureSettings = TemperatureSettings(initial=0.07, learnable=True)

    def pairs(self, modalities: Collection[Modality]) -> tuple[Pair, ...]:
        """Give the one pair of modalities.

        Raises:
            UserError: unless there are exactly two modalities.
        """
        ordered = canonical(modalities)
        if len(ordered) != 2:
            raise UserError(
                f"objective.type 'clac' aligns exactly two modalities, not {len(ordered)} "
                f"({', '.join(ordered)}); change the encoders"
            )
        return ((ordered[0], ordered[1]),)

    def __call__(
        self, local: Embeddings, everyone: Embeddings, row_offset: int, logit_scale: Tensor
    ) -> dict[str, Tensor]:
        """Give this worker's share of the six terms, keyed ``"structure|text'"``.

        Args:
            local: this worker's B rows, a material's two views adjacent.
            everyone: all workers' rows in rank order.
            row_offset: position of this worker's first row in ``everyone``.
            logit_scale: (1,) natural logarithm of the inverse temperature.

        Raises:
            UserError: unless there are exactly two modalities.
            ValueError: if a worker holds half a material.
        """
        ((first, second),) = self.pairs(local.values.keys())
        if row_offset % 2 or len(local.values[first]) % 2:
            raise ValueError("two views of each material make an even number of rows a worker")
        inverse_temperature = self.temperature.inverse_temperature(logit_scale)
        shares = {}
        with torch.autocast(logit_scale.device.type, enabled=False):
            for sides in _terms(first, second):
                alignment = align(
                    [local.column(modality).view(view, 2) for modality, view in sides],
                    [everyone.column(modality).view(view, 2) for modality, view in sides],
                    row_offset // 2,
                )
                name = "|".join(modality + _MARKS[view] for modality, view in sides)
                shares[name] = info_nce_share(alignment, inverse_temperature, self.block_size)
        return shares


def _terms(first: Modality, second: Modality) -> list[list[tuple[Modality, int]]]:
    """Name both sides of each term by modality and view."""
    views = (_FIRST, _SECOND)
    across = [[(first, one), (second, other)] for other in views for one in views]
    within = [[(modality, _FIRST), (modality, _SECOND)] for modality in (first, second)]
    return across + within
