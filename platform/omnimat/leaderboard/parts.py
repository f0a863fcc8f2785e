"""Ids in parts, since databases limit the number of values in a statement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

Ids = TypeVar("Ids", Sequence[str], Sequence[str] | None)

_AT_A_TIME = 500


def parts(ids: Ids) -> Iterator[Ids]:
    """Divide ids among statements; None, which stands for all, is one part."""
    if ids is None:
        yield ids
        return
    for start in range(0, len(ids), _AT_A_TIME):
        yield ids[start : start + _AT_A_TIME]
