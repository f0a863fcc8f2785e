"""Writes a shard, which is a WebDataset tar whose bytes depend only on its records."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from upath import UPath

from omnimat.base.files import write_atomically
from omnimat.materials.record import Record
from omnimat.modalities.registry import parts
from omnimat.shards.codec import encode
from omnimat.shards.manifest import ShardEntry


@dataclass(frozen=True, slots=True)
class WrittenShard:
    """What a shard holds.

    Attributes:
        entry: entry of the shard in the manifest.
        rows: one row per record, in order, with those columns of ``records_schema()`` that follow
            from the shard (all but ``shard``, ``split`` and ``reduced_formula``).
        rejected: (material id, reason) of each record that could not be stored.
    """

    entry: ShardEntry
    rows: tuple[dict[str, Any], ...]
    rejected: tuple[tuple[str, str], ...]


def write_shard(path: UPath, records: Iterable[Record]) -> WrittenShard:
    """Write records to a tar file atomically, leaving out those that cannot be stored.

    The shard is held in memory until it is complete.
    """
    buffer = io.BytesIO()
    rows: list[dict[str, Any]] = []
    rejected: list[tuple[str, str]] = []
    # The GNU format is used because USTAR has no room for the longest ids.
    with tarfile.open(fileobj=buffer, mode="w:", format=tarfile.GNU_FORMAT) as archive:
        for record in records:
            try:
                members = encode(record)
            except ValueError as error:
                rejected.append((record.material_id, str(error)))
                continue
            offset = archive.offset
            _add(archive, record.material_id, members)
            content = bytes(buffer.getbuffer()[offset : archive.offset])
            rows.append(_row(record, members, len(rows), offset, content))
    data = buffer.getvalue()
    write_atomically(path, data)
    entry = ShardEntry(
        name=path.name,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        num_records=len(rows),
        modality_counts=_part_counts(rows),
    )
    return WrittenShard(entry, tuple(rows), tuple(rejected))


def _add(archive: tarfile.TarFile, material_id: str, members: dict[str, bytes]) -> None:
    for extension, data in members.items():
        info = tarfile.TarInfo(f"{material_id}.{extension}")  # owner 0, time 0
        info.size, info.mode = len(data), 0o644
        archive.addfile(info, io.BytesIO(data))


def _row(
    record: Record, members: dict[str, bytes], row: int, offset_bytes: int, content: bytes
) -> dict[str, Any]:
    structure = record.structure
    return {
        "material_id": record.material_id,
        "row": row,
        "offset_bytes": offset_bytes,
        "size_bytes": len(content),
        "crc32": zlib.crc32(content),
        "num_atoms": None if structure is None else int(structure.atomic_numbers.size),
        **{f"has_{name}": stored.extension in members for name, stored in parts().items()},
    }


def _part_counts(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Count the records that have each part, leaving out parts that no record has."""
    counts = {name: sum(row[f"has_{name}"] for row in rows) for name in parts()}
    return {name: count for name, count in counts.items() if count}
