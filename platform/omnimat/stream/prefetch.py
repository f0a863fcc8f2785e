"""Reading ahead in a thread, where no other process does it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from omnimat.base.ahead import ahead
from omnimat.stream.source import Source
from omnimat.stream.unit import ReadUnit
from omnimat.stream.worker import Pipeline


def prefetched(pipeline: Pipeline, num_tables: int) -> Pipeline:
    """Let a pipeline prepare ``num_tables`` tables while the trainer works on another."""

    def prefetching(
        source: Source, units: Sequence[ReadUnit], num_records: int
    ) -> Iterator[pa.Table]:
        return ahead(pipeline(source, units, num_records), num_tables)

    return prefetching
