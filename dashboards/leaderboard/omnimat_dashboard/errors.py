"""On what a model errs: by element, crystal system and size, and on which materials most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from omnimat.leaderboard.metrics import METRICS
from omnimat.materials.crystals import CRYSTAL_SYSTEMS
from omnimat_dashboard.periodic_table import MIN_COUNT, ErrorCell, periodic_errors

NUM_EXTREMES = 10  # how many of the worst materials are shown, and of the best
_SIZES = (0, 2, 4, 8, 16, 32, 64, np.inf)  # atoms


@dataclass(frozen=True, slots=True)
class Bin:
    """Materials of one kind.

    Attributes:
        name: what they have in common.
        count: how many there are.
        error: their mean error.
        share: the error as a share of that of the worst bin that is not few, 0 to 1.
        is_few: whether they are too few to say anything.
    """

    name: str
    count: int
    error: float
    share: float
    is_few: bool


@dataclass(frozen=True, slots=True)
class Extreme:
    """A material on which the model errs much, or little.

    Attributes:
        material_id: its id.
        formula: its reduced formula; empty if that is not known.
        target: the true value, or values.
        prediction: what was predicted by the mean of the seeds, or by the first for a class.
        error: the error, a mean over the seeds.
    """

    material_id: str
    formula: str
    target: Any
    prediction: Any
    error: float


@dataclass(frozen=True, slots=True)
class Errors:
    """The errors of one result on its test materials, each a mean over the seeds.

    Attributes:
        is_of_classes: whether an error is the share of seeds that are wrong.
        elements: the periodic table of errors; empty if the formulas are not known.
        systems: the errors by crystal system; empty if that is not known.
        sizes: the errors by the number of atoms in the cell; empty if that is not known.
        worst: the materials with the largest errors, the largest first.
        best: those with the smallest, the smallest first.
        num_materials: how many materials were tested.
    """

    is_of_classes: bool
    elements: Sequence[ErrorCell]
    systems: Sequence[Bin]
    sizes: Sequence[Bin]
    worst: Sequence[Extreme]
    best: Sequence[Extreme]
    num_materials: int


def errors_of(
    tables: Sequence[pd.DataFrame],
    records: pd.DataFrame | None,
    systems: Mapping[str, str] | None = None,
) -> Errors:
    """Average the errors of all seeds, and sort them by what is known of the materials.

    Args:
        tables: the predictions of each seed, with the columns ``material_id``, ``target`` and
            ``prediction``.
        records: the index of the data set, or None.
        systems: the crystal systems of materials by their ids, as far as they are known.

    Raises:
        ValueError: the predictions cannot be scored.
    """
    first = tables[0]
    is_of_classes = isinstance(first["target"].iloc[0], str | bool)
    each = pd.concat([_errors(table, is_of_classes) for table in tables], axis=1, join="inner")
    errors = each.mean(axis=1)
    known = pd.DataFrame(index=errors.index)
    if records is not None:
        wanted = ["reduced_formula", "num_atoms"]
        known = records.set_index("material_id").reindex(errors.index)[wanted]
    formulas = known["reduced_formula"].dropna() if len(known.columns) else pd.Series(dtype=str)
    order = errors.sort_values(kind="stable")
    ids = [str(one) for one in order.index]
    shown = _Shown(tables, formulas, order, is_of_classes=is_of_classes)
    return Errors(
        is_of_classes=is_of_classes,
        elements=periodic_errors(formulas, errors) if len(formulas) else [],
        systems=_by_system(errors, systems or {}),
        sizes=_by_size(errors, known["num_atoms"]) if len(known.columns) else [],
        worst=shown.extremes(ids[::-1][:NUM_EXTREMES]),
        best=shown.extremes(ids[:NUM_EXTREMES]),
        num_materials=len(errors),
    )


def _errors(table: pd.DataFrame, is_of_classes: bool) -> pd.Series[float]:
    """Give the error of each material: how far off, or 1 where the class is wrong."""
    of_each = METRICS["accuracy" if is_of_classes else "mae"].of_each
    assert of_each is not None  # both are means over materials
    scores = of_each(table["target"].tolist(), table["prediction"].tolist())
    return pd.Series(
        1 - scores if is_of_classes else scores, index=table["material_id"].astype(str)
    )


def _by_size(errors: pd.Series[float], num_atoms: pd.Series[Any]) -> list[Bin]:
    known = num_atoms.dropna()
    names = [
        f"{low + 1} to {high}" if np.isfinite(high) else f"more than {low}"
        for low, high in pairwise(_SIZES)
    ]
    return _bins(errors, pd.cut(known, list(_SIZES), labels=names))


def _by_system(errors: pd.Series[float], systems: Mapping[str, str]) -> list[Bin]:
    known = pd.Series(systems, dtype=object).reindex(errors.index).dropna()
    return _bins(errors, pd.Series(pd.Categorical(known, CRYSTAL_SYSTEMS), index=known.index))


def _bins(errors: pd.Series[float], kinds: pd.Series[Any]) -> list[Bin]:
    """Average errors by the kind of material; both have the ids of materials as their index."""
    known = kinds.dropna()
    found = errors.reindex(known.index).groupby(known, observed=True).agg(["size", "mean"])
    most = float(found["mean"][found["size"] >= MIN_COUNT].max()) if len(found) else 0.0
    return [
        Bin(
            name=str(name),
            count=int(row["size"]),
            error=float(row["mean"]),
            share=min(float(row["mean"]) / most, 1.0) if most > 0 else 0.0,
            is_few=row["size"] < MIN_COUNT,
        )
        for name, row in found.iterrows()
    ]


class _Shown:
    """Gives materials with their values, by their ids."""

    def __init__(
        self,
        tables: Sequence[pd.DataFrame],
        formulas: pd.Series[str],
        errors: pd.Series[float],
        *,
        is_of_classes: bool,
    ) -> None:
        self._tables = [one.set_index(one["material_id"].astype(str)) for one in tables]
        self._formulas, self._errors, self._is_of_classes = formulas, errors, is_of_classes

    def extremes(self, ids: Sequence[str]) -> list[Extreme]:
        return [
            Extreme(
                material_id=name,
                formula=str(self._formulas.get(name, "")),
                target=self._tables[0].at[name, "target"],
                prediction=self._prediction(name),
                error=float(self._errors[name]),
            )
            for name in ids
        ]

    def _prediction(self, name: str) -> Any:
        if self._is_of_classes:
            return self._tables[0].at[name, "prediction"]
        return np.mean([np.asarray(one.at[name, "prediction"], float) for one in self._tables], 0)
