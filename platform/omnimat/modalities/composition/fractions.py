"""The share of each element in a formula."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from omnimat.materials.record import Record
from omnimat.materials.validation import MAX_ATOMIC_NUMBER
from omnimat.modalities.composition import formula_of
from omnimat.modalities.layout import Arrays, FeaturizerSettings, Field
from omnimat.modalities.origin import Origin, columns_of, of_origin


class ElementFractions(FeaturizerSettings):
    """Fractions of atoms by element, which structure encoders can be trained to predict.

    Attributes:
        origin: which formula counts, as for ``magpie``.
    """

    modality: ClassVar[str] = "composition"

    type: Literal["element_fractions"] = "element_fractions"
    origin: Origin = "any"

    @property
    def index_columns(self) -> tuple[str, ...]:
        """Columns of the record index that show where there is a formula."""
        return columns_of(self.origin, "composition")

    @property
    def fields(self) -> tuple[Field, ...]:
        """Field of the fractions, from hydrogen on; they sum to 1."""
        return (Field("element_fractions", "float32", (MAX_ATOMIC_NUMBER,)),)

    def __call__(self, record: Record) -> Arrays | None:
        """Return the fractions, or None where the record has no formula of this origin.

        Raises:
            ValueError: there are no elements, or one is unknown.
        """
        formula = formula_of(of_origin(record, self.origin, "composition"))
        if formula is None:
            return None
        numbers = formula.atomic_numbers
        if not numbers.size or numbers.min() < 1 or numbers.max() > MAX_ATOMIC_NUMBER:
            raise ValueError("an atomic number is not of a known element")
        fractions = np.zeros(MAX_ATOMIC_NUMBER)
        fractions[numbers - 1] = formula.amounts / formula.amounts.sum()
        return {"element_fractions": fractions.astype(np.float32)}
