"""Waiting for what another process does: until it is so, not for a time."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

LIMIT_S = 1200  # Only ends what hangs: a busy machine is slow, not wrong.


def wait_for(
    is_so: Callable[[], object],
    process: subprocess.Popen[bytes] | None = None,
    log: Path | None = None,
    *,
    poll_s: float = 0.1,
) -> None:
    """Wait until a condition holds.

    Args:
        is_so: the condition.
        process: what should bring it about; it must not end before.
        log: where that process writes.
        poll_s: how long to wait before asking again.

    Raises:
        RuntimeError: the process ended first, or nothing happened for ``LIMIT_S``; with the log.
    """
    deadline_s = time.monotonic() + LIMIT_S
    while not is_so():
        has_ended = process is not None and process.poll() is not None
        if has_ended or time.monotonic() > deadline_s:
            said = "" if log is None else f":\n{log.read_text()}"
            raise RuntimeError(f"{'it ended too soon' if has_ended else 'it never came'}{said}")
        time.sleep(poll_s)
