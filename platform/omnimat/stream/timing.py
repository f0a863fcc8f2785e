"""What rows cost on their way to the trainer, as the rows themselves say.

A pipeline adds columns to the tables that travel: how long each stage worked on a row, and when the
row was ready. The worker's stream adds them up, so that nobody has to ask those who run the stages.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

STAGES = ("read", "featurize")
"""What an actor does with a unit, one after the other; from a store it only reads."""

_READY_COLUMN = "ready_at_s"


def stamped(features: pa.Table, seconds: Mapping[str, float]) -> pa.Table:
    """Add to each row its share of what its unit cost, and the present time.

    Args:
        features: the rows of one unit, just made.
        seconds: the wall time that each of ``STAGES`` took.
    """
    shares = {f"{stage}_s": seconds.get(stage, 0.0) / max(len(features), 1) for stage in STAGES}
    for name, value in (shares | {_READY_COLUMN: time.time()}).items():
        features = features.append_column(name, pa.array(np.full(len(features), value)))
    return features


@dataclass
class StreamMeter:
    """Adds up how long the stages of one worker's stream worked, and how long rows then waited.

    Attributes:
        clock: gives the seconds by which the trainer's own process is timed.
        since_s: when the last reading was or the stream began, by a clock that never jumps.
    """

    clock: Callable[[], float] = time.perf_counter
    since_s: float = field(default_factory=time.perf_counter)
    _num_rows: int = 0
    _seconds: dict[str, float] = field(default_factory=dict)
    _waited_s: float = 0.0
    _readings: deque[tuple[int, float]] = field(default_factory=deque)

    def taken(self, table: pa.Table, now_s: float, collate_s: float = 0.0) -> None:
        """Count rows that the pipeline has stamped, when the trainer takes them.

        Args:
            table: the rows.
            now_s: the time.
            collate_s: how long the trainer's own process worked to collate them.
        """
        self._num_rows += len(table)
        for stage in STAGES:
            self._add(stage, float(table[f"{stage}_s"].to_numpy().sum()))
        self._add("collate", collate_s)
        self._waited_s += float((now_s - table[_READY_COLUMN].to_numpy()).sum())

    def read(self, now_s: float) -> dict[str, float]:
        """Give what the rows since the last reading cost, and start anew.

        How many rows lie ready follows from how long they do, by Little's law. The clock of its
        node says when a row was ready, and the trainer's clock when it was taken: if the clocks
        differ by a second, the count is off by the rows of a second.

        Args:
            now_s: the time by ``time.perf_counter``, as a clock of a node may be set meanwhile.

        Returns:
            ``<stage>_rows_per_s``: how many rows a second each stage handles while it works, in one
            actor or in the trainer's process. ``queued_rows``: how many rows are ready and not yet
            taken, averaged over time.
        """
        rates = {
            f"{stage}_rows_per_s": self._num_rows / seconds
            for stage, seconds in self._seconds.items()
            if seconds > 0
        }
        queued_rows = self._queued_rows(now_s - self.since_s)
        self.since_s, self._num_rows, self._seconds, self._waited_s = now_s, 0, {}, 0.0
        return rates | {"queued_rows": queued_rows}

    def _queued_rows(self, elapsed_s: float) -> float:
        """Multiply the mean wait by the rows a second over at least that time."""
        mean_wait_s = self._waited_s / max(self._num_rows, 1)
        self._readings.append((self._num_rows, elapsed_s))
        num_rows = sum(rows for rows, _ in self._readings)
        seconds = sum(seconds for _, seconds in self._readings)
        while len(self._readings) > 1 and seconds - self._readings[0][1] > mean_wait_s:
            num_rows -= self._readings[0][0]
            seconds -= self._readings.popleft()[1]
        return mean_wait_s * num_rows / seconds

    def _add(self, stage: str, seconds: float) -> None:
        self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds
