"""Assigns each material to a split, which is fixed at ingest."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from omnimat.base.paths import absolute_path
from omnimat.base.settings import Settings

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

# Key of a record's provenance under which a source passes on the split that was published.
PUBLISHED_SPLIT = "published_split"


class SplitSettings(Settings):
    """Fractions of the hashed split, without the materials that have a published split.

    Attributes:
        train: fraction of the training split.
        validation: fraction of the validation split.
        test: fraction of the test split; the three add up to 1.
        seed: changes which materials go where.
    """

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


class NamedSplit(Settings):
    """A split that is written down, in a table or in the records themselves.

    Attributes:
        values: split that each value stands for (``{tr: train, va: validation, te: test}``). Values
            that are not listed must be ``train``, ``validation`` or ``test``.
    """

    values: Mapping[str, Split] = {}

    def named(self, value: str) -> Split:
        """Return the split for which a value stands.

        Raises:
            ValueError: it stands for none.
        """
        if value in self.values:
            return self.values[value]
        for split in SPLITS:
            if value == split:
                return split
        known = ", ".join(dict.fromkeys((*self.values, *SPLITS)))
        raise ValueError(f"split {value!r} is not one of {known}")


class SplitColumn(NamedSplit):
    """A column of a table that says the split of each material.

    Attributes:
        path: path of the table; None for that of the labels.
        id: column with the id of the material or the name of its file; None for that of the labels.
        column: column with the split.
    """

    path: str | None = None
    id: str | None = None
    column: str = "split"


class TableSplit(Settings):
    """A split from a table; a record that the table does not name is refused.

    Attributes:
        table: the table and its column; the key of a job file is ``from``.
    """

    model_config = ConfigDict(populate_by_name=True)

    table: SplitColumn = Field(alias="from")

    def located(self) -> Self:
        """Return the same split with an absolute path.

        Raises:
            UserError: the table is missing.
        """
        if self.table.path is None:
            return self
        path = absolute_path(self.table.path, "split.from.path")
        return self.model_copy(update={"table": self.table.model_copy(update={"path": path})})


class PropertySplit(NamedSplit):
    """A split from a property of the records, or a label; a record without it is refused.

    Attributes:
        property: name of the property.
    """

    property: str


def _form_of_split(value: Any) -> str:
    """Say which of the three forms a job file, or a program, means."""
    for form, settings, keys in (
        ("by_table", TableSplit, ("from", "table")),
        ("by_property", PropertySplit, ("property",)),
    ):
        has_key = isinstance(value, Mapping) and any(key in value for key in keys)
        if has_key or isinstance(value, settings):
            return form
    return "hashed"


AnySplit = Annotated[
    Annotated[SplitSettings, Tag("hashed")]
    | Annotated[TableSplit, Tag("by_table")]
    | Annotated[PropertySplit, Tag("by_property")],
    Discriminator(_form_of_split),
]
"""How materials are split: by a hash, by a table, or by a property."""


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
    draw = hashed_draw(reduced_formula, settings.seed)
    if draw < settings.train:
        return "train"
    return "validation" if draw < settings.train + settings.validation else "test"


def hashed_draw(key: str, seed: int) -> float:
    """Return a number from 0 to 1 that a key and a seed determine, uniform over keys."""
    digest = hashlib.sha256(f"{seed}\t{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_sha256(splits: Iterable[tuple[str, str]]) -> str:
    """Hash (material id, split) pairs, given in any order, as sorted lines ``id<TAB>split``."""
    lines = sorted(f"{material_id}\t{split}" for material_id, split in splits)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
