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
from omnimat.modalities.registry import parts

SCHEMA_VERSION = 2
# What an older omnimat wrote and this one reads: data sets in which every record has a structure.
_ONLY_STRUCTURES = 1
MANIFEST_NAME = "manifest.json"
RECORDS_NAME = "records.parquet"
FAILURES_NAME = "failures.jsonl"


def records_schema() -> pa.Schema:
    """Give the columns of the record index: one row a record, in shard order."""
    columns = [
        ("material_id", pa.string()),
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("offset_bytes", pa.int64()),
        ("size_bytes", pa.int64()),
        ("crc32", pa.uint32()),  # of the record's bytes in the shard, tar headers included
        ("split", pa.string()),
        ("reduced_formula", pa.string()),  # null where neither structure nor formula is known
        ("num_atoms", pa.int32()),  # null where no structure is known
        *((f"has_{name}", pa.bool_()) for name in parts()),
    ]
    return pa.schema(columns)


class ShardEntry(Settings):
    """One shard.

    Attributes:
        name: of the file.
        size_bytes: of the file.
        sha256: of the file.
        num_records: how many records it holds.
        modality_counts: how many of them have each part.
    """

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
        if manifest.schema_version not in {_ONLY_STRUCTURES, SCHEMA_VERSION}:
            raise UserError(
                f"{path} has schema_version {manifest.schema_version}, this omnimat reads "
                f"{SCHEMA_VERSION}: ingest the data set again"
            )
        manifest.check_parts(directory)
        return manifest

    def check_parts(self, directory: UPath) -> None:
        """Insist that every part that the records hold belongs to a known modality.

        Raises:
            UserError: one does not; the sentence names it.
        """
        stored = {name for shard in self.shards for name in shard.modality_counts}
        if unknown := sorted(stored - set(parts())):
            raise UserError(
                f"{directory} holds {', '.join(unknown)}, which no installed package reads: "
                "install the package that provides this modality"
            )

    def save(self, directory: UPath) -> None:
        """Write the manifest atomically."""
        write_atomically(directory / MANIFEST_NAME, f"{self.model_dump_json(indent=2)}\n".encode())

    def records(self, directory: UPath) -> pd.DataFrame:
        """Give the index of the records, columns as in ``records_schema()``.

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
        return self.completed(parquet_frame(data))

    def completed(self, records: pd.DataFrame) -> pd.DataFrame:
        """Give an index the columns that came after it was written: its records lack these parts.

        A data set from before there was a ``crc32`` stays readable, unchecked.
        """
        names = records_schema().names
        complete = records.reindex(columns=names)
        if self.schema_version == _ONLY_STRUCTURES:
            complete = complete.assign(has_structure=True)
        flags = {name: complete[name].eq(True) for name in names if name.startswith("has_")}
        return complete.assign(**flags)


def are_among(records: pd.DataFrame, others: pd.DataFrame) -> pd.Series[bool]:
    """Say of each record whether its material, or a polymorph of it, is among others.

    Args:
        records: rows of a record index.
        others: rows of the same index, or of another.

    Returns:
        One value a row of ``records``: true where the other index has the reduced formula, or,
        for records without a formula, the id.
    """
    by_formula = records["reduced_formula"].isin(others["reduced_formula"].dropna())
    without = others.loc[others["reduced_formula"].isna(), "material_id"]
    by_id = records["reduced_formula"].isna() & records["material_id"].isin(without)
    return by_formula | by_id


def dataset_fingerprint(shards: tuple[ShardEntry, ...], split_sha256: str) -> str:
    """Hash what defines a data set: the bytes of its shards and its split."""
    lines = [*(shard.sha256 for shard in shards), split_sha256]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def shard_name(shard: int) -> str:
    """File of a shard."""
    return f"shard-{shard:05d}.tar"
