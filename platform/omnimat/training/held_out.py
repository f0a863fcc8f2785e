"""Materials that other data sets keep for judging, so that training must not see them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import pandas as pd
from pydantic import AfterValidator, Field
from upath import UPath

from omnimat.base.settings import Settings
from omnimat.materials.split import SPLITS, Split
from omnimat.shards.manifest import Manifest, are_among

if TYPE_CHECKING:
    from omnimat.base.workspace import Workspace


class HeldOut(Settings):
    """Materials of another data set that training must not see, for that one to judge it.

    A training record is left out if its reduced formula is among theirs: the same material goes by
    several ids, and a polymorph tells much.

    Attributes:
        dataset: name of an ingested data set.
        splits: of it.
    """

    dataset: str
    splits: tuple[Split, ...] = Field(default=("validation", "test"), min_length=1)

    def records(self, folder: UPath) -> pd.DataFrame:
        """Give the rows of these materials in the record index of their data set's folder.

        Raises:
            UserError: there is no such data set.
        """
        index = Manifest.load(folder).records(folder)
        return index[index["split"].isin(self.splits)]


def in_order(held_out: Sequence[HeldOut]) -> tuple[HeldOut, ...]:
    """Name every data set once, in the order of their names, and its splits in theirs."""
    splits: dict[str, set[Split]] = {}
    for one in held_out:
        splits.setdefault(one.dataset, set()).update(one.splits)
    return tuple(
        HeldOut(dataset=name, splits=tuple(one for one in SPLITS if one in splits[name]))
        for name in sorted(splits)
    )


HeldOuts = Annotated[tuple[HeldOut, ...], AfterValidator(in_order)]
"""What other data sets keep, in an order on which nothing depends."""


def folders_of(held_out: Iterable[HeldOut], workspace: Workspace) -> tuple[UPath, ...]:
    """Give the folder of each data set."""
    return tuple(workspace.dataset(one.dataset) for one in held_out)


def are_held_out(
    records: pd.DataFrame, held_out: Iterable[tuple[HeldOut, UPath]]
) -> pd.Series[bool]:
    """Say of each row of a record index whether another data set keeps its material for judging.

    Args:
        records: the rows.
        held_out: what other data sets keep, and the folder of each.

    Raises:
        UserError: one of these data sets is missing.
    """
    found = pd.Series(data=False, index=records.index)
    for one, folder in held_out:
        found |= are_among(records, one.records(folder))
    return found
