"""The crystal systems of tested materials, which only their records tell."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import partial
from threading import Lock

import pandas as pd

from omnimat.materials.crystals import crystal_system
from omnimat.shards.codec import PROPERTIES
from omnimat.shards.reader import RawRecord
from omnimat_dashboard.artifacts import Artifacts, Found, attempt

MAX_READ_BYTES = 512 << 20  # of the records of one result
_MAX_REMEMBERED = 4  # data sets
_AT_ONCE = 1_000  # records in memory


class Systems:
    """Reads crystal systems from the records of data sets, each once."""

    def __init__(self, artifacts: Artifacts) -> None:
        """Read from a storage."""
        self._artifacts = artifacts
        self._lock = Lock()
        self._known: dict[tuple[str, str], dict[str, str | None]] = {}

    def of(
        self, dataset: str, fingerprint: str, index: pd.DataFrame, ids: Iterable[str]
    ) -> Found[Mapping[str, str]]:
        """Give the crystal systems of materials, as far as their records name them.

        Args:
            dataset: name of their data set.
            fingerprint: its fingerprint.
            index: the index of its records.
            ids: the materials.
        """
        wanted = set(ids)
        with self._lock:  # of several who ask, one reads
            known = self._of_dataset((dataset, fingerprint))
            rows = index[index["material_id"].isin(wanted - known.keys())]
            if reason := self._read(dataset, rows, known):
                return Found(None, reason)
            found = {one: name for one in wanted if (name := known.get(one)) is not None}
        if not found:
            return Found(None, "no record names its crystal_system or space_group_number")
        return Found(found)

    def _of_dataset(self, key: tuple[str, str]) -> dict[str, str | None]:
        while key not in self._known and len(self._known) >= _MAX_REMEMBERED:
            del self._known[next(iter(self._known))]
        return self._known.setdefault(key, {})

    def _read(self, dataset: str, rows: pd.DataFrame, known: dict[str, str | None]) -> str:
        """Read what is not known yet; give the reason why that is not possible, if it is not."""
        if (size_bytes := int(rows["size_bytes"].sum())) > MAX_READ_BYTES:
            return f"the records of these materials have {size_bytes >> 20:,} MiB"
        for start in range(0, len(rows), _AT_ONCE):
            some = rows.iloc[start : start + _AT_ONCE]
            read = attempt(partial(self._artifacts.raw_records, dataset, some))
            if read.value is None:
                return read.reason
            known.update((one.material_id, _system(one)) for one in read.value)
        return ""


def _system(record: RawRecord) -> str | None:
    """Give the crystal system that a record names; None of a record that is damaged."""
    try:
        properties = json.loads(record.members.get(PROPERTIES, b"{}"))
        number = properties.get("space_group_number")
        named = properties.get("crystal_system") or (number and crystal_system(int(number)))
    except (ValueError, TypeError, AttributeError):
        return None
    return named if isinstance(named, str) else None
