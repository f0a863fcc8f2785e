"""The index of the records against the records: all it says is read from the records again.

A reduced formula counts as a name. What is checked is that each name stands for one composition.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from upath import UPath

from omnimat.modalities.registry import parts
from omnimat.shards.manifest import shard_name
from omnimat.shards.reader import parse_members
from omnimat.verification.outcome import named


@dataclass(frozen=True, slots=True)
class IndexCheck:
    """An index that is compared with one shard after another.

    Attributes:
        path: where the index lies.
        records: its lines, one for each record.
        shards: the name of the shard that each record lies in.
        told: what the records read so far say about themselves, by their line in the index.
    """

    path: UPath
    records: pd.DataFrame
    shards: pd.Series[str]
    told: dict[int, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, path: UPath, records: pd.DataFrame) -> IndexCheck:
        """Begin before any shard is read."""
        return cls(path, records, records["shard"].map(shard_name))

    def read(self, shard: UPath, data: bytes) -> Iterator[str]:
        """Read the records that should lie in a shard, and name those that do not.

        Args:
            shard: where the shard lies.
            data: its content.
        """
        of_shard = self.records[self.shards == shard.name]
        where = of_shard[["material_id", "offset_bytes", "size_bytes"]]
        for place, material_id, start, size in where.itertuples(name=None):
            try:
                members = parse_members(data[start : start + size], material_id)
                self.told[place] = _told(members)
            except (ValueError, KeyError, TypeError) as error:
                yield f"{shard}: material {material_id} is not where {self.path} says: {error}"

    def faults(self, shards: set[str]) -> Iterator[str]:
        """Compare the index with everything that was read.

        Args:
            shards: the names of the shards in the manifest.
        """
        ids = self.records["material_id"]
        if (lost := ids[~self.shards.isin(shards)]).size:
            yield f"{self.path}: material {named(lost)} is in no shard of the manifest"
        told = pd.DataFrame.from_dict(self.told, orient="index")
        said = self.records.loc[told.index]
        for name in told.columns.drop("composition", errors="ignore"):
            # An older omnimat did not write all of these.
            differ = said[name].notna() & (said[name] != told[name])
            if differ.any():
                yield f"{self.path}: {name} of material {named(ids[told.index][differ])} is wrong"
        if len(told):
            yield from self._formula_faults(told["composition"])

    def _formula_faults(self, compositions: pd.Series[Any]) -> Iterator[str]:
        names = self.records["reduced_formula"].loc[compositions.index]
        pairs = pd.DataFrame({"name": names, "composition": compositions})
        once = pairs.drop_duplicates()
        for column in once.columns:
            twice = set(once[column][once[column].duplicated()])
            if wrong := pairs.index[pairs[column].isin(twice)].tolist():
                found = named(self.records["material_id"].loc[wrong])
                yield f"{self.path}: reduced_formula of material {found} is not that of its atoms"


def _told(members: dict[str, bytes]) -> dict[str, Any]:
    """Give what a record's own bytes say of the columns of the index."""
    has = {f"has_{name}": stored.extension in members for name, stored in parts().items()}
    numbers: list[int] = []
    if "structure.json" in members:
        numbers = json.loads(members["structure.json"])["atomic_numbers"]
    composition: tuple[tuple[int, float], ...] | None = None
    if numbers:
        elements, counts = np.unique(np.array(numbers), return_counts=True)
        composition = _reduced(elements.tolist(), counts.tolist())
    elif "composition.json" in members:
        given = json.loads(members["composition.json"])
        composition = _reduced(given["atomic_numbers"], given["amounts"])
    return {"num_atoms": len(numbers) or None, "composition": composition, **has}


def _reduced(elements: list[int], amounts: list[float]) -> tuple[tuple[int, float], ...]:
    """Divide whole amounts by what they have in common; others are left as they are."""
    common = math.gcd(*map(int, amounts)) if all(float(a).is_integer() for a in amounts) else 1
    return tuple(zip(elements, [amount / common for amount in amounts], strict=True))
