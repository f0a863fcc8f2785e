"""What an objective is, and the ones a job file can name."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Protocol

from pydantic import Field
from torch import Tensor

from omnimat.materials.record import Modality
from omnimat.objectives.all_pairs_clip import AllPairsClipSettings
from omnimat.objectives.anchored_clip import AnchoredClipSettings
from omnimat.objectives.barlow_twins import BarlowTwinsSettings
from omnimat.objectives.clac import ClacSettings
from omnimat.objectives.clip import ClipSettings
from omnimat.objectives.contrastive import Group
from omnimat.objectives.dcl import DclSettings
from omnimat.objectives.embeddings import Embeddings
from omnimat.objectives.siglip import SigLipSettings
from omnimat.objectives.temperature import TemperatureSettings
from omnimat.objectives.tensor_clip import TensorClipSettings


class Objective(Protocol):
    """A pure function from gathered embeddings to one worker's shares of the loss."""

    @property
    def num_views(self) -> int:
        """Adjacent rows of a batch that are views of one material."""

    @property
    def num_heads(self) -> int:
        """Embeddings of each material and modality, each from a projector where there are more."""

    @property
    def temperature(self) -> TemperatureSettings:
        """How similarities become logits."""

    def groups(self, modalities: Collection[Modality]) -> tuple[Group, ...]:
        """Give the aligned groups; raise ``UserError`` if these modalities cannot be used."""

    def __call__(
        self, local: Embeddings, everyone: Embeddings, row_offset: int, logit_scale: Tensor
    ) -> dict[str, Tensor]:
        """Give the local share of every group's loss; shares sum over workers to the loss."""


AnyObjective = Annotated[
    ClipSettings
    | AllPairsClipSettings
    | AnchoredClipSettings
    | DclSettings
    | SigLipSettings
    | TensorClipSettings
    | BarlowTwinsSettings
    | ClacSettings,
    Field(discriminator="type"),
]
