"""Reads records of shards by byte range, so that a bad record never affects another one."""

from __future__ import annotations

import math
import tarfile
import zlib
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd
from upath import UPath

from omnimat.base.errors import RunError
from omnimat.base.retry import reason
from omnimat.shards.codec import MAX_MEMBER_BYTES, MAX_RECORD_BYTES, extensions
from omnimat.shards.manifest import shard_name
from omnimat.shards.ranges import ByteRange, fetch

# The columns of the index that a reader needs.
LOCATION_COLUMNS = ["material_id", "shard", "offset_bytes", "size_bytes", "crc32"]

_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True, slots=True)
class RawRecord:
    """The undecoded members of a record, or the reason why it could not be read.

    Attributes:
        material_id: id of the material that was asked for.
        members: bytes by extension, as ``codec.decode`` takes them; empty if quarantined.
        quarantine_reason: why the record could not be read; None for a good record.
    """

    material_id: str
    members: dict[str, bytes] = field(default_factory=dict)
    quarantine_reason: str | None = None


class _Location(NamedTuple):
    """A row of the index, in the order of ``LOCATION_COLUMNS``."""

    material_id: str
    shard: int
    offset_bytes: int
    size_bytes: int
    crc32: float  # NaN if the index does not have it

    @property
    def is_sensible(self) -> bool:
        return self.offset_bytes >= 0 and 0 < self.size_bytes <= MAX_RECORD_BYTES


def read_records(directory: UPath, records: pd.DataFrame) -> list[RawRecord]:
    """Read records of a data set.

    A read that fails for a passing cause is tried again. Records that still cannot be read are
    quarantined, and so are those whose bytes are not the ones that were written. If the storage
    refuses all of several records, the fault is not theirs, and none is quarantined.

    Args:
        directory: folder of the shards.
        records: rows of the index; a ``crc32`` that is null is not checked.

    Returns:
        One record for each row, in the order of the rows.

    Raises:
        RunError: none of several records could be read, because the storage is down or forbids it.
    """
    rows = [_Location(*row) for row in records[LOCATION_COLUMNS].itertuples(index=False, name=None)]
    paths = {shard: (directory / shard_name(shard)).path for shard in {row.shard for row in rows}}
    ranges = [
        ByteRange(paths[row.shard], row.offset_bytes, row.offset_bytes + row.size_bytes, i)
        for i, row in enumerate(rows)
        if row.is_sensible
    ]
    found = [
        RawRecord(row.material_id, quarantine_reason="the index gives no sensible byte range")
        for row in rows
    ]
    refusals = []
    for piece, content in fetch(directory.fs, ranges):
        found[piece.key] = _raw_record(rows[piece.key], content)
        if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
            refusals.append(content)
    if len(refusals) == len(rows) > 1:
        raise RunError(f"{directory}: not one of {len(rows)} records: {reason(refusals[0])}")
    return found


def _raw_record(row: _Location, content: memoryview | Exception) -> RawRecord:
    try:
        members = parse_members(_intact(row, content), row.material_id)
    except ValueError as error:
        why = f"{shard_name(row.shard)}: {error}"
        return RawRecord(row.material_id, quarantine_reason=why)
    return RawRecord(row.material_id, members)


def _intact(row: _Location, content: memoryview | Exception) -> memoryview:
    if isinstance(content, Exception):
        raise ValueError(reason(content)) from content
    if len(content) < row.size_bytes:
        end = row.offset_bytes + len(content)
        raise ValueError(f"the shard ends inside the record, at byte {end}")
    if not math.isnan(row.crc32) and zlib.crc32(content) != row.crc32:
        raise ValueError("the record's bytes were changed after it was written (crc32)")
    return content


def parse_members(data: bytes | memoryview, material_id: str) -> dict[str, bytes]:
    """Split the contiguous tar members of a record, and refuse what does not belong to it.

    Raises:
        ValueError: a header is damaged, or a member has a wrong name or kind, is too large, or
            occurs twice.
    """
    members: dict[str, bytes] = {}
    long_name: str | None = None
    position = 0
    while position < len(data):
        name, size, kind = _header(bytes(data[position : position + _BLOCK]))
        start = position + _BLOCK
        if not 0 <= size <= MAX_MEMBER_BYTES:
            raise ValueError(f"member {name!r} has {size} bytes, over {MAX_MEMBER_BYTES}")
        if start + size > len(data):
            raise ValueError(f"member {name!r} reaches beyond its record")
        content = bytes(data[start : start + size])
        position = start + -(-size // _BLOCK) * _BLOCK
        if kind == tarfile.GNUTYPE_LONGNAME:
            long_name = content.rstrip(b"\0").decode()
            continue
        extension = _extension(long_name or name, kind, material_id)
        if extension in members:
            raise ValueError(f"member {extension} occurs twice")
        members[extension], long_name = content, None
    if not members:
        raise ValueError("no members")
    return members


def _header(block: bytes) -> tuple[str, int, bytes]:
    """Read the name, size and type of a member in a third of the time that tarfile takes.

    Only octal numbers are read, because only sizes beyond 8 GiB are written otherwise.
    """
    if len(block) < _BLOCK:
        raise ValueError("damaged tar header: truncated")
    name, size, checksum = block[:100], block[124:136], block[148:156]
    try:
        fields = name.partition(b"\0")[0].decode(), int(size[:11], 8), block[156:157]
        is_whole = int(checksum[:6], 8) == sum(block) - sum(checksum) + 8 * ord(" ")
    except ValueError:
        raise ValueError("damaged tar header: not a tar header") from None
    if not is_whole:
        raise ValueError("damaged tar header: bad checksum")
    return fields


def _extension(name: str, kind: bytes, material_id: str) -> str:
    if kind not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise ValueError(f"member {name!r} is not a regular file")
    if name.startswith("/") or ".." in name.split("/"):
        raise ValueError(f"member {name!r} points outside the shard")
    key, _, extension = name.partition(".")
    if key != material_id:
        raise ValueError(f"member {name!r} does not belong to {material_id}")
    if extension not in extensions():
        raise ValueError(f"member {name!r} has an unknown extension")
    return extension
