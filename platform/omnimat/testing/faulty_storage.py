"""A local filesystem, ``faulty:///folder``, whose reads fail at bytes that a test chooses.

The planned faults and those that happened are kept in files, so that the processes of a cluster
share them.
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

# The errors that real filesystems raise: the kernel, s3fs and the HTTP libraries below it.
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
    """A fault of every read that covers a certain byte.

    Attributes:
        file: name of the file.
        byte: position of the byte in the file.
        kind: kind of fault. ``short`` returns the bytes before this one, without an error.
        times: how often the fault happens in each process.
    """

    file: str
    byte: int
    kind: FaultKind
    times: int = 1


class FaultyFileSystem(LocalFileSystem):  # type: ignore[misc]
    """Local files with faults, which the JSON file ``plan`` lists; a log beside it counts them."""

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
        """Return where a read of these bytes ends, or raise the error that it meets."""
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
    """A path on the faulty filesystem."""


def register() -> None:
    """Make ``faulty://`` known in this process."""
    fsspec.register_implementation("faulty", FaultyFileSystem, clobber=True)
    register_implementation("faulty", FaultyPath, clobber=True)


def faulty(directory: UPath, plan: Path, faults: Iterable[Fault]) -> UPath:
    """Return a path to a local folder through which its files have these faults.

    Args:
        directory: the local folder.
        plan: file to which the faults are written; ``<plan>.log`` gets a line for each fault that
            happens.
        faults: the faults of the files.
    """
    plan.write_text(json.dumps(list(faults)))
    register()
    return UPath(f"faulty://{directory.path}", plan=str(plan))


def happened(plan: Path) -> int:
    """Return the number of faults that have happened."""
    log = Path(f"{plan}.log")
    return len(log.read_text().splitlines()) if log.exists() else 0
