"""A child process that runs one call after another within limits, and may die of one.

Only a process of its own survives a segmentation fault in a library, and only the operating system
stops a loop in C. CPU time is limited and not wall time, so that a busy machine decides as an idle
one does. A child that an untrusted file has taken over gets no further: what it answers is never
unpickled.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Self, TypeVar

from omnimat.base.answers import receive, send, sendable

T = TypeVar("T")

_STATUS = Path("/proc/self/statm")  # in pages: size, resident, shared, text, library, data
_BYTES_PER_GB = 10**9


class ChildDiedError(ValueError):
    """A call ended its process; the message says what did it, such as ``segmentation fault``.

    Attributes:
        exit_code: exit code of the process; minus the number of the signal that ended it.
    """

    def __init__(self, exit_code: int) -> None:
        super().__init__(_cause(exit_code))
        self.exit_code = exit_code


class LimitError(ValueError):
    """A call takes more than it may; the message says of what, and how much it may take."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a piece of work may take.

    Attributes:
        max_cpu_s: largest CPU time of all threads of the process together; None for any.
        max_memory_gb: largest amount of memory beyond what the process held before, in 10^9 bytes;
            None for any. It has no effect where there is no ``/proc``.
    """

    max_cpu_s: int | None = None
    max_memory_gb: float | None = None


NO_LIMITS = Limits()


@contextlib.contextmanager
def within(limits: Limits) -> Iterator[None]:
    """Limit this process for a while.

    At the limit of CPU time the operating system ends the process by ``SIGPROF``, wherever it is.
    Beyond the limit of memory an allocation fails; in Python that is a ``MemoryError``. The limit
    counts private memory that can be written, and so neither mapped files nor shared memory.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if limits.max_memory_gb is not None and _STATUS.exists():
        lowest = _data_bytes() + round(limits.max_memory_gb * _BYTES_PER_GB)
        known = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_DATA, (min([lowest, *known]), hard))
    renew(limits)
    try:
        yield
    finally:
        renew(NO_LIMITS)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def renew(limits: Limits) -> None:
    """Begin to count the CPU time anew, inside ``within``."""
    signal.setitimer(signal.ITIMER_PROF, limits.max_cpu_s or 0)


class Child:
    """A process that runs calls; it is started when first needed, and anew after it has died.

    It is spawned, because a fork of a process with Ray's threads may hang.
    """

    def __init__(self, prepare: Callable[[], object] | None = None) -> None:
        """Keep what each new process does first, without limits; it must be picklable."""
        self._prepare = prepare
        self._running: tuple[BaseProcess, Connection] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._running is not None:
            self._running[0].kill()  # it may be busy if this is an interrupt
            self._stop()

    def call(self, function: Callable[..., T], *arguments: Any, limits: Limits = NO_LIMITS) -> T:
        """Call a function in the child process and return its result.

        The function and its arguments must be picklable, and the result must be one of the values
        that ``omnimat.base.answers`` sends.

        Raises:
            LimitError: the call takes too much CPU time or memory.
            ChildDiedError: the process died.
            Exception: what the function raises, or one of the nearest class that can be sent.
        """
        self._running = self._running or self._start()
        pipe = self._running[1]
        try:
            pipe.send((function, arguments, limits))
            has_failed, value = receive(pipe)
        except (EOFError, ConnectionError):
            exit_code = self._stop()
            if exit_code == -signal.SIGPROF:
                raise LimitError(f"takes more than {limits.max_cpu_s} s of CPU time") from None
            raise ChildDiedError(exit_code) from None
        if isinstance(value, MemoryError) and has_failed and limits.max_memory_gb is not None:
            raise LimitError(f"takes more than {limits.max_memory_gb:g} GB of memory")
        if has_failed:
            raise value
        result: T = value
        return result

    def _start(self) -> tuple[BaseProcess, Connection]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._prepare), daemon=True)
        process.start()
        theirs.close()  # so that the pipe ends with the child
        return process, ours

    def _stop(self) -> int:
        """Wait for the end of a child that died, and return its exit code."""
        assert self._running is not None
        process, pipe = self._running
        self._running = None
        pipe.close()
        process.join()
        exit_code = process.exitcode or 0
        process.close()
        return exit_code


def _serve(pipe: Connection, prepare: Callable[[], object] | None) -> None:
    """Answer calls until the parent closes the pipe or is gone."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # leave no core file
    if prepare is not None:
        prepare()
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            _answer(pipe, *pipe.recv())


def _answer(
    pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...], limits: Limits
) -> None:
    try:
        with within(limits):
            answer = (False, function(*arguments))
    except Exception as error:  # noqa: BLE001 - the caller gets it
        answer = (True, sendable(error))
    try:
        send(pipe, answer)
    except TypeError as error:
        send(pipe, (True, error))


def _cause(exit_code: int) -> str:
    if exit_code >= 0:
        return f"it ended the process with exit code {exit_code}"
    name = signal.strsignal(-exit_code)
    return f"signal {-exit_code}" if name is None else name.lower()


def _data_bytes() -> int:
    return int(_STATUS.read_text().split()[5]) * os.sysconf("SC_PAGE_SIZE")
