"""Proof of a data set, from the bytes of its shards to the fingerprint that rows carry."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
import pyarrow as pa
from upath import UPath

from omnimat.base.confined import Confined
from omnimat.base.errors import RunError, UserError
from omnimat.base.files import parquet_frame
from omnimat.leaderboard.row import Row
from omnimat.materials.record import Record
from omnimat.materials.split import Split, split_sha256
from omnimat.shards.codec import decode
from omnimat.shards.manifest import (
    MANIFEST_NAME,
    RECORDS_NAME,
    Manifest,
    ShardEntry,
    dataset_fingerprint,
)
from omnimat.shards.reader import read_records
from omnimat.verification.index import IndexCheck
from omnimat.verification.outcome import UnreachableError, named, reached

_PROPERTIES = "properties.json"
_KEY = "dataset_uri"
_RECORDS_AT_A_TIME = 512  # a record may hold megabytes


# No slots: cached_property needs a __dict__.
@dataclass(frozen=True)
class CheckedDataset:
    """A data set, every file of which was read and compared with its manifest.

    Attributes:
        directory: its folder.
        manifest: its manifest.
        records: the index of its records; None where that cannot be read.
        faults: a sentence for each thing that is not as the manifest says.
    """

    directory: UPath
    manifest: Manifest
    records: pd.DataFrame | None
    faults: Sequence[str]

    @property
    def index(self) -> pd.DataFrame:
        """The index of the records.

        Raises:
            UnreachableError: if it cannot be read.
        """
        if self.records is None:
            raise UnreachableError(f"{self.directory / RECORDS_NAME} cannot be read")
        return self.records

    @cached_property
    def split_by_id(self) -> dict[str, str]:
        """The split of every material."""
        return dict(zip(self.index["material_id"], self.index["split"], strict=True))

    def properties(self, split: Split | None) -> dict[str, str]:
        """Read the properties of materials from the shards, as JSON by material id.

        Args:
            split: whose materials; None for all of the data set.

        Raises:
            UnreachableError: if a record cannot be read.
        """
        wanted = self.index if split is None else self.index[self.index["split"] == split]
        return {
            material_id: members.get(_PROPERTIES, b"{}").decode()
            for material_id, members in self._members(wanted)
        }

    def records_of(self, material_ids: Sequence[str]) -> list[Record]:
        """Read whole records, in the order of the index.

        Raises:
            UnreachableError: if a record cannot be read.
        """
        wanted = self.index[self.index["material_id"].isin(set(material_ids))]
        return [decode(material_id, members) for material_id, members in self._members(wanted)]

    def _members(self, wanted: pd.DataFrame) -> Iterator[tuple[str, dict[str, bytes]]]:
        for start in range(0, len(wanted), _RECORDS_AT_A_TIME):
            part = wanted.iloc[start : start + _RECORDS_AT_A_TIME]
            try:
                raws = read_records(self.directory, part)
            except RunError as error:
                raise UnreachableError(str(error)) from error
            for raw in raws:
                if raw.quarantine_reason is not None:
                    raise UnreachableError(
                        f"{self.directory}: {raw.material_id}: {raw.quarantine_reason}"
                    )
                yield raw.material_id, raw.members


def check_dataset(storage: Confined, name: str) -> CheckedDataset:
    """Read and hash every file of a data set.

    Args:
        storage: where it lies.
        name: the name of its folder there.

    Raises:
        UnreachableError: if a file is missing, lies elsewhere or cannot be read.
    """
    directory = reached(name, lambda: storage.folder(name, _KEY))
    reached(f"{name}/{MANIFEST_NAME}", lambda: storage.file(f"{name}/{MANIFEST_NAME}", _KEY))
    manifest = reached(name, lambda: Manifest.load(directory))
    data = _read(storage, f"{name}/{RECORDS_NAME}")
    records, found = _read_index(directory / RECORDS_NAME, data, manifest)
    index = None if records is None else IndexCheck.of(directory / RECORDS_NAME, records)
    for entry in manifest.shards:
        content = _read(storage, f"{name}/{entry.name}")
        found += _shard_faults(directory / entry.name, content, entry, index)
    if index is not None:
        shards = {entry.name for entry in manifest.shards}
        found += index.faults(shards)
        for other in set(index.shards) - shards:
            _refuse_link(storage, f"{name}/{other}")
    found += _hash_faults(manifest, directory)
    return CheckedDataset(directory, manifest, records, found)


def check_of_row(row: Row, dataset: CheckedDataset) -> Iterator[str]:
    """Compare what a row says about its data set with what the data set is."""
    manifest, path = dataset.manifest, dataset.directory / MANIFEST_NAME
    yield from dataset.faults
    for name, there in (
        ("dataset", manifest.name),
        ("dataset_fingerprint", manifest.dataset_fingerprint),
        ("split_sha256", manifest.split_sha256),
    ):
        if getattr(row, name) != there:
            yield f"{path}: {name} is {there}, the row says {getattr(row, name)}"


def _read(storage: Confined, name: str) -> bytes:
    return reached(name, lambda: storage.read(name, _KEY))


def _refuse_link(storage: Confined, name: str) -> None:
    """Refuse what the manifest does not name, but whoever follows the index would open."""
    try:
        storage.file(name, _KEY)
    except FileNotFoundError:
        return  # its records are missing, which is said elsewhere
    except (UserError, RunError) as error:
        raise UnreachableError(str(error)) from error


def _read_index(
    path: UPath, data: bytes, manifest: Manifest
) -> tuple[pd.DataFrame | None, list[str]]:
    there = hashlib.sha256(data).hexdigest()
    found = list(_differs(path, "sha256", there, manifest.records_sha256))
    try:
        records = manifest.completed(parquet_frame(data))
    except (pa.ArrowException, OSError, ValueError) as error:
        return None, [*found, f"{path} is no Parquet file: {error}"]
    if (twice := records["material_id"][records["material_id"].duplicated()]).size:
        found.append(f"{path}: {named(twice)} twice")
    pairs = zip(records["material_id"], records["split"], strict=True)
    found += _differs(path, "split_sha256 of its ids", split_sha256(pairs), manifest.split_sha256)
    return records, found


def _shard_faults(
    path: UPath, data: bytes, entry: ShardEntry, index: IndexCheck | None
) -> Iterator[str]:
    yield from _differs(path, "sha256", hashlib.sha256(data).hexdigest(), entry.sha256)
    if index is not None:
        yield from index.read(path, data)


def _hash_faults(manifest: Manifest, directory: UPath) -> Iterator[str]:
    there = dataset_fingerprint(manifest.shards, manifest.split_sha256)
    what = "fingerprint of its shards and split"
    yield from _differs(directory / MANIFEST_NAME, what, there, manifest.dataset_fingerprint)


def _differs(path: UPath, what: str, there: str, said: str) -> Iterator[str]:
    if there != said:
        yield f"{path}: {what} is {there[:16]}, the manifest says {said[:16]}"
