"""Which materials count as the same, so that finding the one is as good as finding the other.

Databases hold some materials more than once, relaxed again or taken from another source. Texts,
patterns and curves of such a pair are nearly equal, so to find the one and not the other is a coin
toss. There are two rules:

- ``symmetry``: the same reduced formula and space group, or crystal system where no more is known.
  It is cheap but coarse, since two different structures may share both. A material of unknown
  symmetry has no duplicate.
- ``structure``: the same reduced formula and number of atoms, and the same crystal in the sense of
  ``evaluation.structures``. This rule reads the shards.

In data of the Materials Project the two rules find different pairs, since structures that match and
share a space group are merged there. Of the 8,959 materials of MP-20's test split, 162 have a
duplicate by symmetry (other structures, which no formula, composition or space group in a text
tells apart) and 86 by structure (a crystal and its distortion); none has both.

No rule looks at an embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from upath import UPath

from omnimat.evaluation.structures import are_same, reduced_structures

if TYPE_CHECKING:
    from pymatgen.core import Structure

DuplicateRule = Literal["symmetry", "structure"]

Groups = NDArray[np.int64]


def by_symmetry(
    records: pd.DataFrame, properties: Sequence[Mapping[str, Any]], dataset: UPath
) -> Groups:
    """Group N materials by reduced formula and space group.

    Args:
        records: N lines of the record index.
        properties: the properties of these N materials.
        dataset: the folder of the data set, which this rule does not read.

    Returns:
        (N,) labels from 0, in the order of their first appearance.
    """
    del dataset
    symmetries = [
        known.get("space_group_number") or known.get("crystal_system") for known in properties
    ]
    keys = zip(records["reduced_formula"], symmetries, range(len(records)), strict=True)
    return _labels([(formula, str(s)) if s else (place,) for formula, s, place in keys])


def by_structure(
    records: pd.DataFrame, properties: Sequence[Mapping[str, Any]], dataset: UPath
) -> Groups:
    """Group N materials whose structures match; a record that cannot be read has no duplicate.

    The arguments and the result are those of ``by_symmetry``.
    """
    del properties
    records = records.reset_index(drop=True)
    keys: list[tuple[Any, ...]] = [(place,) for place in range(len(records))]
    for _, alike in records.groupby(["reduced_formula", "num_atoms"]):
        if len(alike) > 1:
            firsts = _first_matches(reduced_structures(dataset, alike))
            for place, first in zip(alike.index, firsts, strict=True):
                keys[place] = (int(alike.index[first]),)
    return _labels(keys)


DUPLICATE_RULES: Mapping[
    DuplicateRule,
    Callable[[pd.DataFrame, Sequence[Mapping[str, Any]], UPath], Groups],
] = MappingProxyType({"symmetry": by_symmetry, "structure": by_structure})


def _labels(keys: list[tuple[Any, ...]]) -> Groups:
    numbers: dict[tuple[Any, ...], int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _first_matches(structures: Iterable[Structure | None]) -> list[int]:
    """Give for each crystal the first one that it matches, or itself where no earlier one does."""
    firsts: dict[int, Structure] = {}  # by their place
    matches = []
    for place, crystal in enumerate(structures):
        found = (
            i for i, first in firsts.items() if crystal is not None and are_same(first, crystal)
        )
        matches.append(next(found, place))
        if crystal is not None and matches[-1] == place:
            firsts[place] = crystal
    return matches
