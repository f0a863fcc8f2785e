"""What an objective is, and the ones a job file can name."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Protocol

from pydantic import Field
from torch import Tensor

from omnimat.materials.record import Modality
from omnimat.objectives.all_pairs_clip import AllPairsClipSettings
from omnimat.objectives.anchored_clip import AnchoredClipSettings
from omnimat.objectives.clip import ClipSettings
from omnimat.objectives.contrastive import Pair
from omnimat.objectives.embeddings import Embeddings
from omnimat.objectives.temperature import TemperatureSettings


class Objective(Protocol):
    """A pure function from gathered embeddings to one worker's shares of the loss."""

    @property
    def temperature(self) -> TemperatureSettings:
        """How similarities become logits."""

    def pairs(self, modalities: Collection[Modality]) -> tuple[Pair, ...]:
        """Give the aligned pairs; raise ``UserError`` if these modalities cannot be used."""

    def __call__(
        self, local: Embeddings, everyone: Embeddings, row_offset: int, logit_scale: Tensor
    ) -> dict[str, Tensor]:
        """Give the local share of every pair's loss; shares sum over workers to the loss."""


AnyObjective = Annotated[
    ClipSettings | AllPairsClipSettings | AnchoredClipSettings, Field(discriminator="type")
]
