"""How wide tables may be."""

from __future__ import annotations

import sys

LOG_WIDTH = 180


def width() -> int | None:
    """Give None on a terminal, which knows its own width; a file or the log of a job has none."""
    return None if sys.stdout.isatty() else LOG_WIDTH
