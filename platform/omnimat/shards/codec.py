"""Converts a record to the members of a WebDataset sample and back; nothing is ever unpickled."""

from __future__ import annotations

import functools
import json
import zipfile
from collections.abc import Mapping
from typing import Any

from omnimat.materials.record import MATERIAL_ID, Record
from omnimat.modalities.registry import parts
from omnimat.modalities.storage import encode_json

PROPERTIES, PROVENANCE = "properties.json", "provenance.json"
MAX_MEMBER_BYTES = 64 * 2**20
MAX_CONTENT_BYTES = 2 * MAX_MEMBER_BYTES
# This includes the tar headers and the padding of each member.
MAX_RECORD_BYTES = MAX_CONTENT_BYTES + 2**16

_CANNOT_DECODE = (
    ValueError,  # includes those of JSON and UTF-8
    KeyError,
    TypeError,
    EOFError,
    OverflowError,
    RuntimeError,  # deep JSON, an encrypted zip
    zipfile.BadZipFile,
)


@functools.cache
def extensions() -> tuple[str, ...]:
    """Return the extensions of all members that a record may have, in the order of the shard."""
    return (*(stored.extension for stored in parts().values()), PROPERTIES, PROVENANCE)


def encode(record: Record) -> dict[str, bytes]:
    """Return the members of a record by extension, in the order of ``extensions()``.

    The bytes of equal records are equal.

    Raises:
        ValueError: the record cannot be stored and read back because of its id, a shape, a number
            that is not finite, or too many bytes; the message says why.
    """
    if not MATERIAL_ID.fullmatch(record.material_id):
        raise ValueError(f"material id must match {MATERIAL_ID.pattern}")
    known = parts()
    if unknown := sorted(set(record.parts) - set(known)):
        raise ValueError(f"unknown parts: {', '.join(unknown)}")
    members = {
        stored.extension: _part(stored.extension, stored.encode, record.parts[name])
        for name, stored in known.items()
        if name in record.parts
    }
    members[PROPERTIES] = _part(PROPERTIES, encode_json, dict(record.properties))
    members[PROVENANCE] = _part(PROVENANCE, encode_json, dict(record.provenance))
    for extension, data in members.items():
        if len(data) > MAX_MEMBER_BYTES:
            raise ValueError(f"{extension} has {len(data)} bytes, over {MAX_MEMBER_BYTES}")
    if (num_bytes := sum(map(len, members.values()))) > MAX_CONTENT_BYTES:
        raise ValueError(f"the record has {num_bytes} bytes, over {MAX_CONTENT_BYTES}")
    return members


def decode(material_id: str, members: Mapping[str, bytes]) -> Record:
    """Rebuild a record from its members.

    Raises:
        ValueError: a member is unknown or does not hold what it should; the message names it.
    """
    if unknown := sorted(set(members) - set(extensions())):
        raise ValueError(f"unknown members: {', '.join(unknown)}")
    found: dict[str, Any] = {}
    known: dict[str, dict[str, Any]] = {PROPERTIES: {}, PROVENANCE: {}}
    for extension, data in members.items():
        try:
            if extension in known:
                known[extension] = _mapping(data)
            else:
                name = extension.partition(".")[0]
                found[name] = parts()[name].decode(data)
        except _CANNOT_DECODE as error:
            raise ValueError(f"{extension}: {error}") from error
    return Record(material_id, found, known[PROPERTIES], known[PROVENANCE])


def _part(extension: str, encoder: Any, value: Any) -> bytes:
    try:
        data: bytes = encoder(value)
    except ValueError as error:
        raise ValueError(f"{extension}: {error}") from error
    return data


def _mapping(data: bytes) -> dict[str, Any]:
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError("expected a JSON object")
    return value
