"""What the encoders hand to an objective: an embedding for each material and modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Column:
    """One modality of a batch of B materials.

    Attributes:
        values: (B, d), or (B, heads, d) where an embedding has several heads.
        present: (B,) booleans, which say whether a material has this modality.
    """

    values: Tensor
    present: Tensor

    def view(self, number: int, num_views: int) -> Column:
        """Give one view of every material, where the views of a material are adjacent rows."""
        return Column(self.values[number::num_views], self.present[number::num_views])

    def head(self, number: int, num_heads: int) -> Column:
        """Give one of the heads, (B, d).

        Raises:
            ValueError: there are not ``num_heads`` heads.
        """
        if self.values.dim() != 3 or self.values.shape[1] != num_heads:
            raise ValueError(f"{tuple(self.values.shape)} are no embeddings of {num_heads} heads")
        return Column(self.values[:, number], self.present)


# No slots: the hooks of DeepSpeed ZeRO-3 look into the __dict__ of what a module returns.
@dataclass(frozen=True)
class Embeddings:
    """Embeddings of a batch of B materials.

    Attributes:
        values: for each modality a (B, d) tensor, or (B, heads, d) where the objective asks for
            several heads. Rows have unit L2 norm where the modality is present, and are zero where
            it is missing.
        present: for each modality a boolean (B,) tensor that says which rows are present.
        predictions: for each regression (``"structure->properties"``) a (B, k) tensor of what the
            embeddings of its first modality predict; anything finite where that is missing.
    """

    values: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    predictions: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def outputs(self) -> dict[str, Tensor]:
        """All that has a gradient: embeddings by modality, and predictions by regression."""
        return {**self.values, **self.predictions}

    def column(self, modality: str) -> Column:
        """Give one modality."""
        return Column(self.values[modality], self.present[modality])
