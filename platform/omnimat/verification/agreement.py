"""A row against the finding that is computed again from its files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from omnimat.leaderboard.finding import Finding
from omnimat.leaderboard.row import Row
from omnimat.verification.outcome import FaultError, Remark

RELATIVE_TOLERANCE = 1e-9  # for the same numbers, added up in another order


def check_agreement(
    row: Row, found: Iterable[Finding], tolerance: float = RELATIVE_TOLERANCE
) -> Iterator[Remark]:
    """Compare value, direction, unit, number of materials and details with what is found again.

    Details that the finding does not have are left to the caller.

    Args:
        row: the row.
        found: what its files give for its task; the finding with the row's metric is compared.
        tolerance: by how much numbers may differ, relative to their size.

    Raises:
        FaultError: if no finding has the row's metric.
    """
    again = {one.metric: one for one in found}
    if row.metric not in again:
        raise FaultError(
            f"metric is {row.metric!r}, but {row.task!r} is scored by {', '.join(again)}"
        )
    one, uri = again[row.metric], row.predictions_uri
    if not _agree(row.value, one.value, tolerance):
        yield f"value is {row.value!r}, {row.metric} by {uri} is {one.value!r}"
    for name in ("num_test", "higher_is_better", "unit"):
        said, there = getattr(row, name), getattr(one, name)
        if said != there:
            yield f"{name} is {said!r}, by {uri} {there!r}"
    for name, said in row.details.items():
        if name in one.details and not _agree(said, one.details[name], tolerance):
            yield f"details: {name} is {said!r}, by {uri} {one.details[name]!r}"


def _agree(said: Any, there: Any, tolerance: float) -> bool:
    if isinstance(there, Mapping):
        is_alike = isinstance(said, Mapping) and said.keys() == there.keys()
        return is_alike and all(_agree(said[key], there[key], tolerance) for key in there)
    if isinstance(there, int | float) and isinstance(said, int | float):
        return math.isclose(there, said, rel_tol=tolerance)
    return bool(said == there)
