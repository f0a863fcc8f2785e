"""Processes as others can recognise them: who they are, and whether they are certainly gone."""

from __future__ import annotations

import ctypes
import getpass
import hashlib
import math
import os
import signal
import socket
import sys
import threading
import time
from functools import cache
from pathlib import Path

_PROC = Path("/proc")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # microseconds in each period, of all processes together
_ENDED_STATES = frozenset("ZX")  # a zombie, which waits only for its parent to look, and a dead one
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>
_WATCH_INTERVAL_S = 0.5


def user() -> str:
    """Return the name of the user, or the number of one who has no name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # KeyError until Python 3.12
        return f"user {os.getuid()}"


def host() -> str:
    """Return the name of this machine."""
    return socket.gethostname()


@cache
def machine() -> str:
    """Identify where process ids mean what they mean here, with 12 hexadecimal digits.

    That is this machine until it is booted anew; a container with process ids of its own is
    another. Where the system does not tell, it is a number that no other process has, so that
    nothing is concluded from process ids.
    """
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        known = f"{boot} {os.readlink(_PROC / 'self/ns/pid')} {host()}"
    except OSError:
        known = os.urandom(16).hex()
    return hashlib.sha256(known.encode()).hexdigest()[:12]


def start_ticks(pid: int) -> int | None:
    """Return when a process of this machine was started, in clock ticks since the boot.

    Together with the process id this names one process until the next boot, whatever the clock
    does.

    Returns:
        The ticks, 0 where the system does not tell them, or None if the process has ended or is
        hidden from this user.
    """
    if not (_PROC / "self/stat").exists():
        return 0
    try:
        state, *others = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return None if state in _ENDED_STATES else int(others[18])


def is_gone(pid: int, ticks: int, of_machine: str) -> bool:
    """Return whether a process has certainly ended; of another machine that is never certain."""
    if of_machine != machine():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it is another user's, and may be hidden from this one
        return start_ticks(pid) not in {None, ticks}
    return start_ticks(pid) != ticks


def num_cores() -> int:
    """Count the CPU cores that this process may use, within the quota of its container."""
    if hasattr(os, "sched_getaffinity"):
        there = len(os.sched_getaffinity(0))
    else:
        there = os.cpu_count() or 1
    return max(1, min(there, math.ceil(_quota_cores())))


def _quota_cores() -> float:
    """Read how many cores' worth of time a container has; infinity where there is no limit."""
    try:
        quota, period = _QUOTA.read_text().split()
    except (OSError, ValueError):
        return sys.maxsize
    return sys.maxsize if quota == "max" else int(quota) / int(period)


def end_with_parent(parent: int) -> None:
    """Have this process killed as soon as its parent ends, even if that was killed.

    Args:
        parent: the parent's process id, as it was when this process began.
    """
    libc = ctypes.CDLL(None)
    if sys.platform == "linux" and hasattr(libc, "prctl"):
        libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        _end_without(parent)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _end_without(parent: int) -> None:
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _watch(parent: int) -> None:
    while True:
        _end_without(parent)
        time.sleep(_WATCH_INTERVAL_S)
