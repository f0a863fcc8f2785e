"""One file of a feature store: an Arrow file that is mapped, and checked where it is first read.

The card of the store holds a CRC-32 of each block of the file. A block is compared with it when it
is read for the first time, so opening a large store stays cheap. Whoever needs some modalities of
all records has only those read and checked; a stream has whole files checked, since it reads whole
rows. A file of a remote store is copied to this machine and checked whole as it arrives.
"""

from __future__ import annotations

import os
import uuid
import zlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from upath import UPath

from omnimat.base.errors import RunError
from omnimat.base.files import TEMPORARY_SUFFIX
from omnimat.base.filesystem import is_local
from omnimat.base.retry import patiently, reason
from omnimat.base.settings import Settings, fingerprint

CACHE_VARIABLE = "OMNIMAT_CACHE"
"""Names the folder for copies of remote stores, else ``~/.cache/omnimat``; best on a local disk."""

BLOCK_BYTES = 2**18


class FileEntry(Settings):
    """What the card of a store says of a file.

    Attributes:
        size_bytes: its size.
        crc32: the checksum of each block of ``BLOCK_BYTES``; the last block may be shorter.
    """

    size_bytes: int
    crc32: tuple[int, ...]

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Describe the content of a file."""
        view = memoryview(data)
        starts = range(0, len(data), BLOCK_BYTES)
        crc32 = tuple(zlib.crc32(view[start : start + BLOCK_BYTES]) for start in starts)
        return cls(size_bytes=len(data), crc32=crc32)


def to_arrow_file(table: pa.Table) -> bytes:
    """Write a table as an Arrow file with one record batch, as ``FeatureFile`` reads it."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    data: bytes = sink.getvalue().to_pybytes()
    return data


@dataclass(frozen=True)
class FeatureFile:
    """A file of a store that is mapped into memory.

    Attributes:
        path: where it lies; of a remote store, the copy on this machine.
        origin: the file of the store.
        table: its rows. A column must be checked before it is read.
    """

    path: Path
    origin: UPath
    table: pa.Table
    _bytes: pa.Buffer
    _entry: FileEntry
    _is_checked: NDArray[np.bool_]

    @classmethod
    def open(cls, path: UPath, entry: FileEntry, is_checked: NDArray[np.bool_]) -> Self:
        """Map a file, and check everything in it but the columns.

        A copy of a remote file that was changed on this machine is fetched once more.

        Args:
            path: the file, which may be remote.
            entry: what the card of the store says of it.
            is_checked: shape (blocks,), which blocks this process has checked; it is updated.

        Raises:
            RunError: the file is missing or damaged, or the storage did not answer.
        """
        if is_local(path):
            return cls._mapped(Path(path.path), path, entry, is_checked)
        copy = _local_copy(path, entry)
        try:
            return cls._mapped(copy, path, entry, is_checked)
        except RunError:
            return cls._mapped(_local_copy(path, entry), path, entry, is_checked)

    @classmethod
    def _mapped(
        cls, local: Path, origin: UPath, entry: FileEntry, is_checked: NDArray[np.bool_]
    ) -> Self:
        try:
            content = pa.memory_map(str(local)).read_buffer()
        except (OSError, pa.ArrowException) as error:
            raise _damaged(local, origin, reason(error)) from error
        if content.size != entry.size_bytes:
            why = f"it has {content.size} of {entry.size_bytes} bytes"
            raise _damaged(local, origin, why)
        file = cls(local, origin, pa.table({}), content, entry, is_checked)
        file._check_bytes(0, 1)  # the schema comes first, and where the columns lie comes last
        file._check_bytes(content.size - 1, content.size)
        try:
            table = pa.ipc.open_file(pa.BufferReader(content)).read_all()
        except pa.ArrowException as error:
            raise _damaged(local, origin, reason(error)) from error
        return replace(file, table=table)

    def check(self, columns: Collection[str] | None = None) -> None:
        """Check columns, or the whole file, as far as this process has not done so before.

        Raises:
            RunError: a block was changed after it was written; the message names it.
        """
        if self._is_checked.all():
            return
        if columns is None:
            self._check_bytes(0, self._bytes.size)
            return
        for name in columns:
            for chunk in self.table[name].chunks:
                for buffer in chunk.buffers():
                    if buffer is not None and buffer.size:
                        start = buffer.address - self._bytes.address
                        self._check_bytes(start, start + buffer.size)

    def _check_bytes(self, start: int, stop: int) -> None:
        """Check the blocks that hold these bytes."""
        content = memoryview(self._bytes)
        for block in range(start // BLOCK_BYTES, -(-stop // BLOCK_BYTES)):
            if self._is_checked[block]:
                continue
            first = block * BLOCK_BYTES
            if zlib.crc32(content[first : first + BLOCK_BYTES]) != self._entry.crc32[block]:
                last = min(first + BLOCK_BYTES, self._entry.size_bytes) - 1
                why = f"block {block}, bytes {first} to {last}, was changed"
                raise _damaged(self.path, self.origin, why)
            self._is_checked[block] = True


def _damaged(local: Path, origin: UPath, why: str) -> RunError:
    """Say what is wrong with a file, and delete it if it is a copy, so that it is fetched anew."""
    if is_local(origin):
        return _unlike_written(origin, why)
    local.unlink(missing_ok=True)
    return RunError(
        f"{local}, the copy of {origin}, was changed ({why}) and has been deleted; run the command "
        "again, and it is fetched anew"
    )


def _unlike_written(path: UPath, why: str) -> RunError:
    return RunError(
        f"{path} is not as it was written ({why}): delete its folder and run the featurize job "
        "again"
    )


def _local_copy(path: UPath, entry: FileEntry) -> Path:
    """Fetch a remote file once for all processes of this machine and user.

    The copy's folder is named after the version of the file, so a file written anew is fetched
    anew.

    Raises:
        RunError: the file is missing or damaged, or the storage did not answer.
    """
    try:
        version = patiently(lambda: path.fs.checksum(path.path), path)
    except FileNotFoundError as error:
        raise _unlike_written(path, reason(error)) from error
    cache = Path(os.environ.get(CACHE_VARIABLE, "~/.cache/omnimat")).expanduser()
    copy = cache / "features" / fingerprint([str(path), str(version)]) / path.name
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        partial = copy.with_name(f"{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
        try:
            _fetch(path, partial, entry)
            partial.rename(copy)
        finally:
            partial.unlink(missing_ok=True)
    return copy


def _fetch(path: UPath, target: Path, entry: FileEntry) -> None:
    """Fetch a remote file, and once more if it does not arrive as it was written."""
    for _ in range(2):
        try:
            patiently(lambda: path.fs.get_file(path.path, str(target)), path)
        except FileNotFoundError as error:
            raise _unlike_written(path, reason(error)) from error
        if FileEntry.of(target.read_bytes()) == entry:
            return
    raise _unlike_written(path, "its checksums are others")
