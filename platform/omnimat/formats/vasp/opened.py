"""Opens large output files, which may be compressed, and reads the numbers of Fortran."""

from __future__ import annotations

import gzip
import lzma
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray
from upath import UPath

# Fortran leaves out the E where an exponent has three digits: 0.123-100.
_GLUED_EXPONENT = re.compile(rb"(?<=[\d.])(?=[+-]\d)")
_DAMAGED = (gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError)


@contextmanager
def opened(path: UPath) -> Iterator[IO[bytes]]:
    """Open a file for reading, and decompress it if its name ends in ``.gz``, ``.bz2`` or ``.xz``.

    Raises:
        ValueError: the compressed file is cut off or damaged, which may show while it is read.
    """
    try:
        with path.fs.open(path.path, "rb", compression="infer") as file:
            yield cast(IO[bytes], file)
    except _DAMAGED as error:
        raise ValueError(f"the compressed file is cut off or damaged: {error}") from error


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
