"""What heads take: one embedding for each modality of a material."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor


class Tokens(NamedTuple):
    """The embeddings of n materials in M modalities.

    Attributes:
        values: (n, M, d); anything finite where a modality is missing.
        present: (n, M) bool.
    """

    values: Tensor
    present: Tensor

    @classmethod
    def stack(
        cls,
        modalities: Sequence[str],
        values: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
    ) -> Self:
        """Line up embeddings in the order of a head's modalities.

        Args:
            modalities: the modalities of the head.
            values: (n, d) for at least one of them; a modality left out is missing everywhere.
            present: (n,) bool for the same modalities.

        Raises:
            ValueError: if there is no embedding, or one of a modality that the head does not take.
        """
        if not values or set(values) - set(modalities):
            raise ValueError(f"cannot take {sorted(values)} for a head of {sorted(modalities)}")
        one = next(iter(values))
        nothing, nowhere = torch.zeros_like(values[one]), torch.zeros_like(present[one])
        return cls(
            torch.stack([values.get(modality, nothing) for modality in modalities], dim=1),
            torch.stack([present.get(modality, nowhere) for modality in modalities], dim=1),
        )
