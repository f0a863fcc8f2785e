"""Reading ahead in a thread, where no other process does it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from omnimat.stream.source import Source
from omnimat.stream.unit import ReadUnit
from omnimat.stream.worker import Pipeline


def prefetched(pipeline: Pipeline, num_tables: int) -> Pipeline:
    """Let a pipeline prepare ``num_tables`` tables while the trainer works on another."""

    def ahead(source: Source, units: Sequence[ReadUnit], num_records: int) -> Iterator[pa.Table]:
        tables = pipeline(source, units, num_records)
        thread = ThreadPoolExecutor(1)
        try:
            waiting = deque(thread.submit(next, tables, None) for _ in range(num_tables))
            while (table := waiting.popleft().result()) is not None:
                waiting.append(thread.submit(next, tables, None))
                yield table
        finally:
            thread.shutdown(cancel_futures=True)

    return ahead
