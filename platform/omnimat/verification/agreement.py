"""A row against the finding that its files give again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from omnimat.evaluation import section
from omnimat.leaderboard.row import Row
from omnimat.verification.outcome import FaultError, Finding
from omnimat.verification.tables import RELATIVE_TOLERANCE, is_same


def check_agreement(
    row: Row, found: Iterable[section.Finding], tolerance: float = RELATIVE_TOLERANCE
) -> Iterator[Finding]:
    """Compare value, direction, unit, number of materials and details with the finding again.

    Args:
        row: of the leaderboard.
        found: what its files give; the one of the row's metric is compared.
        tolerance: relative, of numbers.

    Raises:
        FaultError: none is of the row's metric.
    """
    again = {one.metric: one for one in found}
    if row.metric not in again:
        raise FaultError(f"metric is {row.metric!r}, of {row.task!r} there are {', '.join(again)}")
    one = again[row.metric]
    if not is_same(one.value, row.value, tolerance):
        yield f"value is {row.value!r}, {row.metric} by {row.predictions_uri} is {one.value!r}"
    for name in ("num_test", "higher_is_better", "unit"):
        said, there = getattr(row, name), getattr(one, name)
        if said != there:
            yield f"{name} is {said!r}, by {row.predictions_uri} {there!r}"
    yield from check_details(row, one.details, tolerance)


def check_details(
    row: Row, again: Mapping[str, Any], tolerance: float = RELATIVE_TOLERANCE
) -> Iterator[Finding]:
    """Compare those details of a row that can be computed again.

    Args:
        row: of the leaderboard.
        again: details by name, computed again.
        tolerance: relative, of numbers.
    """
    for name, said in row.details.items():
        if name in again and not _agree(said, again[name], tolerance):
            yield f"details: {name} is {said!r}, by {row.predictions_uri} {again[name]!r}"


def _agree(said: Any, there: Any, tolerance: float) -> bool:
    if isinstance(there, Mapping):
        is_alike = isinstance(said, Mapping) and said.keys() == there.keys()
        return is_alike and all(_agree(said[key], there[key], tolerance) for key in there)
    if isinstance(there, int | float) and isinstance(said, int | float):
        return is_same(there, said, tolerance)
    return bool(said == there)
