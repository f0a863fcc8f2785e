"""The manifest of a data set, which lists its shards with hashes and counts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pyarrow as pa
from pydantic import ValidationError
from upath import UPath

from omnimat.base.checked_json import parsed, write_checked_json
from omnimat.base.errors import UserError
from omnimat.base.files import parquet_frame, read_file
from omnimat.base.settings import Settings, first_mistake
from omnimat.modalities.registry import parts

SCHEMA_VERSION = 2
# Older versions that can still be read: data sets in which every record has a structure.
_ONLY_STRUCTURES = 1
MANIFEST_NAME = "manifest.json"
RECORDS_NAME = "records.parquet"
FAILURES_NAME = "failures.jsonl"

PropertyCounts = Mapping[str, Mapping[str, int]]
"""How many records of each split know each property."""


def records_schema() -> pa.Schema:
    """Return the columns of the record index, which has one row per record in shard order."""
    columns = [
        ("material_id", pa.string()),
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("offset_bytes", pa.int64()),
        ("size_bytes", pa.int64()),
        ("crc32", pa.uint32()),  # checksum of the record's bytes in the shard, with tar headers
        ("split", pa.string()),
        ("reduced_formula", pa.string()),  # null where neither structure nor formula is known
        ("num_atoms", pa.int32()),  # null where no structure is known
        *((f"has_{name}", pa.bool_()) for name in parts()),
    ]
    return pa.schema(columns)


class ShardEntry(Settings):
    """One shard.

    Attributes:
        name: name of the file.
        size_bytes: size of the file.
        sha256: hash of the file.
        num_records: how many records it holds.
        modality_counts: how many of them have each part.
    """

    name: str
    size_bytes: int
    sha256: str
    num_records: int
    modality_counts: Mapping[str, int]


class Manifest(Settings):
    """A finished data set; the manifest is written last, so where it is, the rest is too.

    ``property_counts`` is None in data sets that were ingested before it was counted.
    """

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
    property_counts: PropertyCounts | None = None

    @property
    def num_records(self) -> int:
        """How many records all shards hold."""
        return sum(shard.num_records for shard in self.shards)

    @classmethod
    def load(cls, directory: UPath) -> Manifest:
        """Read the manifest of a data set.

        Raises:
            UserError: there is no manifest, it may not be read, or another version of omnimat wrote
                it that this version cannot read.
        """
        path = directory / MANIFEST_NAME
        try:
            data = read_file(path)
        except FileNotFoundError:
            raise UserError(f"{path} does not exist: ingest the data set first") from None
        return cls.parsed(data, directory)

    @classmethod
    def parsed(cls, data: bytes, directory: UPath) -> Manifest:
        """Parse what ``save`` wrote into the folder of a data set.

        Raises:
            UserError: it is no manifest, or another version of omnimat wrote it that this version
                cannot read.
        """
        path = directory / MANIFEST_NAME
        content = parsed(data, path, "ingest the data set again")
        try:
            manifest = cls.model_validate(content)
        except ValidationError as error:
            raise UserError(f"{path}: {first_mistake(error)}; ingest the data set again") from error
        if manifest.schema_version not in {_ONLY_STRUCTURES, SCHEMA_VERSION}:
            raise UserError(
                f"{path} has schema_version {manifest.schema_version}, but this omnimat reads "
                f"{SCHEMA_VERSION}: ingest the data set again"
            )
        manifest.check_parts(directory)
        return manifest

    def check_parts(self, directory: UPath) -> None:
        """Check that every part that the records hold belongs to a known modality.

        Raises:
            UserError: a part does not; the message names it.
        """
        stored = {name for shard in self.shards for name in shard.modality_counts}
        if unknown := sorted(stored - set(parts())):
            raise UserError(
                f"{directory} holds {', '.join(unknown)}, which no installed package can read: "
                "install the package that provides this modality"
            )

    def save(self, directory: UPath) -> None:
        """Write the manifest atomically."""
        write_checked_json(directory / MANIFEST_NAME, self.model_dump(mode="json"))

    def records(self, directory: UPath) -> pd.DataFrame:
        """Read the index of the records, which has the columns of ``records_schema()``.

        Raises:
            UserError: the index is missing, or it was changed after this manifest was written.
        """
        path = directory / RECORDS_NAME
        try:
            data = read_file(path)
        except FileNotFoundError:
            raise UserError(f"{path} does not exist: ingest the data set again") from None
        return self.parsed_records(data, path)

    def parsed_records(self, data: bytes, path: UPath) -> pd.DataFrame:
        """Parse the index of the records as ``records`` does.

        Raises:
            UserError: it was changed after this manifest was written.
        """
        if hashlib.sha256(data).hexdigest() != self.records_sha256:
            raise UserError(f"{path} was changed after ingest: ingest the data set again")
        return self.completed(parquet_frame(data))

    def completed(self, records: pd.DataFrame) -> pd.DataFrame:
        """Add the columns that are newer than an index; its records do not have these parts.

        Records of a data set that is older than ``crc32`` can be read, but are not checked.
        """
        names = records_schema().names
        complete = records.reindex(columns=names)
        if self.schema_version == _ONLY_STRUCTURES:
            complete = complete.assign(has_structure=True)
        flags = {name: complete[name].eq(True) for name in names if name.startswith("has_")}
        return complete.assign(**flags)


def are_among(records: pd.DataFrame, others: pd.DataFrame) -> pd.Series[bool]:
    """Return for each record whether its material, or a polymorph of it, is among others.

    Args:
        records: rows of a record index.
        others: rows of the same index or of another one.

    Returns:
        A value for each row of ``records``, which is true if the other rows contain its reduced
        formula or, for a record without a formula, its id.
    """
    by_formula = records["reduced_formula"].isin(others["reduced_formula"].dropna())
    without = others.loc[others["reduced_formula"].isna(), "material_id"]
    by_id = records["reduced_formula"].isna() & records["material_id"].isin(without)
    return by_formula | by_id


def dataset_fingerprint(shards: tuple[ShardEntry, ...], split_sha256: str) -> str:
    """Hash what defines a data set, which is the bytes of its shards and its split."""
    lines = [*(shard.sha256 for shard in shards), split_sha256]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def shard_name(shard: int) -> str:
    """Return the name of a shard's file."""
    return f"shard-{shard:05d}.tar"
