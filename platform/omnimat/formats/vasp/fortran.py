"""Reads numbers as Fortran writes them."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

# Fortran leaves out the E where an exponent has three digits: 0.123-100.
_GLUED_EXPONENT = re.compile(rb"(?<=[\d.])(?=[+-]\d)")


def fortran_numbers(text: bytes) -> NDArray[np.float64]:
    """Read numbers that are separated by blanks, shape (n,).

    Raises:
        ValueError: one of them cannot be read, such as the asterisks of an overflow.
    """
    try:
        return np.fromstring(text, sep=" ")
    except ValueError:
        pass
    try:
        return np.fromstring(_GLUED_EXPONENT.sub(b"E", text), sep=" ")
    except ValueError as error:
        raise ValueError("a number cannot be read") from error
