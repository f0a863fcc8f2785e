"""The keys nearest to a query, exactly, without an index structure.

A first pass multiplies in single precision, block by block, and keeps every key whose cosine could
still be among the largest, given how far rounding can lead such a product astray. These few are
multiplied again in double precision. So the answer depends neither on the blocks nor on how the
linear algebra of the machine adds up.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from omnimat.base.errors import UserError

Float = NDArray[np.float32]
Rows = NDArray[np.int64]

_DECIMALS = 6
_BLOCK_ROWS = 65_536


def check_top(top: int) -> None:
    """Check that something is to be found.

    Raises:
        UserError: it is not.
    """
    if top < 1:
        raise UserError(f"top: there are no best {top}; ask for 1 or more")


def nearest(
    queries: Float, keys: Float, rows: Rows, top: int, block_rows: int = _BLOCK_ROWS
) -> tuple[Rows, Float]:
    """Find the keys nearest to each query.

    Args:
        queries: vectors of unit length, shape (Q, d).
        keys: vectors of unit length, which may be mapped from a file, shape (N, d).
        rows: rows of the keys to compare with, increasing, shape (n,).
        top: how many keys to find.
        block_rows: how many keys are multiplied at a time.

    Returns:
        The rows of the keys, nearest first, and their cosines, both of shape (Q, k), where k is
        the smaller of ``top`` and n. Cosines are rounded to six decimals, the accuracy of single
        precision. Among equal cosines, the first row comes first.
    """
    kept = [_Kept(top, _slack(keys.shape[1])) for _ in queries]
    is_all = len(rows) == len(keys)
    for start in range(0, len(rows), block_rows):
        chosen = rows[start : start + block_rows]
        block = keys[start : start + block_rows] if is_all else keys[chosen]
        for one, cosines in zip(kept, queries @ block.T, strict=True):
            one.add(chosen, cosines)
    found = [one.ranked(query, keys) for one, query in zip(kept, queries, strict=True)]
    return np.stack([places for places, _ in found]), np.stack([cosines for _, cosines in found])


def _slack(width: int) -> float:
    """Bound by how much two products may differ whose exact cosines round to the same decimals.

    A product of unit vectors of width d in single precision is off by at most d * 2^-24 (Higham,
    Accuracy and Stability of Numerical Algorithms, section 3.1), here d + 2, since lengths are one
    but for rounding. Rounding to decimals may move each of the two by half a unit.
    """
    return float(2 * (width + 2) * 2.0**-24 + 10.0**-_DECIMALS)


class _Kept:
    """The keys that may be among the nearest to one query."""

    def __init__(self, top: int, slack: float) -> None:
        self._top, self._slack = top, slack
        self._rows: Rows = np.empty(0, np.int64)
        self._cosines: Float = np.empty(0, np.float32)
        self._least = -np.inf

    def add(self, rows: Rows, cosines: Float) -> None:
        """Look at a block of keys."""
        new = np.flatnonzero(cosines >= self._least)
        if not len(new):
            return
        self._rows = np.concatenate([self._rows, rows[new]])
        self._cosines = np.concatenate([self._cosines, cosines[new]])
        if len(self._rows) > self._top:
            place = len(self._rows) - self._top
            self._least = np.partition(self._cosines, place)[place] - self._slack
            is_kept = self._cosines >= self._least
            self._rows, self._cosines = self._rows[is_kept], self._cosines[is_kept]

    def ranked(self, query: Float, keys: Float) -> tuple[Rows, Float]:
        """Rank what was kept by its exact cosines."""
        exact = np.concatenate(
            [np.empty(0), *(_exact(query, keys[part]) for part in _parts(self._rows))]
        )
        order = np.lexsort([self._rows, -exact])[: self._top]
        return self._rows[order], exact[order].astype(np.float32)


def _exact(query: Float, keys: Float) -> NDArray[np.float64]:
    products: NDArray[np.float64] = keys.astype(np.float64) * query.astype(np.float64)
    rounded: NDArray[np.float64] = np.round(products.sum(axis=1), _DECIMALS)
    return rounded + 0.0  # without -0


def _parts(rows: Rows) -> list[Rows]:
    """Split rows, since all keys may be equally near."""
    return [rows[start : start + _BLOCK_ROWS] for start in range(0, len(rows), _BLOCK_ROWS)]
