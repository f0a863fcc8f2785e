"""An interval of time on which all workers agree."""

from __future__ import annotations

import time

from omnimat.training.gather import agree


class SharedClock:
    """Tells all workers at the same step that an interval is over, by the clock of rank 0."""

    def __init__(self, interval_minutes: float | None) -> None:
        """Start an interval; one of None never ends, and asks for no exchange between workers."""
        self._interval_minutes = interval_minutes
        self.restart()

    def restart(self) -> None:
        """Start the interval anew."""
        self._start_s = time.monotonic()

    def has_run_out(self) -> bool:
        """Return whether the interval is over; all workers must call."""
        if self._interval_minutes is None:
            return False
        return agree(time.monotonic() - self._start_s >= 60 * self._interval_minutes)
