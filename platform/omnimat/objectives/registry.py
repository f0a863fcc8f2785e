"""Which objectives a job file can name."""

from __future__ import annotations

from typing import Annotated, Any

from omnimat.base.registry import OneOf, Registry
from omnimat.objectives.contrastive import GroupObjective

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
        "none": f"{_HERE}.none:NoContrastSettings",
    },
)

AnyObjective = Annotated[GroupObjective, OneOf(OBJECTIVES)]
