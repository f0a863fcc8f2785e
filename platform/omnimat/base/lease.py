"""Leases: at any time one process works on a folder, and all others can tell which one.

A folder's lease is a row of small files, ``lease/<generation>.json``, one for each process that
ever worked there. Each is created exclusively, so of several processes that want the same
generation one gets it. Whoever has the highest holds the folder. It rewrites its file every few
seconds with a higher number of beats. A file that says ``released``, whose process has ended on
this machine, or whose beats stand still for as long as a reader watches, is a lease that the next
process may take over. A reader compares no times. It looks again and again for so long, so clocks
that differ or jump change nothing, and neither does a reader that was asleep.

Before each write on which others rely, the holder and its workers look for a higher generation, and
for another process in their own (``Fence.check``), and end without writing if there is one. So a
process that comes back after its lease was taken over does no harm.

Local and network file systems, S3 and Google's storage create files exclusively. On a storage that
takes no notice of that, two processes that begin within the same second may both go on at first.
The one whose file was overwritten learns of it at its next check. A network disk that remembers
for a while what is not there (as NFS does, up to a minute) lets a process know that much later that
it has lost its lease.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from upath import UPath

from omnimat.base.errors import RunError, UserError
from omnimat.base.files import read_file, write_atomically
from omnimat.base.lease_files import (
    LONGEST_S,
    Holder,
    create_holder,
    lease_file,
    newest_generation,
    read_holder,
)

STALE_VARIABLE = "OMNIMAT_LEASE_STALE_AFTER_S"
"""Names for how long a holder may give no sign before its lease is taken over."""

_STALE_AFTER_S = 60.0
_BEATS_UNTIL_STALE = 12
_LOOKS_UNTIL_STALE = 60
_LONGEST_PAUSE_S = 1.0

CheckHeld = Callable[[], None]
"""Raises ``LostError`` if this process, or the one that it works for, has lost its lease."""


class HeldError(UserError):
    """Another process works on the folder, and lives.

    Attributes:
        holder: that process.
    """

    holder: Holder

    @classmethod
    def by(cls, holder: Holder, what: str, folder: UPath) -> Self:
        """Say who works on what, in which folder."""
        error = cls(
            f"{what} is being worked on by {holder}, in {folder}; wait until it has ended, stop "
            "it, or choose another name"
        )
        error.holder = holder
        return error


class LostError(RunError):
    """Another process has taken the folder over."""


def unleased() -> None:
    """Check nothing, for work on a folder that nobody else can know of."""


@dataclass(frozen=True, slots=True)
class Fence:
    """What a process must know to tell whether its lease still counts; it can be sent to others.

    Attributes:
        folder: the folder that is held.
        generation: number of the lease.
        token: text that no other lease has.
    """

    folder: UPath
    generation: int
    token: str

    def check(self) -> None:
        """Raise an error if another process has taken the folder over; it costs two questions.

        Raises:
            LostError: another process has.
            UserError: the storage may not be read.
            RunError: the storage did not answer.
        """
        there = read_holder(lease_file(self.folder, self.generation))
        if there is not None and there.token != self.token:
            raise LostError(
                f"{self.folder} was taken by {there} at the same moment, so this process ends"
            )
        taken = lease_file(self.folder, self.generation + 1)
        try:
            read_file(taken)
        except FileNotFoundError:
            return
        raise LostError(
            f"{self.folder} was taken over by {read_holder(taken) or 'another process'} while this "
            "process gave no sign, so this process ends"
        )


class Lease:
    """The right to work on a folder, kept alive by a thread until it is released.

    As a context it is released at the end. A process that is killed cannot release it, but its end
    is noticed.
    """

    def __init__(self, folder: UPath, generation: int, holder: Holder) -> None:
        """Keep a lease that was just taken alive; see ``acquire``."""
        self.fence = Fence(folder, generation, holder.token)
        self._holder = holder
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="omnimat-lease", daemon=True)
        self._thread.start()

    @classmethod
    def acquire(cls, folder: UPath, what: str, stale_after_s: float | None = None) -> Self:
        """Take the lease of a folder; wait as long as it is not clear whether its holder lives.

        Args:
            folder: the folder; it is made if it is not there.
            what: what is worked on, for messages.
            stale_after_s: for how long this process may give no sign; None for
                ``$OMNIMAT_LEASE_STALE_AFTER_S``, or else a minute.

        Raises:
            HeldError: another process holds it and lives.
            UserError: the storage may not be written to.
            RunError: the storage did not answer.
        """
        mine = Holder.myself(_stale_after_s() if stale_after_s is None else stale_after_s)
        while True:
            newest, before = _watched(folder, what)
            if create_holder(lease_file(folder, newest + 1), mine):
                if before is not None and not before.released:
                    why = "has ended" if before.is_gone else "gives no sign"
                    print(f"{what}: taken over from {before}, which {why}", flush=True)
                return cls(folder, newest + 1, mine)

    @property
    def folder(self) -> UPath:
        """The folder that is held."""
        return self.fence.folder

    def check(self) -> None:
        """Raise an error if the lease no longer counts.

        Raises:
            LostError: another process has taken the folder over.
        """
        self.fence.check()

    def release(self) -> None:
        """Let the next process begin at once."""
        self._is_over.set()
        self._thread.join()
        with suppress(OSError, RunError, UserError):  # it will be seen that this process has ended
            self.check()
            self._write(released=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.release()

    def _beat(self) -> None:
        while not self._is_over.wait(self._holder.stale_after_s / _BEATS_UNTIL_STALE):
            try:
                self._look_and_write()
            except LostError:
                return  # whoever writes there for the job will say so
            except (OSError, RunError, UserError):
                continue  # the storage is away, perhaps not for long

    def _look_and_write(self) -> None:
        self.fence.check()
        self._holder = self._holder.model_copy(update={"beats": self._holder.beats + 1})
        self._write()

    def _write(self, *, released: bool = False) -> None:
        said = self._holder.model_copy(update={"released": released})
        data = said.model_dump_json(indent=1).encode()
        write_atomically(lease_file(self.folder, self.fence.generation), data)


def take_over(folder: UPath, what: str) -> None:
    """Make sure that nobody works on a folder any more, before anything costly is begun there.

    A holder that lives is refused. One that gives no sign is shut out, so that it ends if it ever
    comes back. Nothing is written where nobody is.

    Args:
        folder: the folder, which need not be there.
        what: what is worked on there, for messages.

    Raises:
        HeldError: a process holds it and lives.
    """
    newest = newest_generation(folder)
    if newest == 0:
        return
    holder = read_holder(lease_file(folder, newest))
    if holder is None or not holder.released:
        Lease.acquire(folder, what).release()


def _watched(folder: UPath, what: str) -> tuple[int, Holder | None]:
    """Watch a folder until it is clear whether it is free.

    Returns:
        The newest generation of the folder's lease and who held it last, 0 and None if nobody has.

    Raises:
        HeldError: a process holds it and lives.
    """
    while True:
        newest = newest_generation(folder)
        if newest == 0:
            return 0, None
        file = lease_file(folder, newest)
        first = holder = read_holder(file)
        waited_s = _STALE_AFTER_S if first is None else first.stale_after_s
        pause_s = min(waited_s / _LOOKS_UNTIL_STALE, _LONGEST_PAUSE_S)
        for _ in range(math.ceil(waited_s / pause_s)):
            if holder != first or _is_over(holder):
                break
            time.sleep(pause_s)
            holder = read_holder(file)
        if holder == first or _is_over(holder):
            return newest, holder
        if holder is not None and newest_generation(folder) == newest:
            raise HeldError.by(holder, what, folder)


def _is_over(holder: Holder | None) -> bool:
    return holder is not None and (holder.released or holder.is_gone)


def _stale_after_s() -> float:
    """Read for how long a holder may give no sign.

    Raises:
        UserError: the environment variable holds no number of seconds.
    """
    written = os.environ.get(STALE_VARIABLE, _STALE_AFTER_S)
    with suppress(ValueError):
        if 0 < float(written) <= LONGEST_S:
            return float(written)
    raise UserError(f"${STALE_VARIABLE}: {written!r} is no number of seconds up to {LONGEST_S:g}")
