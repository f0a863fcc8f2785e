"""A training that is cut off after some steps, as if its process had been killed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import pyarrow as pa

from omnimat.stream.source import Source
from omnimat.stream.unit import ReadUnit
from omnimat.stream.worker import Pipeline, in_process


class KilledError(Exception):
    """The training was cut off."""


def killed_after(num_steps: int) -> Pipeline:
    """Return a pipeline that delivers ``num_steps`` batches and then fails."""

    def pipeline(source: Source, units: Sequence[ReadUnit], num_records: int) -> Iterator[pa.Table]:
        yield from itertools.islice(in_process(source, units, num_records), num_steps)
        raise KilledError

    return pipeline
