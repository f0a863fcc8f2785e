"""A source whose items do to their reader whatever an item can do."""

from __future__ import annotations

import ctypes
import gzip
import os
import re
import signal
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from upath import UPath

from omnimat.materials.record import Failure, Record, Structure
from omnimat.sources.base import SourceSettings

_CHUNK_BYTES = 50_000_000


class Hostile(SourceSettings):
    """Items by their names: ``good-1``, ``TypeError``, ``segfault``, ...

    Attributes:
        items: the names.
        notes: folder in which items count how often they were read.
    """

    type: Literal["hostile"] = "hostile"
    items: tuple[str, ...]
    notes: str

    def located(self) -> Self:
        """Return the source itself."""
        return self

    def inputs(self) -> dict[str, UPath]:
        """None: the items do not exist."""
        return {}

    def num_items(self) -> int:
        """Return how many names there are."""
        return len(self.items)

    def item_name(self, index: int) -> str:
        """Return a name."""
        return self.items[index]

    def read(self, start: int, stop: int) -> Iterator[Record | Failure]:
        """Do what the names of a slice say, and give a record of what outlives that."""
        for name in self.items[start:stop]:
            yield self._record(name)

    def _record(self, name: str) -> Record:
        more: dict[str, Any] = {}
        if action := ACTIONS.get(name):
            action(Path(self.notes) / name)
        elif name in RAISED:
            raise RAISED[name]
        elif name == "unwritable":
            more["text"] = 5
        edge = 4 + 0.01 * self.items.index(name)
        structure = Structure(
            edge * np.eye(3), np.array([55, 17], np.int32), np.array([[0.0] * 3, [0.5] * 3])
        )
        return Record(name, {"structure": structure, **more}, provenance={"source": "test"})


def _spin_in_c(_: Path) -> None:
    re.match(r"(a+)+b", 60 * "a")


def _take_10_gb(note: Path) -> None:
    """Take it in chunks that are written to, and note how many there were."""
    held = []
    try:
        for _ in range(10**10 // _CHUNK_BYTES):
            held.append(np.ones(_CHUNK_BYTES // 8))
    finally:
        with note.open("a") as file:
            file.write(f"{len(held) * _CHUNK_BYTES}\n")


def _recurse(note: Path) -> None:
    _recurse(note)


def _times(note: Path) -> int:
    """Count this reading, and return how many there were before."""
    before = len(note.read_text()) if note.exists() else 0
    with note.open("a") as file:
        file.write(".")
    return before


def _be_killed_twice(note: Path) -> None:
    """Lose the worker and then the child; neither is the item's fault."""
    if _times(note) < 2:
        os.kill(os.getpid(), signal.SIGKILL)


def _fail_as_storage_twice(note: Path) -> None:
    if _times(note) < 2:
        raise ConnectionResetError("the storage hung up")


class AwkwardError(Exception):
    """An exception that is pickled and cannot be read back."""

    def __init__(self, one: object, two: object) -> None:
        super().__init__(f"{one} and {two}")


def complain_awkwardly() -> None:
    """Raise an awkward error."""
    raise AwkwardError(1, 2)


ACTIONS: dict[str, Callable[[Path], object]] = {
    "segfault": lambda _: ctypes.string_at(0),
    "abort": lambda _: os.abort(),
    "exit": lambda _: sys.exit(3),
    "spin": _spin_in_c,
    "burst": _take_10_gb,
    "RecursionError": _recurse,
    "unlucky": _be_killed_twice,
    "flaky": _fail_as_storage_twice,
}
RAISED: dict[str, Exception] = {
    "ValueError": ValueError("in: one\n line"),
    "OverflowError": OverflowError("too large"),
    "TypeError": TypeError("no number"),
    "KeyError": KeyError("a"),
    "AssertionError": AssertionError(),
    "UnicodeDecodeError": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    "BadZipFile": zipfile.BadZipFile("not a zip file"),
    "error": zlib.error("incorrect header check"),
    "EOFError": EOFError("ended early"),
    "BadGzipFile": gzip.BadGzipFile("not a gzipped file"),
    "MemoryError": MemoryError("of a library"),
}
CRASHES = {
    "segfault": "crashed its reader: segmentation fault",
    "abort": "crashed its reader: aborted",
    "exit": "crashed its reader: it ended the process with exit code 3",
    "spin": "takes more than 8 s of CPU time",
    "burst": "takes more than 1 GB of memory",
    "MemoryError": "takes more than 1 GB of memory",
}
