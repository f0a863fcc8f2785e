"""Chemical compositions: a formula is stored if it is given, or else follows from the structure."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnimat.materials.record import Record
from omnimat.modalities.modality import Modality
from omnimat.modalities.storage import Stored, checked, encode_json

_HERE = "omnimat.modalities.composition"
_LARGEST_ATOMIC_NUMBER = 118


@dataclass(frozen=True, slots=True)
class Formula:
    """A chemical formula.

    Attributes:
        atomic_numbers: elements in increasing order, int32 of shape (n,).
        amounts: positive amount of each element, which need not be whole, float64 of shape (n,).
    """

    atomic_numbers: NDArray[np.int32]
    amounts: NDArray[np.float64]


def encode(formula: Formula) -> bytes:
    """Write a formula as JSON.

    Raises:
        ValueError: an element is unknown or named twice, or an amount is not positive.
    """
    _check(formula)
    numbers, amounts = formula.atomic_numbers.tolist(), formula.amounts.tolist()
    return encode_json({"atomic_numbers": numbers, "amounts": amounts})


def decode(data: bytes) -> Formula:
    """Read and check what ``encode`` writes."""
    value = json.loads(data)
    numbers = np.asarray(value["atomic_numbers"], dtype=np.int32)
    formula = Formula(numbers, np.asarray(value["amounts"], dtype=np.float64))
    _check(formula)
    return formula


def formula_of(record: Record) -> Formula | None:
    """Return the formula that is given with a record, or else that of its structure."""
    given: Formula | None = record.parts.get("composition")
    if given is None and record.structure is not None:
        numbers, counts = np.unique(record.structure.atomic_numbers, return_counts=True)
        return Formula(numbers, counts.astype(np.float64))
    return given


def _check(formula: Formula) -> None:
    numbers, amounts = checked(formula.atomic_numbers, 1), checked(formula.amounts, 1)
    if numbers.shape != amounts.shape:
        raise ValueError("elements and amounts differ in length")
    if numbers[0] < 1 or numbers[-1] > _LARGEST_ATOMIC_NUMBER or (np.diff(numbers) < 1).any():
        raise ValueError("elements are unknown, named twice or not in order")
    if amounts.min() <= 0:
        raise ValueError("an amount is not positive")


MODALITY = Modality(
    name="composition",
    label="a formula",
    stored=(Stored("composition.json", encode, decode),),
    featurizers={
        "magpie": f"{_HERE}.features:Magpie",
        "element_fractions": f"{_HERE}.fractions:ElementFractions",
    },
    encoders={"composition_mlp": f"{_HERE}.mlp:CompositionMlpSettings"},
    query=f"{_HERE}.query:QUERY",
)
