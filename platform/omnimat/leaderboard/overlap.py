"""What a row tells about the materials that judge it and that its pretraining has seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError

from omnimat.base.settings import Settings
from omnimat.materials.split import Split

OVERLAP = "pretraining_overlap"
"""The key of a row's ``details`` that tells it; a model trained from scratch has none."""

_Count = Annotated[int, Field(ge=0, strict=True)]


class PartOverlap(Settings):
    """How many materials of a part of the data set pretraining has seen.

    Attributes:
        num_materials: how many materials the part has.
        same_formula: of how many the reduced formula was seen.
        same_structure: of how many of these the structure was seen.
        not_compared: of how many of these nobody knows whether the structure was seen.
    """

    num_materials: _Count
    same_formula: _Count
    same_structure: _Count
    not_compared: _Count = 0


class PretrainingOverlap(Settings):
    """What the pretraining of a row's model has seen of the materials that judge it.

    Attributes:
        run: the name of the pretraining run; empty where nobody here has trained it.
        dataset: the name of the data set that it was pretrained on; empty where that is unknown.
        dataset_fingerprint: the fingerprint of that data set.
        num_pretrained: how many materials it was pretrained on.
        parts: what it has seen of each part that judges.
        unknown: why nobody knows what it has seen; empty where that is known.
    """

    run: str
    dataset: str = ""
    dataset_fingerprint: str = ""
    num_pretrained: _Count = 0
    parts: Mapping[Split, PartOverlap] = {}
    unknown: str = ""

    @property
    def sentence(self) -> str:
        """The overlap in words."""
        if self.unknown:
            who = f"run {self.run}" if self.run else "the model"
            return f"what {who} saw in pretraining is not known: {self.unknown}"
        return "; ".join(_sentence(name, part) for name, part in self.parts.items())

    def as_details(self) -> dict[str, Any]:
        """Give what it adds to the details of a row."""
        return {OVERLAP: self.model_dump(mode="json", exclude_defaults=True)}


def overlap_in(details: Any) -> PretrainingOverlap | None:
    """Read the overlap from a row's ``details``; None where it has none that can be read."""
    told = details.get(OVERLAP) if isinstance(details, Mapping) else None
    try:
        return None if told is None else PretrainingOverlap.model_validate(told)
    except ValidationError:
        return None


def _sentence(name: str, part: PartOverlap) -> str:
    of_all = f"of {part.num_materials:,} {name} material{'s' * (part.num_materials != 1)}"
    if not part.same_formula:
        return f"none {of_all}, nor any of their formulas, was seen in pretraining"
    were, their = ("was", "its") if part.same_formula == 1 else ("were", "their")
    left = f"; {part.not_compared:,} could not be compared" if part.not_compared else ""
    return (
        f"{part.same_formula:,} {of_all} {were} seen in pretraining by {their} formula, "
        f"{part.same_structure:,} with the same structure{left}"
    )
