"""Reads MP-20 in the csv layout of CDVAE (Xie et al., 2022)."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Iterator, Mapping
from typing import Any, Literal, Self

import pandas as pd
from pydantic import Field
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.settings import Settings
from omnimat.materials.crystals import (
    crystal_system,
    from_pymatgen,
    lattice_properties,
    niggli_reduced,
    parse_cif,
)
from omnimat.materials.record import Failure, Record
from omnimat.materials.split import PUBLISHED_SPLIT, Split
from omnimat.sources.base import absolute_path

_SPLIT_OF_STEM: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}
_PROPERTY_OF_COLUMN = {
    "formation_energy_per_atom": "formation_energy_ev_per_atom",
    "band_gap": "band_gap_ev",
    "e_above_hull": "energy_above_hull_ev_per_atom",
}
_REQUIRED_COLUMNS = {"material_id", "cif"}
_PROVENANCE = {"source": "MP-20", "licence": "CC-BY-4.0"}


class Mp20(Settings):
    """The csv files of MP-20, plain or gzipped.

    Structures are Niggli-reduced when they are read, as in CDVAE.

    Attributes:
        path: a folder with ``train.csv``, ``val.csv`` and ``test.csv`` (each may be ``.csv.gz``),
            whose split is kept, or a single csv file, which is split by a hash.
        max_records_per_split: number of rows that are kept from the beginning of each file.
        database_version: version of the data, which is recorded in the provenance.
    """

    type: Literal["mp20"] = "mp20"
    path: str
    max_records_per_split: int | None = Field(None, ge=1)
    database_version: str = "MP-20 (Materials Project, July 2021)"

    def located(self) -> Self:
        """Resolve ``path``."""
        return self.model_copy(update={"path": absolute_path(self.path, "source.path")})

    def inputs(self) -> dict[str, UPath]:
        """Return the csv files."""
        return {file.name: file for file, _ in _files(UPath(self.path))}

    def num_items(self) -> int:
        """Return the number of rows in all files."""
        return len(_table(self.path, self.max_records_per_split))

    def read(self, start: int, stop: int) -> Iterator[Record | Failure]:
        """Parse the rows of a slice, with the files in the order train, validation, test."""
        rows = _table(self.path, self.max_records_per_split).iloc[start:stop]
        for row in rows.to_dict("records"):
            try:
                crystal = niggli_reduced(parse_cif(row["cif"]))
                structure = from_pymatgen(crystal)
                properties = _properties(row) | lattice_properties(crystal)
            except ValueError as error:
                yield Failure(str(row["material_id"]), str(error))
                continue
            provenance = {**_PROVENANCE, "database_version": self.database_version}
            if row["split"]:
                provenance[PUBLISHED_SPLIT] = row["split"]
            yield Record(
                material_id=str(row["material_id"]),
                parts={"structure": structure},
                properties=properties,
                provenance=provenance,
            )


def _properties(row: Mapping[Hashable, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {
        name: float(row[column])
        for column, name in _PROPERTY_OF_COLUMN.items()
        if pd.notna(row.get(column))
    }
    number = row.get("spacegroup.number")
    if pd.notna(number):
        properties["space_group_number"] = int(number)
        properties["crystal_system"] = crystal_system(int(number))
    return properties


@functools.lru_cache(maxsize=1)
def _table(path: str, max_records_per_split: int | None) -> pd.DataFrame:
    """Read all files at once, since a csv has no row ranges and a process reads several slices."""
    frames = []
    for file, split in _files(UPath(path)):
        compression: Literal["gzip"] | None = "gzip" if file.suffix == ".gz" else None
        with file.open("rb") as stream:
            frame = pd.read_csv(stream, nrows=max_records_per_split, compression=compression)
        if missing := _REQUIRED_COLUMNS - set(frame.columns):
            raise UserError(f"source.path: {file} lacks the columns {', '.join(sorted(missing))}")
        frames.append(frame.assign(split=split))
    return pd.concat(frames, ignore_index=True)


def _files(path: UPath) -> list[tuple[UPath, Split | Literal[""]]]:
    if not path.is_dir():
        return [(path, "")]
    found: list[tuple[UPath, Split | Literal[""]]] = []
    for stem, split in _SPLIT_OF_STEM.items():
        candidates = [path / f"{stem}.csv", path / f"{stem}.csv.gz"]
        found += [(file, split) for file in candidates if file.exists()][:1]
    if not found:
        raise UserError(f"source.path: {path} holds no train.csv, val.csv or test.csv")
    return found
