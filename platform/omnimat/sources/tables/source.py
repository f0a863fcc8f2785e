"""The source ``table``: files of one layout, whose rows become records."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.materials.record import Failure, Record
from omnimat.materials.split import Split
from omnimat.sources.base import SourceSettings
from omnimat.sources.tables.files import files_of, is_single, located_path, rows_of, stem_of
from omnimat.sources.tables.lines import check_encoding
from omnimat.sources.tables.mapping import TableMapping
from omnimat.sources.tables.records import FileFacts, to_record
from omnimat.sources.tables.rows import Rows

_NUM_SHOWN_COLUMNS = 12


class Table(TableMapping, SourceSettings):
    """A table in CSV, Parquet or JSON lines; further keys say which column holds what.

    Attributes:
        path: path of a file, of a folder, or a pattern (``data/*.parquet``). The ending says what a
            file is: ``.csv``, ``.tsv``, ``.txt``, ``.dat``, ``.jsonl`` and ``.ndjson``, each also
            with ``.gz``, or ``.parquet``, ``.pq``. Files are read in order of name.
        encoding: encoding of CSV and JSON lines.
        separator: separator of CSV files. None takes the one of comma, tab, semicolon and bar that
            the header has most of.
        max_records: number of rows that are kept from the beginning.
        max_records_per_file: number of rows that are kept from the beginning of each file.
    """

    # The mapping's name is left out of the identity, because the keys it stands for are in it.
    of_the_machine: ClassVar[frozenset[str]] = frozenset({"mapping"})

    type: Literal["table"] = "table"
    path: str
    encoding: str = "utf-8"
    separator: str | None = Field(None, min_length=1, max_length=1)
    max_records: int | None = Field(None, ge=1)
    max_records_per_file: int | None = Field(None, ge=1)

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str) -> str:
        return check_encoding(encoding)

    def located(self) -> Self:
        """Resolve the path, and look for every column that is named.

        Raises:
            UserError: the path does not exist, a file cannot be read, or one lacks a column.
        """
        located = self.model_copy(update={"path": located_path(self.path)})
        for file in located._files().values():
            located._check_columns(file)
        return located

    def inputs(self) -> dict[str, UPath]:
        """Return the files by their names below the folder."""
        return self._files()

    def num_items(self) -> int:
        """Return the number of rows of all files."""
        return sum(count for _, _, count in self._counted())

    def read(self, start: int, stop: int) -> Iterator[Record | Failure]:
        """Read the rows of a slice, file by file."""
        columns = {column for _, column in self.columns()}
        for name, rows, count in self._counted():
            if stop <= 0:
                return
            if start < count:
                first, facts = max(start, 0), self._facts(name, rows)
                slice_ = rows.read(first, min(stop, count), columns)
                for number, row in enumerate(slice_, first + 1):
                    yield to_record(row, number, self, facts)
            start, stop = start - count, stop - count

    def _files(self) -> dict[str, UPath]:
        files = files_of(self.path)
        stems = self._stems()
        if not stems:
            return files
        of_stem = {stem_of(name): name for name in reversed(files)}  # of two, the first counts
        chosen = {of_stem[stem]: files[of_stem[stem]] for stem in stems if stem in of_stem}
        if not chosen:
            raise UserError(f"source.path: {self.path} holds no file named {', '.join(stems)}")
        return chosen

    def _stems(self) -> dict[str, Split]:
        """Return the split of each file's stem; none where the path is a single file."""
        if self.split is None or self.split.stems is None or is_single(self.path):
            return {}
        return dict(self.split.stems)

    def _rows(self, file: UPath) -> Rows:
        limits = [one for one in (self.max_records, self.max_records_per_file) if one is not None]
        return rows_of(file, self.encoding, self.separator, min(limits, default=None))

    def _counted(self) -> Iterator[tuple[str, Rows, int]]:
        """Yield each file's name, its rows, and how many of them are kept."""
        left = self.max_records
        for name, file in self._files().items():
            rows = self._rows(file)
            count = rows.count() if left is None else min(left, rows.count())
            left = None if left is None else left - count
            yield name, rows, count
            if left == 0:
                return

    def _facts(self, name: str, rows: Rows) -> FileFacts:
        untyped = any(one.type is None for one in self.properties.values())
        stem = stem_of(name)
        return FileFacts(
            stem=stem,
            kinds=rows.kinds if untyped else {},
            metadata=rows.metadata,
            published_split=self._stems().get(stem),
            source_name=self.source_name or f"table {name}",
        )

    def _check_columns(self, file: UPath) -> None:
        known = self._rows(file).columns
        for key, column in self.columns():
            if column not in known and not self.is_optional(key):
                near = difflib.get_close_matches(column, known, n=3, cutoff=0.5)
                others = ", ".join(map(repr, near or known[:_NUM_SHOWN_COLUMNS])) or "none"
                told = f"did you mean {others}?" if near else f"its columns: {others}"
                raise UserError(f"source.{key}: {file} has no column {column!r}; {told}")
