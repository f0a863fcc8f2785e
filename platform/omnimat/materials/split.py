"""Which split a material belongs to, fixed once at ingest."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from omnimat.base.settings import Settings

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

# Under this key of a record's provenance a source hands on the split its data set published.
PUBLISHED_SPLIT = "published_split"


class SplitSettings(Settings):
    """Fractions of the hashed split; materials with a published split do not count in them."""

    train: float = Field(0.8, ge=0, le=1)
    validation: float = Field(0.1, ge=0, le=1)
    test: float = Field(0.1, ge=0, le=1)
    seed: int = 0

    @model_validator(mode="after")
    def _fractions_sum_to_one(self) -> Self:
        total = self.train + self.validation + self.test
        if not math.isclose(total, 1.0, abs_tol=1e-6):
            raise ValueError(f"train + validation + test must be 1, they are {total:g}")
        return self


def assign_split(reduced_formula: str, published: str | None, settings: SplitSettings) -> Split:
    """Give the published split, else one drawn from a hash of the reduced formula.

    Polymorphs share a formula, so no polymorph straddles the splits.

    Raises:
        ValueError: the published split is not one of ``SPLITS``.
    """
    if published is not None:
        if published not in SPLITS:
            raise ValueError(f"published split {published!r} is not one of {', '.join(SPLITS)}")
        return published
    digest = hashlib.sha256(f"{settings.seed}\t{reduced_formula}".encode()).digest()
    draw = int.from_bytes(digest[:8], "big") / 2**64
    if draw < settings.train:
        return "train"
    return "validation" if draw < settings.train + settings.validation else "test"


def split_sha256(splits: Iterable[tuple[str, str]]) -> str:
    """Hash (material id, split) pairs in any order: lines ``id<TAB>split``, sorted."""
    lines = sorted(f"{material_id}\t{split}" for material_id, split in splits)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
