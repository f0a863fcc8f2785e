"""The first of two actors: it reads and featurizes parts of the input. It loads no torch.

To the second one goes a row for each part, whose features are one cell of bytes, so that Ray Data
does not divide them. An error that explains itself stands in the place of features, since Ray Data
would bury its sentence in tracebacks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from omnimat.base.child import Limits
from omnimat.base.errors import RunError, UserError
from omnimat.base.lease import Fence
from omnimat.base.retry import patiently
from omnimat.inference.features import featurized
from omnimat.materials.record import Record
from omnimat.modalities.batch import Quarantined
from omnimat.modalities.layout import Featurizer
from omnimat.prediction.parts import Tries
from omnimat.prediction.rows import Part, read
from omnimat.prediction.settings import Wanted
from omnimat.search.materials import FACTS, FORMULA, facts_told, formula_told
from omnimat.sources.base import Source
from omnimat.sources.items import guarded_items

ERROR, FEATURES, READ_S, FEATURIZE_S = "error", "features", "read_s", "featurize_s"


def block_of(part: Part, **cells: pa.Array | list[object]) -> pa.Table:
    """Make the row of a part, with more cells."""
    return pa.table({**{name: [value] for name, value in part._asdict().items()}, **cells})


def part_of(block: pa.Table) -> Part:
    """Give the part of a row."""
    return Part(*(block[name][0].as_py() for name in Part._fields))


def features_of(block: pa.Table) -> pa.Table:
    """Give the features in a row, without a copy."""
    return pa.ipc.open_stream(block[FEATURES][0].as_buffer()).read_all()


def features_and_told(
    records: Sequence[Record | Quarantined],
    featurizers: Mapping[str, Featurizer],
    wanted: Wanted = "predictions",
) -> pa.Table:
    """Featurize N materials, by their ids, with columns of what their records tell.

    See ``omnimat.inference.features.featurized`` for the other columns.
    """
    table = featurized([one.material_id for one in records], records, featurizers)
    for name, tell in told_of(wanted).items():
        told = [None if isinstance(one, Quarantined) else tell(one) for one in records]
        table = table.append_column(name, pa.array(told, pa.string()))
    return table


def told_of(wanted: Wanted) -> Mapping[str, Callable[[Record], str | None]]:
    """Give the columns of what records tell: their formula or, for an index, all that is known."""
    return {FACTS: facts_told} if wanted == "index" else {FORMULA: formula_told}


class Featurize:
    """Reads and featurizes parts."""

    def __init__(
        self,
        rows: Source,
        featurizers: Mapping[str, Featurizer],
        limits: Limits,
        fence: Fence,
        wanted: Wanted = "predictions",
    ) -> None:
        """Read for the holder of a folder.

        Args:
            rows: the input.
            featurizers: one a modality.
            limits: limits of reading one row.
            fence: the right to the folder in which the job writes.
            wanted: what the job makes.
        """
        self._wanted: Wanted = wanted
        self._rows, self._featurizers, self._limits = rows, featurizers, limits
        self._tries = Tries(fence)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Read and featurize a part."""
        part = part_of(block)
        try:
            return self._featurized(part)
        except (RunError, UserError, FileNotFoundError) as error:
            return block_of(part, **{ERROR: [str(error)]})

    def _featurized(self, part: Part) -> pa.Table:
        with self._tries.of(part) as was_in_vain:
            started_s = time.perf_counter()
            what = f"rows {part.start} to {part.stop - 1} of the input"
            records = patiently(lambda: self._records(part, was_in_vain), what)
            read_s = time.perf_counter() - started_s
            features = features_and_told(records, self._featurizers, self._wanted)
            featurize_s = time.perf_counter() - started_s - read_s
        cells = {FEATURES: _cell(features), READ_S: [read_s], FEATURIZE_S: [featurize_s]}
        return block_of(part, **cells, **{ERROR: [""]})

    def _records(self, part: Part, was_in_vain: bool) -> list[Record | Quarantined]:
        """Read in this process or, where that went wrong, item by item in a child of it."""
        span = (part.start, part.stop, self._limits)
        if was_in_vain:
            return read(self._rows, *span, guarded_items)
        try:
            return read(self._rows, *span)
        except MemoryError:
            return read(self._rows, *span, guarded_items)


def _cell(table: pa.Table) -> pa.Array:
    """Make one cell of a table, of which nothing is copied a second time."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data = sink.getvalue()
    offsets = pa.py_buffer(np.array([0, data.size], np.int64))
    return pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, data])
