"""A harvest on disk: what the Materials Project held at one time, document by document.

``listing.json`` is written once, with the materials in order and the version of the database. Each
collection is a folder of Parquet parts, in which every row is a document or the note that there is
none. Rows are only ever added, so a harvest may be killed at any moment. At last
``index-<fingerprint>.parquet`` says where each document of each material lies, or why it could not
be had; the fingerprint depends on what is there, and not on how it was fetched.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
from pydantic import ValidationError
from upath import UPath

from omnimat.base.checked_json import read_checked_json, write_checked_json
from omnimat.base.errors import UserError
from omnimat.base.files import remove_temporaries
from omnimat.base.settings import Settings, first_mistake
from omnimat.sources.materials_project.parts import (
    Document,
    read_documents,
    read_table,
    to_table,
    write_table,
)
from omnimat.sources.tables.parquet import read_slice

_LISTING = "listing.json"
_INDEX_PATTERN = "index-*.parquet"
_INDEX_ROWS_PER_GROUP = 4096
_PARALLEL_READS = 16


class Listing(Settings):
    """The materials of a harvest.

    Attributes:
        database_version: the version of the database when they were listed.
        material_ids: the ids, in the order of the data set.
    """

    database_version: str
    material_ids: tuple[str, ...]


class Snapshot:
    """The harvest in a folder."""

    def __init__(self, directory: UPath) -> None:
        self._directory = directory

    @property
    def is_listed(self) -> bool:
        """Whether the materials are listed already."""
        return (self._directory / _LISTING).exists()

    def listing(self) -> Listing:
        """Give the listing.

        Raises:
            UserError: it is damaged.
        """
        path = self._directory / _LISTING
        remedy = f"delete {self._directory} and ingest again"
        try:
            return Listing.model_validate(read_checked_json(path, remedy))
        except ValidationError as error:
            raise UserError(f"{path} is damaged ({first_mistake(error)}): {remedy}") from error

    def remove_temporaries(self) -> None:
        """Remove what killed writers left; call it before anything is written."""
        if self._directory.exists():
            folders = [path for path in self._directory.iterdir() if path.is_dir()]
            for folder in (self._directory, *folders):
                remove_temporaries(folder)

    def save_listing(self, listing: Listing) -> None:
        """Write the listing, which never changes afterwards."""
        write_checked_json(self._directory / _LISTING, listing.model_dump(mode="json"))

    def add(
        self,
        collection: str,
        documents: Mapping[str, Document | None],
        part: str | None = None,
        rows_per_group: int | None = None,
    ) -> None:
        """Add a part to a collection.

        Args:
            collection: the name of the collection.
            documents: the documents by material id; None says that there is none.
            part: the name of the part, if it is to be merged later.
            rows_per_group: how many rows a group has; few where single rows will be read.
        """
        path = self._directory / collection / f"{part or uuid.uuid4().hex}.parquet"
        write_table(path, to_table(documents), rows_per_group)

    def merge(self, collection: str, parts: Sequence[str]) -> None:
        """Make one part of several; if this is killed, some rows are there twice, but alike."""
        if not parts:
            return
        paths = [self._directory / collection / f"{part}.parquet" for part in parts]
        table = pa.concat_tables(read_table(path) for path in paths)
        write_table(self._directory / collection / f"{uuid.uuid4().hex}.parquet", table)
        for path in paths:
            path.unlink()

    def settled(self, collection: str) -> dict[str, str | None]:
        """Give the part that holds each document by material id, or None if there is none."""
        folder = self._directory / collection
        if not folder.exists():
            return {}
        paths = sorted(folder.glob("*.parquet"))
        with ThreadPoolExecutor(_PARALLEL_READS) as pool:
            tables = pool.map(lambda path: read_table(path, ["material_id", "is_found"]), paths)
            return {
                row["material_id"]: f"{collection}/{path.name}" if row["is_found"] else None
                for path, table in zip(paths, tables, strict=True)
                for row in table.to_pylist()
            }

    def documents(self, collection: str, ids: Iterable[str]) -> Iterator[tuple[str, Document]]:
        """Read the documents there are of some materials, part by part."""
        parts = self.settled(collection)
        yield from read_documents(self._directory, {i: p for i in ids if (p := parts.get(i))})

    def write_index(self, reasons: Mapping[str, Mapping[str, str]]) -> UPath:
        """Write the index and give its path.

        Args:
            reasons: by collection and material id, why a document could not be had.
        """
        listing = self.listing()
        columns: dict[str, list[str | None]] = {"material_id": list(listing.material_ids)}
        digest = hashlib.sha256(listing.model_dump_json().encode())
        for collection, failed in reasons.items():
            parts = self.settled(collection)
            columns[f"{collection}_part"] = [parts.get(i) for i in listing.material_ids]
            columns[f"{collection}_reason"] = [failed.get(i) for i in listing.material_ids]
            digest.update(collection.encode())
            digest.update(bytes(_state(parts, failed, i) for i in listing.material_ids))
        name = _INDEX_PATTERN.replace("*", digest.hexdigest()[:16])
        table = pa.table(columns, schema=pa.schema([(c, pa.string()) for c in columns]))
        old = [path for path in self._directory.glob(_INDEX_PATTERN) if path.name != name]
        write_table(self._directory / name, table, _INDEX_ROWS_PER_GROUP)
        for path in old:
            path.unlink()
        return self._directory / name

    def num_failures(self) -> int:
        """Count what could not be had according to the index; 0 before there is one."""
        if not self._directory.exists():
            return 0
        indices = [read_table(path) for path in self._directory.glob(_INDEX_PATTERN)]
        return sum(
            index.num_rows - index[name].null_count
            for index in indices
            for name in index.column_names
            if name.endswith("_reason")
        )


def read_index(
    index: UPath, start: int, stop: int
) -> Iterator[tuple[str, dict[str, Document], dict[str, str]]]:
    """Read what an index says about a slice of its materials.

    Returns:
        For each material in order its id, its documents by collection, and by collection the
        reasons why some could not be had.
    """
    table = read_slice(index, start, stop)
    rows = table.to_pylist()
    collections = [c.removesuffix("_part") for c in table.column_names if c.endswith("_part")]
    documents: dict[str, dict[str, Document]] = {row["material_id"]: {} for row in rows}
    for collection in collections:
        parts = {row["material_id"]: row[f"{collection}_part"] for row in rows}
        there = {material_id: part for material_id, part in parts.items() if part is not None}
        for material_id, document in read_documents(index.parent, there):
            documents[material_id][collection] = document
    for row in rows:
        reasons = {c: reason for c in collections if (reason := row[f"{c}_reason"]) is not None}
        yield row["material_id"], documents[row["material_id"]], reasons


def _state(parts: Mapping[str, str | None], failed: Mapping[str, str], material_id: str) -> int:
    """Distinguish what is there from what does not exist and from what could not be had."""
    return 0 if material_id in failed else 1 if parts.get(material_id) is None else 2
