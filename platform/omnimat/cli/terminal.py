"""The width of what is printed."""

from __future__ import annotations

import sys

LOG_WIDTH = 180


def width() -> int | None:
    """Give None on a terminal, which knows its own; a file or a job's log has none to ask for."""
    return None if sys.stdout.isatty() else LOG_WIDTH
