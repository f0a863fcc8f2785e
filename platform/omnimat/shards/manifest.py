"""The manifest of a data set: what its shards hold, in hashes and counts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pyarrow as pa
from pydantic import ValidationError
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.files import parquet_frame, read_file, write_atomically
from omnimat.base.settings import Settings

SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"
RECORDS_NAME = "records.parquet"
FAILURES_NAME = "failures.jsonl"

# One row a record, in shard order.
RECORDS_SCHEMA = pa.schema(
    [
        ("material_id", pa.string()),
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("offset_bytes", pa.int64()),
        ("size_bytes", pa.int64()),
        ("crc32", pa.uint32()),  # of the record's bytes in the shard, tar headers included
        ("split", pa.string()),
        ("reduced_formula", pa.string()),
        ("num_atoms", pa.int32()),
        ("has_dos", pa.bool_()),
        ("has_charge_density", pa.bool_()),
        ("has_text", pa.bool_()),
        ("has_text_embedding", pa.bool_()),
    ]
)


class ShardEntry(Settings):
    """One shard."""

    name: str
    size_bytes: int
    sha256: str
    num_records: int
    modality_counts: Mapping[str, int]


class Manifest(Settings):
    """A finished data set. It is written last, so where it is, all the rest is."""

    schema_version: int = SCHEMA_VERSION
    name: str
    source: Mapping[str, Any]
    settings_fingerprint: str
    licences: tuple[str, ...]
    database_versions: tuple[str, ...]
    shards: tuple[ShardEntry, ...]
    split_counts: Mapping[str, int]
    split_sha256: str
    records_sha256: str
    num_failures: int
    dataset_fingerprint: str

    @property
    def num_records(self) -> int:
        """Records in all shards."""
        return sum(shard.num_records for shard in self.shards)

    @classmethod
    def load(cls, directory: UPath) -> Manifest:
        """Read the manifest of a data set.

        Raises:
            UserError: there is none, it may not be read, or is not of this version of omnimat.
        """
        path = directory / MANIFEST_NAME
        try:
            text = read_file(path)
        except FileNotFoundError:
            raise UserError(f"{path} does not exist: ingest the data set first") from None
        try:
            manifest = cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise UserError(
                f"{path}: {where}: {first['msg']}; ingest the data set again"
            ) from error
        if manifest.schema_version != SCHEMA_VERSION:
            raise UserError(
                f"{path} has schema_version {manifest.schema_version}, this omnimat reads "
                f"{SCHEMA_VERSION}: ingest the data set again"
            )
        return manifest

    def save(self, directory: UPath) -> None:
        """Write the manifest atomically."""
        write_atomically(directory / MANIFEST_NAME, f"{self.model_dump_json(indent=2)}\n".encode())

    def records(self, directory: UPath) -> pd.DataFrame:
        """Give the index of the records, columns as in ``RECORDS_SCHEMA``.

        Raises:
            UserError: it is missing or not the one this manifest was written with.
        """
        path = directory / RECORDS_NAME
        try:
            data = read_file(path)
        except FileNotFoundError:
            raise UserError(f"{path} does not exist: ingest the data set again") from None
        if hashlib.sha256(data).hexdigest() != self.records_sha256:
            raise UserError(f"{path} was changed after ingest: ingest the data set again")
        # Data sets from before there was a crc32 stay readable, unchecked.
        return parquet_frame(data).reindex(columns=RECORDS_SCHEMA.names)


def dataset_fingerprint(shards: tuple[ShardEntry, ...], split_sha256: str) -> str:
    """Hash what defines a data set: the bytes of its shards and its split."""
    lines = [*(shard.sha256 for shard in shards), split_sha256]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def shard_name(shard: int) -> str:
    """File of a shard."""
    return f"shard-{shard:05d}.tar"
