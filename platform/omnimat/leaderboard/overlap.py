"""What a row tells about the materials that judge it and that its model has seen before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError

from omnimat.base.settings import Settings
from omnimat.materials.split import Split

OVERLAP = "pretraining_overlap"
"""The key of a row's ``details`` that tells it; a model trained from scratch has none."""
TRAINING_OVERLAP = "training_overlap"
"""The key that tells what was learned from, where another data set judges."""

_Count = Annotated[int, Field(ge=0, strict=True)]


class PartOverlap(Settings):
    """How many materials of a part of the data set were seen.

    Attributes:
        num_materials: how many materials the part has.
        same_formula: of how many the reduced formula was seen.
        same_structure: of how many of these the structure was seen.
        not_compared: of how many of these nobody knows whether the structure was seen.
        without_formula: of how many others nobody knows whether they were seen, since they have no
            formula.
    """

    num_materials: _Count
    same_formula: _Count
    same_structure: _Count
    not_compared: _Count = 0
    without_formula: _Count = 0


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
        return "; ".join(_sentence(n, part, "pretraining") for n, part in self.parts.items())

    def as_details(self) -> dict[str, Any]:
        """Give what it adds to the details of a row."""
        return {OVERLAP: self.model_dump(mode="json", exclude_defaults=True)}


class TrainingOverlap(Settings):
    """What a row's model has learned from of the materials of another data set that judge it.

    Attributes:
        dataset: the name of the data set that it was trained on.
        dataset_fingerprint: the fingerprint of that data set.
        num_learned: how many of its materials trained the model or validated it.
        test: how many of those that judge are among them.
    """

    dataset: str
    dataset_fingerprint: str
    num_learned: _Count
    test: PartOverlap

    @property
    def sentence(self) -> str:
        """The overlap in words."""
        return _sentence("test", self.test, "training or validation")

    def as_details(self) -> dict[str, Any]:
        """Give what it adds to the details of a row."""
        return {TRAINING_OVERLAP: self.model_dump(mode="json", exclude_defaults=True)}


AnyOverlap = PretrainingOverlap | TrainingOverlap


def overlap_in(details: Any) -> PretrainingOverlap | None:
    """Read what pretraining saw from a row's ``details``; None where nothing can be read."""
    return _read(PretrainingOverlap, OVERLAP, details)


def training_overlap_in(details: Any) -> TrainingOverlap | None:
    """Read what was learned from from a row's ``details``; None where nothing can be read."""
    return _read(TrainingOverlap, TRAINING_OVERLAP, details)


def seen_in(details: Any) -> Sequence[AnyOverlap]:
    """Read all that a row's ``details`` tell of what its model has seen."""
    told = overlap_in(details), training_overlap_in(details)
    return [one for one in told if one is not None]


_T = TypeVar("_T", bound=Settings)


def _read(kind: type[_T], key: str, details: Any) -> _T | None:
    told = details.get(key) if isinstance(details, Mapping) else None
    try:
        return None if told is None else kind.model_validate(told)
    except ValidationError:
        return None


def _sentence(name: str, part: PartOverlap, where: str) -> str:
    of_all = f"of {part.num_materials:,} {name} material{'s' * (part.num_materials != 1)}"
    unknown = part.without_formula
    if unknown and unknown == part.num_materials:
        return f"whether any {of_all} was seen in {where} is not known: they have no formulas"
    beside = f"; of {unknown:,} this is not known: they have no formulas" if unknown else ""
    if not part.same_formula:
        return f"none {of_all}, nor any of their formulas, was seen in {where}{beside}"
    were, their = ("was", "its") if part.same_formula == 1 else ("were", "their")
    left = f"; {part.not_compared:,} could not be compared" if part.not_compared else ""
    return (
        f"{part.same_formula:,} {of_all} {were} seen in {where} by {their} formula, "
        f"{part.same_structure:,} with the same structure{left}{beside}"
    )
