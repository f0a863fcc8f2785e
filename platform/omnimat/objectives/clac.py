"""CLaC's InfoNCE over two augmented views of each material (arXiv 2502.16451, revised code).

With (G, T) and (G', T') two independently augmented views of structure and text,

    L = C(G, T) + C(G', T) + C(G, T') + C(G', T') + C(G, G') + C(T, T')

where C is the symmetric InfoNCE, all of weight 1. The views of a material are adjacent rows of the
batch: rows 2m and 2m + 1 are its first and second view. Nothing else has to change, since two views
are a batch of twice as many rows.

CLaC projects each modality once for the four terms across modalities, and once more for the term
within the modality. The two projections are two heads of an embedding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from omnimat.objectives.contrastive import PairwiseObjective, info_nce_share
from omnimat.objectives.embeddings import Column, Embeddings
from omnimat.objectives.temperature import TemperatureSettings

if TYPE_CHECKING:
    from torch import Tensor

_FIRST, _SECOND = 0, 1
_ACROSS, _WITHIN = 0, 1
_MARKS = ("", "'")


class ClacSettings(PairwiseObjective):
    """Aligns two modalities across and within two views.

    The loss that is minimised is the mean of the six terms, a sixth of CLaC's sum. All terms share
    one temperature.

    Attributes:
        temperature: CLaC starts at 0.07 and learns it.
        projectors: whether the terms across and within modalities have projectors of their own, as
            in CLaC. If not, all terms see the embedding itself.
    """

    num_views: ClassVar[int] = 2
    most_modalities: ClassVar[int] = 2

    type: Literal["clac"] = "clac"
    temperature: TemperatureSettings = TemperatureSettings(initial=0.07, learnable=True)
    projectors: bool = True

    @property
    def num_heads(self) -> int:
        """How many projections each embedding has: one across modalities, and one within."""
        return 2 if self.projectors else 1

    def __call__(
        self, local: Embeddings, everyone: Embeddings, row_offset: int, logit_scale: Tensor
    ) -> dict[str, Tensor]:
        """Give this worker's share of the six terms, keyed ``"structure|text'"``.

        Args:
            local: this worker's B rows, with the two views of a material next to each other;
                (B, 2, d) with ``projectors``, where the head across modalities comes first.
            everyone: all workers' rows in rank order.
            row_offset: the position of this worker's first row in ``everyone``.
            logit_scale: (1,) the natural logarithm of the inverse temperature.

        Raises:
            UserError: there are not exactly two modalities.
            ValueError: a worker holds half a material, or the embeddings have other heads.
        """
        from omnimat.nn.precision import single_precision
        from omnimat.objectives.alignment import align

        ((first, second),) = self.groups(local.values.keys())
        if row_offset % 2 or len(local.values[first]) % 2:
            raise ValueError("two views of each material make an even number of rows a worker")
        inverse_temperature = self.temperature.inverse_temperature(logit_scale)
        shares = {}
        with single_precision(logit_scale.device):
            for sides in _terms(first, second):
                head = _ACROSS if sides[0][0] != sides[1][0] else _WITHIN
                alignment = align(
                    [self._column(local, *side, head) for side in sides],
                    [self._column(everyone, *side, head) for side in sides],
                    row_offset // 2,
                )
                name = "|".join(modality + _MARKS[view] for modality, view in sides)
                shares[name] = info_nce_share(alignment, inverse_temperature, self.block_size)
        return shares

    def _column(self, embeddings: Embeddings, modality: str, view: int, head: int) -> Column:
        column = embeddings.column(modality).view(view, self.num_views)
        return column.head(head, self.num_heads) if self.projectors else column


def _terms(first: str, second: str) -> list[list[tuple[str, int]]]:
    """Name the two sides of each term by modality and view."""
    views = (_FIRST, _SECOND)
    across = [[(first, one), (second, other)] for other in views for one in views]
    within = [[(modality, _FIRST), (modality, _SECOND)] for modality in (first, second)]
    return across + within
