"""A run's history of metrics: small files that are only ever written whole.

Files are never appended to, because an object store would upload the whole file again for each
line. Instead, each start of a run writes its own parts, ``metrics/<start>-<part>.jsonl``. Every new
line rewrites the newest part, which stays small, in a single request without asking the storage
anything first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

import pandas as pd
from upath import UPath

from omnimat.base.errors import RunError
from omnimat.base.files import read_file, write_atomically
from omnimat.base.workspace import METRICS

LINES_PER_PART = 100
_SUFFIX = ".jsonl"

Metrics = Mapping[str, float]


@dataclass
class History:
    """What one start of a run adds to its history.

    Attributes:
        folder: folder that holds the parts of all starts.
        start: number of this start. Where several starts took the same step, the newest counts.
    """

    folder: UPath
    start: int
    _part: int = 0
    _lines: list[str] = field(default_factory=list)

    @classmethod
    def begin(cls, run: UPath) -> Self:
        """Begin the history of one more start of a run."""
        folder = run / METRICS
        starts = [int(path.name.partition("-")[0]) for path in _parts(folder)]
        return cls(folder, max(starts, default=0) + 1)

    def add(self, metrics: Metrics) -> None:
        """Add a line, which is safely stored once this returns.

        Raises:
            UserError: writing to the folder is not permitted.
            RunError: the storage did not answer.
        """
        if len(self._lines) == LINES_PER_PART:
            self._part, self._lines = self._part + 1, []
        self._lines.append(json.dumps(dict(metrics)) + "\n")
        path = self.folder / f"{self.start:05d}-{self._part:06d}{_SUFFIX}"
        write_atomically(path, "".join(self._lines).encode())


def read_reports(
    run: UPath, read: Callable[[UPath], bytes] = read_file
) -> Iterator[dict[str, float]]:
    """Read every line in the order of writing, including steps retaken after a failure.

    Args:
        run: the folder of the run.
        read: reads one of its files.

    Raises:
        RunError: a line is damaged.
    """
    for path in _parts(run / METRICS):
        for number, line in enumerate(read(path).splitlines(), start=1):
            try:
                yield _parsed(line)
            except ValueError as error:
                raise RunError(
                    f"{path}, line {number} is damaged ({error}): delete this file, and the "
                    "history lacks its steps"
                ) from error


def _parsed(line: bytes) -> dict[str, float]:
    report = json.loads(line)
    if not isinstance(report, dict) or "step" not in report:
        raise ValueError("it is no JSON object with a step")
    return report


def read_history(run: UPath, read: Callable[[UPath], bytes] = read_file) -> pd.DataFrame:
    """Read a run's metrics, one row per reported step; of a retaken step only the last one.

    A run without reports has no rows, but the columns ``step`` and ``loss``. The arguments are
    those of ``read_reports``.

    Raises:
        RunError: a line is damaged.
    """
    reports = list(read_reports(run, read))
    history = pd.DataFrame(reports) if reports else pd.DataFrame({"step": [], "loss": []})
    return history.drop_duplicates("step", keep="last").sort_values("step", ignore_index=True)


def _parts(folder: UPath) -> list[UPath]:
    """List the parts in order, without files that a killed worker left half written."""
    paths = folder.iterdir() if folder.exists() else ()
    parts = (path for path in paths if path.name.endswith(_SUFFIX))
    return sorted(parts, key=lambda path: path.name)
