"""The rows of a prediction: the items of a source or the records of a data set, cut into parts."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Literal, NamedTuple, Self

import numpy as np
import pandas as pd
from upath import UPath

from omnimat.base.child import Limits
from omnimat.base.errors import RunError, UserError
from omnimat.base.filesystem import location
from omnimat.base.workspace import Workspace
from omnimat.materials.record import Failure, Record
from omnimat.materials.validation import validate
from omnimat.modalities.batch import Quarantined
from omnimat.prediction.settings import AppliedSettings
from omnimat.shards.manifest import Manifest
from omnimat.shards.reader import read_records
from omnimat.sources.base import Source, SourceSettings, check_not_empty
from omnimat.sources.items import usual_items
from omnimat.stream.order import split_into_units
from omnimat.stream.source import decoded
from omnimat.stream.unit import take

_MAX_PART_BYTES = 64 << 20  # of stored records, which are read at once

Reading = Callable[[Source, int, int, Limits], AbstractContextManager[Iterator[Record | Failure]]]


class Part(NamedTuple):
    """Rows that are read, featurized, answered and written at once.

    Attributes:
        number: its place among all parts.
        start: its first row.
        stop: the row after its last.
    """

    number: int
    start: int
    stop: int


class DatasetRows(SourceSettings):
    """The records of a data set, as a source whose items they are.

    Attributes:
        path: folder of the data set.
        fingerprint_of_data: fingerprint of the data set as it was when it was first opened.
    """

    type: Literal["dataset"] = "dataset"
    path: str
    fingerprint_of_data: str

    @classmethod
    def of(cls, folder: UPath) -> Self:
        """Open a data set.

        Raises:
            UserError: it is not there, or cannot be read.
        """
        return cls(path=str(folder), fingerprint_of_data=Manifest.load(folder).dataset_fingerprint)

    @property
    def records(self) -> pd.DataFrame:
        """The record index."""
        return _records(self.path, self.fingerprint_of_data)

    def located(self) -> Self:
        """Return the same: its path is absolute."""
        return self

    def inputs(self) -> dict[str, UPath]:
        """None: the fingerprint says what it holds."""
        return {}

    def num_items(self) -> int:
        """Return the number of records."""
        return len(self.records)

    def item_name(self, index: int) -> str:
        """Return the id of a record."""
        return str(self.records["material_id"].iloc[index])

    def read(self, start: int, stop: int) -> Iterator[Record | Failure]:
        """Read records in the order of the index."""
        places = np.arange(start, min(stop, self.num_items()))
        for raw in read_records(location(self.path, "dataset"), take(self.records, places)):
            one = decoded(raw)
            if isinstance(one, Quarantined):
                yield Failure(one.material_id, one.reason)
            else:
                yield one


@functools.lru_cache(maxsize=1)
def _records(path: str, fingerprint: str) -> pd.DataFrame:
    folder = location(path, "dataset")
    manifest = Manifest.load(folder)
    if manifest.dataset_fingerprint != fingerprint:
        raise RunError(f"{folder} was replaced while it was read: run the job again, with --fresh")
    return manifest.records(folder)


def rows_of(settings: AppliedSettings, workspace: Workspace) -> Source:
    """Give the rows of a job, with absolute paths.

    Raises:
        UserError: there are none; the message names the key.
    """
    if settings.dataset is not None:
        return DatasetRows.of(workspace.dataset(settings.dataset))
    assert settings.source is not None
    located = settings.source.located()
    check_not_empty(located)
    return located


def num_rows_of(rows: Source) -> int:
    """Count the rows, as far as is known; a file may turn out to hold many.

    Raises:
        UserError: there are none.
    """
    num_rows = rows.num_items()
    if num_rows == 0:
        raise UserError("the input has no rows: check source or dataset")
    return num_rows


def parts_of(rows: Source, rows_per_part: int) -> list[Part]:
    """Cut all rows into parts, which depend on the input alone.

    Raises:
        UserError: there are no rows.
    """
    num_rows = num_rows_of(rows)
    if isinstance(rows, DatasetRows):
        units = split_into_units(
            np.arange(num_rows)[:, None],
            rows.records["size_bytes"].to_numpy(),
            limit_bytes=_MAX_PART_BYTES,
            limit_records=rows_per_part,
        )
        spans = [(int(unit[0]), int(unit[-1]) + 1) for unit in units]
    else:
        starts = range(0, num_rows, rows_per_part)
        spans = [(start, min(start + rows_per_part, num_rows)) for start in starts]
    return [Part(number, *span) for number, span in enumerate(spans)]


def read(
    rows: Source, start: int, stop: int, limits: Limits, reading: Reading = usual_items
) -> list[Record | Quarantined]:
    """Read a slice of the rows, with a reason in the place of what cannot be read or be right.

    A failure that concerns a part of a record follows the record, as the source gives it.
    """
    with reading(rows, start, stop, limits) as items:
        return [_checked(one) for one in items]


def _checked(one: Record | Failure) -> Record | Quarantined:
    if isinstance(one, Failure):
        return Quarantined(one.material_id, one.reason)
    try:
        if one.structure is not None:
            validate(one.structure)
    except ValueError as error:
        return Quarantined(one.material_id, str(error))
    return one
