"""Files of a storage by the names that rows and results give them; no others are ever opened.

A name is relative to the root of the storage (``runs/x/predictions/gap/a.parquet``), so that the
storage may be copied or mounted elsewhere. Names of older versions begin with the root. Whoever may
write to a leaderboard chooses these names, so whatever leads outside is refused: another server,
``..``, a link. So is what is no regular file, since a pipe or a device may never end.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.filesystem import is_local
from omnimat.base.retry import patiently

MAX_READ_BYTES = 8 << 30  # embeddings of millions of materials
MAX_HASHED_BYTES = 64 << 30  # an encoder of 16 billion weights, or all files of a folder
MAX_HASHED_FILES = 10_000  # and folders, of a folder
_MAX_NAME_CHARACTERS = 1024
_SHOWN_CHARACTERS = 120
_CHUNK_BYTES = 1 << 20
# A pipe must not make its opener wait, and what was no link a moment ago must not be one now.
_OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Confined:
    """The files of one storage.

    Its methods raise ``UserError`` where a name leads outside or to something else than it should,
    ``FileNotFoundError`` where nothing is there, and ``RunError`` if the storage does not answer.
    Their argument ``key`` is the field that holds the name; messages begin with it.

    Attributes:
        root: the folder of the storage.
    """

    root: UPath

    def name_of(self, path: UPath) -> str:
        """Name a file or folder of the storage so that it is found wherever the storage lies."""
        return path.relative_to(self.root).as_posix()

    def path(self, name: str, key: str) -> UPath:
        """Find the place that a name stands for; nothing need be there. Links are followed."""
        parts = self._parts(name, key)
        if not is_local(self.root):
            return self.root.joinpath(*parts)
        root = os.path.realpath(self.root.path)
        found = os.path.realpath(os.path.join(root, *parts))
        if os.path.commonpath([root, found]) != root:
            raise _refused(name, key, "is a link that leads out of the storage")
        return UPath(found)

    def file(self, name: str, key: str, max_bytes: int = MAX_READ_BYTES) -> UPath:
        """Find a regular file of at most this size."""
        path = self.path(name, key)
        kind, size_bytes = _look_at(path)
        if kind != "file":
            raise _refused(name, key, "is no regular file")
        if size_bytes > max_bytes:
            raise _refused(name, key, f"has {size_bytes:,} bytes, of which {max_bytes:,} are read")
        return path

    def folder(self, name: str, key: str) -> UPath:
        """Find a folder."""
        path = self.path(name, key)
        if _look_at(path)[0] != "directory":
            raise _refused(name, key, "is no folder")
        return path

    def read(self, name: str, key: str, max_bytes: int = MAX_READ_BYTES) -> bytes:
        """Read a file."""
        path = self.file(name, key, max_bytes)
        if not is_local(path):  # one request, of an object whose size is known
            return patiently(lambda: bytes(path.fs.cat_file(path.path)), path)
        return patiently(lambda: b"".join(_chunks(path, max_bytes)), path)

    def tail(self, name: str, key: str, num_bytes: int) -> bytes:
        """Read the last bytes of a file, of which more may be written meanwhile."""
        path = self.file(name, key)
        if not is_local(path):
            return patiently(lambda: bytes(path.fs.cat_file(path.path, start=-num_bytes)), path)
        return patiently(lambda: _end(path, num_bytes), path)

    def sha256(self, name: str, key: str) -> str:
        """Hash a file or a folder as ``base.provenance.sha256_of`` does."""
        path = self.path(name, key)
        if _look_at(path)[0] != "directory":
            return _sha256_of(self.file(name, key, MAX_HASHED_BYTES))
        files = self._files_within(path, name, key)
        lines = [f"{_sha256_of(whole)}  {inner}\n" for inner, whole in files.items()]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def _files_within(self, folder: UPath, name: str, key: str) -> dict[str, UPath]:
        """Find all files of a folder, which must not be too many or too large together."""
        found = list(itertools.islice(folder.rglob("*"), MAX_HASHED_FILES + 1))
        if len(found) > MAX_HASHED_FILES:
            raise _refused(name, key, f"holds more than {MAX_HASHED_FILES:,} files and folders")
        inner = sorted(child.relative_to(folder).as_posix() for child in found)
        names = {one: f"{name.rstrip('/')}/{one}" for one in inner}
        files = {
            one: self.file(whole, key, MAX_HASHED_BYTES)
            for one, whole in names.items()
            if _look_at(self.path(whole, key))[0] != "directory"
        }
        size_bytes = sum(_look_at(path)[1] for path in files.values())
        if size_bytes > MAX_HASHED_BYTES:
            raise _refused(
                name, key, f"holds {size_bytes:,} bytes, of which {MAX_HASHED_BYTES:,} are read"
            )
        return files

    def _parts(self, name: str, key: str) -> list[str]:
        if len(name) > _MAX_NAME_CHARACTERS:
            raise _refused(name, key, f"is longer than {_MAX_NAME_CHARACTERS} characters")
        parts = self._relative(name, key).rstrip("/").split("/")
        # A pair of colons would chain filesystems.
        if any(one in {"", ".", ".."} or "::" in one or not one.isprintable() for one in parts):
            raise _refused(name, key, "is no plain path of a file in the storage")
        return parts

    def _relative(self, name: str, key: str) -> str:
        """Take off the root, with which names of older versions begin."""
        roots = [str(self.root)]
        if is_local(self.root):
            plain = [self.root.path, os.path.realpath(self.root.path)]
            roots = [*plain, *(f"file://{one}" for one in plain)]
        for root in roots:
            if name.startswith(prefix := f"{root.rstrip('/')}/"):
                return name.removeprefix(prefix)
        if name.startswith("/") or "://" in name:
            raise _refused(name, key, "lies outside the storage")
        return name


def beside(name: str, other: str) -> str:
    """Name what lies beside something else."""
    folder, slash, _ = name.rstrip("/").rpartition("/")
    return f"{folder}{slash}{other}"


def _refused(name: str, key: str, why: str) -> UserError:
    shown = name if len(name) <= _SHOWN_CHARACTERS else f"{name[:_SHOWN_CHARACTERS]}..."
    return UserError(f"{key}: {shown!r} {why}, so it is not opened")


def _look_at(path: UPath) -> tuple[str, int]:
    """Tell what is there, ``file``, ``directory`` or another kind, and its size in bytes."""
    if not is_local(path):
        found = patiently(lambda: path.fs.info(path.path), path)
        return str(found["type"]), int(found["size"] or 0)
    status = patiently(lambda: os.lstat(path.path), path)
    return _kind(status), status.st_size


def _kind(status: os.stat_result) -> str:
    if stat.S_ISREG(status.st_mode):
        return "file"
    return "directory" if stat.S_ISDIR(status.st_mode) else "other"


def _opened(path: UPath) -> BinaryIO:
    """Open a local file that was looked at; it may have become another one since."""
    handle = os.open(path.path, _OPEN_FLAGS)
    if _kind(os.fstat(handle)) != "file":
        os.close(handle)
        raise UserError(f"{path} is no regular file any more, so it is not read")
    return os.fdopen(handle, "rb")


def _end(path: UPath, num_bytes: int) -> bytes:
    with _opened(path) as stream:
        size_bytes = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size_bytes - num_bytes))
        return stream.read(num_bytes)


def _chunks(path: UPath, max_bytes: int) -> Iterator[bytes]:
    with _opened(path) if is_local(path) else path.fs.open(path.path, "rb") as stream:
        num_bytes = 0
        while chunk := stream.read(_CHUNK_BYTES):
            num_bytes += len(chunk)
            if num_bytes > max_bytes:
                raise UserError(f"{path} grows while it is read; try again when it is whole")
            yield chunk


def _sha256_of(path: UPath) -> str:
    return patiently(lambda: _hashed(_chunks(path, MAX_HASHED_BYTES)), path)


def _hashed(chunks: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()
