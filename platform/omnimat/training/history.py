"""A run's history of metrics: small files that are only ever written whole.

No file is appended to: an object store would upload all of it again for each line. A start of the
run writes parts of its own, ``metrics/<start>-<part>.jsonl``; each line writes the newest part
anew, which stays small, in one request that asks for nothing first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

import pandas as pd
from upath import UPath

from omnimat.base.files import read_file, write_atomically
from omnimat.base.workspace import METRICS

LINES_PER_PART = 100
_SUFFIX = ".jsonl"

Metrics = Mapping[str, float]


@dataclass
class History:
    """What one start of a run adds to its history.

    Attributes:
        folder: of all parts.
        start: number of this start; what it says of a step counts, not what those before it said.
    """

    folder: UPath
    start: int
    _part: int = 0
    _lines: list[str] = field(default_factory=list)

    @classmethod
    def begin(cls, run: UPath) -> Self:
        """Begin the parts of one more start of a run."""
        folder = run / METRICS
        starts = [int(path.name.partition("-")[0]) for path in _parts(folder)]
        return cls(folder, max(starts, default=0) + 1)

    def add(self, metrics: Metrics) -> None:
        """Add a line; when this returns, it is kept.

        Raises:
            UserError: the folder may not be written.
            RunError: the storage did not answer.
        """
        if len(self._lines) == LINES_PER_PART:
            self._part, self._lines = self._part + 1, []
        self._lines.append(json.dumps(dict(metrics)) + "\n")
        path = self.folder / f"{self.start:05d}-{self._part:06d}{_SUFFIX}"
        write_atomically(path, "".join(self._lines).encode())


def read_reports(run: UPath) -> Iterator[dict[str, float]]:
    """Read every line in the order of writing; a step retaken after a failure comes again."""
    for path in _parts(run / METRICS):
        for line in read_file(path).splitlines():
            yield json.loads(line)


def read_history(run: UPath) -> pd.DataFrame:
    """Read a run's metrics, one row a reported step; a step retaken after a failure counts once."""
    history = pd.DataFrame(list(read_reports(run)))
    return history.drop_duplicates("step", keep="last").sort_values("step", ignore_index=True)


def _parts(folder: UPath) -> list[UPath]:
    """List the parts in order; a file half written by a killed worker is none."""
    paths = folder.iterdir() if folder.exists() else ()
    parts = (path for path in paths if path.name.endswith(_SUFFIX))
    return sorted(parts, key=lambda path: path.name)
