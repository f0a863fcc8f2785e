"""Read records of a shard by byte range. One bad record never costs another."""

from __future__ import annotations

import tarfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO

from upath import UPath

from omnimat.shards.codec import EXTENSIONS, MAX_MEMBER_BYTES

MAX_RECORD_BYTES = 2 * MAX_MEMBER_BYTES
NUM_TRIES = 5
FIRST_WAIT_S = 0.1

_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True, slots=True)
class RawRecord:
    """The undecoded members of a record, or why it has none.

    Attributes:
        material_id: as asked for.
        members: bytes by extension, as ``codec.decode`` takes them; empty when quarantined.
        quarantine_reason: None for a good record.
    """

    material_id: str
    members: dict[str, bytes] = field(default_factory=dict)
    quarantine_reason: str | None = None


def read_members(
    shard: UPath, offsets_bytes: Iterable[int], sizes_bytes: Iterable[int], ids: Iterable[str]
) -> Iterator[RawRecord]:
    """Read the records at these byte ranges, in the order given.

    An ``OSError`` is met by opening the shard again and seeking; what still cannot be read after
    ``NUM_TRIES`` is quarantined, as is every record whose bytes are not what they should be.
    """
    with _RangeReader(shard) as reader:
        for offset, size, material_id in zip(offsets_bytes, sizes_bytes, ids, strict=True):
            try:
                members = parse_members(reader.read(int(offset), int(size)), material_id)
            except (OSError, ValueError) as error:
                yield RawRecord(material_id, quarantine_reason=f"{shard.name}: {error}")
            else:
                yield RawRecord(material_id, members)


def parse_members(data: bytes, material_id: str) -> dict[str, bytes]:
    """Split the contiguous tar members of one record, and refuse what is not one's own.

    Raises:
        ValueError: a damaged header, a member of another name or kind, too large, or twice there.
    """
    members: dict[str, bytes] = {}
    long_name: str | None = None
    position = 0
    while position < len(data):
        info = _header(data, position)
        start = position + _BLOCK
        if not 0 <= info.size <= MAX_MEMBER_BYTES:
            raise ValueError(f"member {info.name!r} has {info.size} bytes, over {MAX_MEMBER_BYTES}")
        if start + info.size > len(data):
            raise ValueError(f"member {info.name!r} reaches beyond its record")
        content = data[start : start + info.size]
        position = start + -(-info.size // _BLOCK) * _BLOCK
        if info.type == tarfile.GNUTYPE_LONGNAME:
            long_name = content.rstrip(b"\0").decode()
            continue
        extension = _extension(long_name or info.name, info, material_id)
        if extension in members:
            raise ValueError(f"member {extension} occurs twice")
        members[extension], long_name = content, None
    if not members:
        raise ValueError("no members")
    return members


def _header(data: bytes, position: int) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(data[position : position + _BLOCK], "utf-8", "strict")
    except tarfile.TarError as error:
        raise ValueError(f"damaged tar header: {error}") from error


def _extension(name: str, info: tarfile.TarInfo, material_id: str) -> str:
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise ValueError(f"member {name!r} is not a regular file")
    if name.startswith("/") or ".." in name.split("/"):
        raise ValueError(f"member {name!r} points outside the shard")
    key, _, extension = name.partition(".")
    if key != material_id:
        raise ValueError(f"member {name!r} does not belong to {material_id}")
    if extension not in EXTENSIONS:
        raise ValueError(f"member {name!r} has an unknown extension")
    return extension


class _RangeReader:
    """Byte ranges of one file, which is opened again after an ``OSError``."""

    def __init__(self, path: UPath) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._tries = NUM_TRIES

    def __enter__(self) -> _RangeReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def read(self, offset_bytes: int, size_bytes: int) -> bytes:
        """Read a range.

        Raises:
            ValueError: the range is senseless, or the file ends before it does.
            OSError: the last of the tries failed.
        """
        if offset_bytes < 0 or not 0 < size_bytes <= MAX_RECORD_BYTES:
            raise ValueError(f"byte range {offset_bytes}+{size_bytes} is not one of a record")
        data = self._read_patiently(offset_bytes, size_bytes)
        if len(data) != size_bytes:
            raise ValueError(f"the shard ends inside the record, at {offset_bytes + len(data)}")
        return data

    def _read_patiently(self, offset_bytes: int, size_bytes: int) -> bytes:
        for attempt in range(1, self._tries + 1):
            try:
                data = self._read_once(offset_bytes, size_bytes)
            except OSError as error:
                self._close()
                if attempt == self._tries or isinstance(error, FileNotFoundError):
                    # A shard that stayed unreadable once is not waited for at each later record.
                    self._tries = 1
                    raise
                time.sleep(FIRST_WAIT_S * 2 ** (attempt - 1))
            else:
                self._tries = NUM_TRIES
                return data
        raise AssertionError("unreachable: the last try returns or raises")

    def _read_once(self, offset_bytes: int, size_bytes: int) -> bytes:
        if self._file is None:
            self._file = self._path.open("rb")
        self._file.seek(offset_bytes)
        return self._file.read(size_bytes)

    def _close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            file.close()
