"""Magpie features: statistics of tabulated element properties over a formula.

Ward et al., "A general-purpose machine learning framework for predicting properties of inorganic
materials", npj Computational Materials 2 (2016). The tables come from matminer, and the values and
their order are those of its ``ElementProperty.from_preset("magpie")``.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from omnimat.materials.record import Record
from omnimat.modalities.composition import formula_of
from omnimat.modalities.layout import Arrays, FeaturizerSettings, Field
from omnimat.modalities.origin import Origin, columns_of, of_origin

ELEMENT_PROPERTIES = (
    "Number",
    "MendeleevNumber",
    "AtomicWeight",
    "MeltingT",
    "Column",
    "Row",
    "CovalentRadius",
    "Electronegativity",
    "NsValence",
    "NpValence",
    "NdValence",
    "NfValence",
    "NValence",
    "NsUnfilled",
    "NpUnfilled",
    "NdUnfilled",
    "NfUnfilled",
    "NUnfilled",
    "GSvolume_pa",
    "GSbandgap",
    "GSmagmom",
    "SpaceGroupNumber",
)
STATISTICS = ("minimum", "maximum", "range", "mean", "avg_dev", "mode")

_LARGEST_ATOMIC_NUMBER = 118


class Magpie(FeaturizerSettings):
    """The 132 Magpie features: six statistics of each of 22 element properties.

    Attributes:
        origin: which formula counts: one ``given`` with the record, one ``derived`` from its
            structure, or ``any``, which prefers the given one.
    """

    modality: ClassVar[str] = "composition"

    type: Literal["magpie"] = "magpie"
    origin: Origin = "any"

    @property
    def index_columns(self) -> tuple[str, ...]:
        """Columns of the record index that show where there is a formula."""
        return columns_of(self.origin, "composition")

    @property
    def fields(self) -> tuple[Field, ...]:
        """Field of the features, in the order of the properties."""
        return (Field("magpie", "float32", (len(ELEMENT_PROPERTIES) * len(STATISTICS),)),)

    @property
    def vector(self) -> None:
        """None, because each of the properties has a unit of its own."""
        return None

    def __call__(self, record: Record) -> Arrays | None:
        """Return the features of the record's formula, or None where it has none of this origin.

        Raises:
            ValueError: there are no elements, or one is unknown.
        """
        formula = formula_of(of_origin(record, self.origin, "composition"))
        if formula is None:
            return None
        numbers, amounts = formula.atomic_numbers, formula.amounts
        if not numbers.size or numbers.min() < 1 or numbers.max() > _LARGEST_ATOMIC_NUMBER:
            raise ValueError("an atomic number is not of a known element")
        values = element_table()[numbers]
        weights = amounts / amounts.sum()
        lowest, highest = values.min(axis=0), values.max(axis=0)
        mean = weights @ values
        deviation = weights @ np.abs(values - mean)
        # Among equally frequent elements, the lowest value counts.
        mode = values[amounts == amounts.max()].min(axis=0)
        statistics = np.stack([lowest, highest, highest - lowest, mean, deviation, mode], axis=1)
        return {"magpie": statistics.astype(np.float32).ravel()}


@cache
def element_table() -> NDArray[np.float64]:
    """Return the property values by atomic number, shape (119, 22); row 0 is unused.

    A value that the tables lack is replaced by the mean over the elements that they have.
    """
    # The folder is read without importing matminer's featurizers, which would take seconds.
    folder = files("matminer") / "utils" / "data_files" / "magpie_elementdata"
    table = np.full((_LARGEST_ATOMIC_NUMBER + 1, len(ELEMENT_PROPERTIES)), np.nan)
    for column, name in enumerate(ELEMENT_PROPERTIES):
        lines = (folder / f"{name}.table").read_text().splitlines()[:_LARGEST_ATOMIC_NUMBER]
        table[1 : len(lines) + 1, column] = [_number(line) for line in lines]
    return np.where(np.isnan(table), np.nanmean(table, axis=0), table)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan
