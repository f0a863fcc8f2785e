"""A local filesystem whose reads fail at the bytes a test names: ``faulty:///folder``.

What fails, and what did, lies in files, so that the processes of a cluster share it.
"""

from __future__ import annotations

import errno
import http.client
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Literal, NamedTuple, cast, get_args

import aiohttp
import fsspec
from fsspec.implementations.local import LocalFileSystem
from upath import UPath
from upath.registry import register_implementation

FaultKind = Literal[
    "io",
    "reset",
    "timeout",
    "busy",
    "payload",
    "incomplete",
    "closed",
    "short",
    "unopened",
    "denied",
]

TRANSIENT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)[:-1]

# What real filesystems raise: the kernel, s3fs, and the HTTP libraries under remote filesystems.
_ERRORS: Mapping[FaultKind, Callable[[], Exception]] = MappingProxyType(
    {
        "io": lambda: OSError(errno.EIO, "Input/output error"),
        "reset": lambda: ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        "timeout": lambda: TimeoutError("timed out"),
        "busy": lambda: OSError(errno.EBUSY, "Please reduce your request rate."),
        "payload": lambda: aiohttp.ClientPayloadError("Response payload is not completed"),
        "incomplete": lambda: http.client.IncompleteRead(b"", 1),
        "closed": lambda: aiohttp.ServerDisconnectedError(),
        "unopened": lambda: OSError(errno.EIO, "cannot be opened"),
        "denied": lambda: PermissionError("Forbidden"),
    }
)


class Fault(NamedTuple):
    """A read that covers a byte fails.

    Attributes:
        file: its name.
        byte: absolute position.
        kind: what happens; ``short`` gives what lies before the byte and no error.
        times: how often, in each process.
    """

    file: str
    byte: int
    kind: FaultKind
    times: int = 1


class FaultyFileSystem(LocalFileSystem):  # type: ignore[misc]
    """Local files; the ``plan`` is a JSON file of faults, beside which each one is logged."""

    protocol = "faulty"

    def __init__(self, plan: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._log = Path(f"{plan}.log")
        faults = [Fault(*fields) for fields in json.loads(Path(plan).read_text())]
        self._left = {fault: fault.times for fault in faults}

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        return str(super()._strip_protocol(str(path).removeprefix("faulty://")))

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> IO[bytes]:
        if mode != "rb":
            return cast(IO[bytes], super()._open(path, mode, **kwargs))
        for fault in self._faults_of(path):
            if fault.kind == "unopened":
                self._strike(fault)
        return _FaultyFile(path, self)

    def _faults_of(self, path: str) -> list[Fault]:
        return [fault for fault, left in self._left.items() if left and path.endswith(fault.file)]

    def end_of_read(self, path: str, first: int, stop: int) -> int:
        """Give where a read of these bytes ends, or raise what befalls it."""
        for fault in self._faults_of(path):
            if first <= fault.byte < stop:
                self._strike(fault)
                stop = fault.byte
        return stop

    def _strike(self, fault: Fault) -> None:
        self._left[fault] -= 1
        with self._log.open("a") as log:
            log.write(f"{fault.kind}\n")
        if fault.kind != "short":
            raise _ERRORS[fault.kind]()


class _FaultyFile(io.FileIO):
    def __init__(self, path: str, filesystem: FaultyFileSystem) -> None:
        super().__init__(path, "rb")
        self._path, self._filesystem = path, filesystem

    def read(self, size: int | None = -1) -> bytes:
        first = self.tell()
        end = os.path.getsize(self._path) if size is None or size < 0 else first + size
        return super().read(self._filesystem.end_of_read(self._path, first, end) - first)


class FaultyPath(UPath):
    """A path on it."""


def register() -> None:
    """Make ``faulty://`` known in this process."""
    fsspec.register_implementation("faulty", FaultyFileSystem, clobber=True)
    register_implementation("faulty", FaultyPath, clobber=True)


def faulty(directory: UPath, plan: Path, faults: Iterable[Fault]) -> UPath:
    """Give a local folder as one whose files have these faults.

    Args:
        directory: the folder.
        plan: file to write the faults to; ``<plan>.log`` gets a line for each that happened.
        faults: what fails.
    """
    plan.write_text(json.dumps(list(faults)))
    register()
    return UPath(f"faulty://{directory.path}", plan=str(plan))


def happened(plan: Path) -> int:
    """Count the faults that did happen."""
    log = Path(f"{plan}.log")
    return len(log.read_text().splitlines()) if log.exists() else 0
