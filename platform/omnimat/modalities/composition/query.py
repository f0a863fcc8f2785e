"""Reads formulas that users give, such as LiFePO4 or Li0.5CoO2."""

from __future__ import annotations

import re

import numpy as np

from omnimat.modalities.composition import Formula
from omnimat.modalities.modality import Query

_FORMULA = re.compile(r"(?:[A-Z][a-z]?|[()\[\]])(?:[A-Z][a-z]?|[()\[\]]|\d+(?:\.\d+)?)*")
_SYMBOL = re.compile(r"[A-Z][a-z]?")


def parse_formula(text: str) -> Formula | None:
    """Read a formula; return None if the text does not have the form of a formula.

    Raises:
        ValueError: the text has this form, but names an element that does not exist.
    """
    from pymatgen.core import Composition, Element

    if not _FORMULA.fullmatch(text):
        return None
    if unknown := [s for s in _SYMBOL.findall(text) if not Element.is_valid_symbol(s)]:
        raise ValueError(f"{', '.join(dict.fromkeys(unknown))}: no such element")
    amounts = {Element(str(e)).Z: float(a) for e, a in Composition(text).items()}
    numbers = sorted(amounts)
    return Formula(np.array(numbers, np.int32), np.array([amounts[one] for one in numbers]))


QUERY = Query("composition", from_words=parse_formula)
