"""A Ray Data source of planned read units, since Ray's own WebDataset reader loses records.

Ray's ``read_webdataset`` drops samples after a transient error, a whole shard for one bad sample,
and holds 512 samples of any size. Here each read task gives exactly the records of its unit, in
the unit's order; what cannot be read is a row with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

from omnimat.stream.unit import ReadUnit


class UnitDatasource(Datasource):  # type: ignore[misc]
    """One read task per unit."""

    def __init__(self, units: Sequence[ReadUnit], read: Callable[[ReadUnit], pa.Table]) -> None:
        super().__init__()
        self._units = units
        self._read = read

    def estimate_inmemory_data_size(self) -> int:
        """Give the bytes of all units."""
        return sum(unit.size_bytes for unit in self._units)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """Give one task a unit, whatever parallelism Ray would like."""
        return [
            ReadTask(
                partial(_blocks, self._read, unit),
                BlockMetadata(
                    num_rows=len(unit.records),
                    size_bytes=unit.size_bytes,
                    exec_stats=None,
                    task_exec_stats=None,
                    input_files=None,
                ),
                per_task_row_limit=per_task_row_limit,
            )
            for unit in self._units
        ]


def _blocks(read: Callable[[ReadUnit], pa.Table], unit: ReadUnit) -> list[pa.Table]:
    return [read(unit)]
