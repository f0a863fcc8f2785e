"""What an objective is, and which ones a job file can name."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Protocol

from torch import Tensor

from omnimat.base.registry import OneOf, Registry
from omnimat.objectives.contrastive import Group
from omnimat.objectives.embeddings import Embeddings
from omnimat.objectives.temperature import TemperatureSettings

_HERE = "omnimat.objectives"

OBJECTIVES: Registry[type[Any]] = Registry(
    "omnimat.objectives",
    {
        "clip": f"{_HERE}.clip:ClipSettings",
        "all_pairs_clip": f"{_HERE}.all_pairs_clip:AllPairsClipSettings",
        "anchored_clip": f"{_HERE}.anchored_clip:AnchoredClipSettings",
        "dcl": f"{_HERE}.dcl:DclSettings",
        "siglip": f"{_HERE}.siglip:SigLipSettings",
        "tensor_clip": f"{_HERE}.tensor_clip:TensorClipSettings",
        "barlow_twins": f"{_HERE}.barlow_twins:BarlowTwinsSettings",
        "clac": f"{_HERE}.clac:ClacSettings",
    },
)


class Objective(Protocol):
    """A pure function from gathered embeddings to one worker's shares of the loss."""

    @property
    def type(self) -> str:
        """Its name in a job file."""

    def model_dump(self, *, mode: str = ..., exclude: Any = ...) -> dict[str, Any]:
        """Give its settings: an objective is its settings."""

    @property
    def num_views(self) -> int:
        """How many adjacent rows of a batch are views of one material."""

    @property
    def num_heads(self) -> int:
        """How many embeddings each material and modality has; several come from projectors."""

    @property
    def temperature(self) -> TemperatureSettings:
        """How similarities become logits."""

    def groups(self, modalities: Collection[str]) -> tuple[Group, ...]:
        """Give the aligned groups; raise ``UserError`` if these modalities cannot be used."""

    def __call__(
        self, local: Embeddings, everyone: Embeddings, row_offset: int, logit_scale: Tensor
    ) -> dict[str, Tensor]:
        """Give the local share of every group's loss; shares sum over workers to the loss."""


AnyObjective = Annotated[Objective, OneOf(OBJECTIVES)]
