"""Single records of the data sets in a storage, each read from its shard when it is asked for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any

import pandas as pd

from omnimat.materials.record import Record, Structure
from omnimat.shards.codec import decode
from omnimat.shards.manifest import Manifest
from omnimat.shards.reader import RawRecord
from omnimat_dashboard.artifacts import Artifacts, Found, attempt

# Parts that pages show. A charge density takes megabytes, and nothing here draws it.
SHOWN_PARTS = ("structure", "xrd", "dos", "text", "composition")
_READ = frozenset({*SHOWN_PARTS, "properties", "provenance"})
MAX_RECORD_BYTES = 64 << 20  # as it lies in the shard, with its charge density
MAX_SHOWN_BYTES = 4 << 20  # of one part
_MAX_REMEMBERED = 6  # indexes of data sets
_PROBE = 20  # names by which a data set is recognised


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record, and what the index of its data set says of it.

    Attributes:
        record: the parts of it that pages show.
        split: the split to which it belongs.
        reduced_formula: its formula; empty where none is known.
        num_atoms: atoms in its cell; None where no structure is known.
        held: names of all parts that it has, shown or not.
    """

    record: Record
    split: str
    reduced_formula: str
    num_atoms: int | None
    held: tuple[str, ...]


class Records:
    """The records of all data sets, whose indexes are remembered as long as they stay the same."""

    def __init__(self, artifacts: Artifacts) -> None:
        """Read from a storage."""
        self._artifacts = artifacts
        self._lock = Lock()
        self._indexes: dict[str, tuple[str, pd.DataFrame]] = {}

    def index(self, dataset: str) -> Found[pd.DataFrame]:
        """Give the index of a data set, by the ids of its materials."""
        if dataset not in self._artifacts.datasets():
            return Found(None, f"there is no data set {dataset!r}")
        manifest = self._artifacts.manifest(dataset)
        if manifest.value is None:
            return Found(None, manifest.reason)
        with self._lock:
            sha256, table = self._indexes.get(dataset, ("", None))
            if table is None or sha256 != manifest.value.records_sha256:
                return self._read_index(dataset, manifest.value)
            return Found(table)

    def has(self, dataset: str, material_id: str) -> bool:
        """Say whether a data set has a material; a damaged index has none."""
        index = self.index(dataset).value
        return index is not None and material_id in index.index

    def read(self, dataset: str, material_id: str) -> Found[StoredRecord]:
        """Read one record; what cannot be read has its reason."""
        index = self.index(dataset)
        if index.value is None:
            return Found(None, index.reason)
        places = index.value.index.get_indexer(pd.Index([material_id]))
        if places[0] < 0:
            return Found(None, f"{dataset} has no material {material_id!r}")
        row = index.value.iloc[[places[0]]]
        return attempt(lambda: self._stored(dataset, row))

    def structures(self, dataset: str, names: Sequence[str]) -> dict[str, Structure]:
        """Read the crystals of a few materials at once, as far as they can be read."""
        index = self.index(dataset).value
        if index is None:
            return {}
        places = index.index.get_indexer(pd.Index(names))
        rows = index.iloc[places[places >= 0]]
        small = rows[rows["size_bytes"] <= MAX_RECORD_BYTES]
        read = attempt(lambda: self._artifacts.raw_records(dataset, small)).value or []
        decoded = (attempt(partial(_decoded, raw, {"structure"})).value for raw in read)
        return {
            one.material_id: one.structure
            for one in decoded
            if one is not None and one.structure is not None
        }

    def holds(self, dataset: str, names: Sequence[str] | pd.Series[Any]) -> bool:
        """Say whether materials of these names are in a data set; a few of them decide."""
        index = self.index(dataset).value
        probe = list(names[:: max(1, len(names) // _PROBE)])
        return index is not None and bool(
            probe and (index.index.get_indexer(pd.Index(probe)) >= 0).all()
        )

    def holding(self, names: Sequence[str], likely: str = "") -> str | None:
        """Find the data set to which materials belong.

        Args:
            names: their names.
            likely: name of the data set to look into first.
        """
        known = sorted(self._artifacts.datasets(), key=lambda name: name != likely)
        return next((dataset for dataset in known if self.holds(dataset, names)), None)

    def _read_index(self, dataset: str, manifest: Manifest) -> Found[pd.DataFrame]:
        found = self._artifacts.records(dataset, manifest)
        if found.value is None:
            return found
        table = found.value.set_index("material_id", drop=False)
        if not table.index.is_unique:
            return Found(None, f"the index of {dataset} names a material twice")
        while len(self._indexes) >= _MAX_REMEMBERED:
            del self._indexes[next(iter(self._indexes))]
        self._indexes[dataset] = (manifest.records_sha256, table)
        return Found(table)

    def _stored(self, dataset: str, row: pd.DataFrame) -> StoredRecord:
        facts = row.iloc[0]
        if int(facts["size_bytes"]) > MAX_RECORD_BYTES:
            raise ValueError(f"it has {facts['size_bytes']:,} bytes, which are too many to show")
        (raw,) = self._artifacts.raw_records(dataset, row)
        held = [str(one).removeprefix("has_") for one in row if str(one).startswith("has_")]
        return StoredRecord(
            record=_decoded(raw, _READ),
            split=str(facts["split"]),
            reduced_formula=_text(facts["reduced_formula"]),
            num_atoms=None if pd.isna(facts["num_atoms"]) else int(facts["num_atoms"]),
            held=tuple(one for one in held if facts[f"has_{one}"]),
        )


def _decoded(raw: RawRecord, wanted: Collection[str]) -> Record:
    if raw.quarantine_reason is not None:
        raise ValueError(raw.quarantine_reason)
    shown = {
        extension: data
        for extension, data in raw.members.items()
        if extension.partition(".")[0] in wanted and len(data) <= MAX_SHOWN_BYTES
    }
    return decode(raw.material_id, shown)


def _text(cell: Any) -> str:
    return "" if cell is None or cell != cell else str(cell)
