"""Assigns each material to a split, which is fixed at ingest."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from omnimat.base.settings import Settings

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

# Key of a record's provenance under which a source passes on the split that was published.
PUBLISHED_SPLIT = "published_split"


class SplitSettings(Settings):
    """Fractions of the hashed split, without the materials that have a published split."""

    train: float = Field(0.8, ge=0, le=1)
    validation: float = Field(0.1, ge=0, le=1)
    test: float = Field(0.1, ge=0, le=1)
    seed: int = 0

    @model_validator(mode="after")
    def _fractions_sum_to_one(self) -> Self:
        total = self.train + self.validation + self.test
        if not math.isclose(total, 1.0, abs_tol=1e-6):
            raise ValueError(f"train + validation + test must be 1, but they are {total:g}")
        return self


def assign_split(reduced_formula: str, published: str | None, settings: SplitSettings) -> Split:
    """Return the published split, or else one drawn from a hash of the reduced formula.

    Polymorphs have the same formula, so they are always in the same split.

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
    """Hash (material id, split) pairs, given in any order, as sorted lines ``id<TAB>split``."""
    lines = sorted(f"{material_id}\t{split}" for material_id, split in splits)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
