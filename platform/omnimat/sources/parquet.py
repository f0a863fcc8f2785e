"""Reads Parquet tables in two layouts.

If the energies of a density of states do not increase, it is left out, and the provenance says so.

The layout ``multimodal`` has one row per material. Every column except the id may be missing, or
null where that part of the material is not known; the four of the structure belong together:

=========================  =========================================================================
``material_id``            string
``lattice_abc_angstrom``   list of 3
``lattice_angles_degree``  list of 3
``atomic_numbers``         list of n
``frac_coords``            list of 3 n, atom by atom
``dos_energies_ev``        list, relative to the Fermi level, increasing
``dos_spin_up_per_ev``     list of the same length
``charge_density_32``      float16 bytes of a (32, 32, 32) grid, density x cell volume, axes a, b, c
``matbert_cls_768``        float16 bytes of a text embedding of width 768
``robocrys_text``          string
``formula``                string, such as Li0.5CoO2
``xrd_two_theta_degree``   list of scattering angles, increasing
``xrd_intensity``          list of the same length
``xrd_wavelength_angstrom``  number; where it is null, the featurizer's own is assumed
=========================  =========================================================================

and the properties ``bulk_modulus_gpa``, ``shear_modulus_gpa``, ``elastic_lower_5x5_gpa`` (15
numbers, the lower triangle of the upper left 5 x 5 Voigt block, row by row),
``e_form_aviary2019`` (stored as ``formation_energy_ev_per_atom``) and ``band_gap_pbe_aviary2020``
(stored as ``band_gap_ev``).

The layout ``cells`` has only structures: ``material_id``; ``a, b, c`` (angstrom);
``alpha, beta, gamma`` (degree); ``Z`` (list of n); ``fx, fy, fz`` (lists of n integers, fractional
coordinates times ``frac_scale`` of the schema's metadata); ``spg_symprec0.1`` (space group number).
Labels may come from a second table, ``labels_path``, which is joined by ``material_id``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.settings import Settings
from omnimat.materials.crystals import (
    crystal_system,
    lattice_from_parameters,
    symmetry_properties,
    to_pymatgen,
)
from omnimat.materials.record import Failure, Record, Structure
from omnimat.modalities.composition import Formula
from omnimat.modalities.composition.query import parse_formula
from omnimat.modalities.dos import DensityOfStates
from omnimat.modalities.xrd import MeasuredPattern
from omnimat.sources.base import absolute_path

Layout = Literal["multimodal", "cells"]
_Row = Mapping[str, Any]

_GRID_SHAPE = (32, 32, 32)
_MULTIMODAL_PROPERTIES = {
    "bulk_modulus_gpa": "bulk_modulus_gpa",
    "shear_modulus_gpa": "shear_modulus_gpa",
    "elastic_lower_5x5_gpa": "elastic_lower_5x5_gpa",
    "e_form_aviary2019": "formation_energy_ev_per_atom",
    "band_gap_pbe_aviary2020": "band_gap_ev",
}
_LABELS = {
    "log10_bulk_modulus_vrh_gpa": "log10_bulk_modulus_vrh_gpa",
    "log10_shear_modulus_vrh_gpa": "log10_shear_modulus_vrh_gpa",
    "band_gap_pbe_ev": "band_gap_ev",
    "formation_energy_ev_per_atom": "formation_energy_ev_per_atom",
    "band_gap_hse_ev": "band_gap_hse_ev",
    "refractive_index": "refractive_index",
    "e_above_hull_ev_per_atom": "energy_above_hull_ev_per_atom",
}
_CELL_PARAMETERS = ("a", "b", "c", "alpha", "beta", "gamma")
_REQUIRED_COLUMNS: Mapping[Layout, tuple[str, ...]] = {
    "multimodal": ("material_id",),
    "cells": ("material_id", *_CELL_PARAMETERS, "Z", "fx", "fy", "fz"),
}


class Parquet(Settings):
    """A Parquet file in one of the layouts of this module.

    Attributes:
        path: path of the file.
        layout: ``multimodal`` or ``cells``.
        labels_path: path of a table of labels for ``cells``.
        max_records: number of rows that are kept from the beginning.
        source_name: name of the source, which is recorded in the provenance.
        licence: licence of the data, which is recorded in the provenance.
        database_version: version of the data, which is recorded in the provenance.
    """

    type: Literal["parquet"] = "parquet"
    path: str
    layout: Layout
    labels_path: str | None = None
    max_records: int | None = Field(None, ge=1)
    source_name: str = "Materials Project"
    licence: str = "CC-BY-4.0"
    database_version: str = "unknown"

    def located(self) -> Self:
        """Resolve the paths."""
        update = {"path": absolute_path(self.path, "source.path")}
        if self.labels_path is not None:
            update["labels_path"] = absolute_path(self.labels_path, "source.labels_path")
        return self.model_copy(update=update)

    def inputs(self) -> dict[str, UPath]:
        """Return the tables by their keys."""
        paths = {"path": self.path, "labels_path": self.labels_path}
        return {key: UPath(path) for key, path in paths.items() if path is not None}

    def num_items(self) -> int:
        """Return the number of rows of the table."""
        with UPath(self.path).open("rb") as file:
            table = pq.ParquetFile(file)
            columns = set(table.schema_arrow.names)
            if missing := set(_REQUIRED_COLUMNS[self.layout]) - columns:
                raise UserError(
                    f"source.path: {self.path} lacks the columns {', '.join(sorted(missing))} "
                    f"of the layout {self.layout}"
                )
            num_rows = int(table.metadata.num_rows)
        return min(num_rows, self.max_records or num_rows)

    def read(self, start: int, stop: int) -> Iterator[Record | Failure]:
        """Read the row groups that hold the slice, and convert its rows."""
        labels = {} if self.labels_path is None else _labels(self.labels_path)
        rows = read_slice(UPath(self.path), start, min(stop, self.num_items()))
        scale = float((rows.schema.metadata or {}).get(b"frac_scale", b"1"))
        for batch in rows.to_batches(max_chunksize=64):
            for row in batch.to_pylist():
                yield self._convert(row, labels.get(row["material_id"], {}), scale)

    def _convert(self, row: _Row, labels: _Row, scale: float) -> Record | Failure:
        try:
            if self.layout == "multimodal":
                return self._multimodal(row)
            return self._cell(row, labels, scale)
        except ValueError as error:
            return Failure(row["material_id"], str(error))

    def _multimodal(self, row: _Row) -> Record:
        properties, provenance = _renamed(row, _MULTIMODAL_PROPERTIES), self._provenance()
        parts = {
            name: part
            for name, convert in _PARTS.items()
            if (part := convert(row, provenance)) is not None
        }
        if "structure" in parts:
            properties |= symmetry_properties(to_pymatgen(parts["structure"]))
        return Record(row["material_id"], parts, properties, provenance)

    def _cell(self, row: _Row, labels: _Row, scale: float) -> Record:
        if not row["Z"]:
            raise ValueError("no structure")
        coords = np.array([row["fx"], row["fy"], row["fz"]], dtype=np.float64).T / scale
        structure = Structure(
            lattice_from_parameters([row[name] for name in _CELL_PARAMETERS]),
            np.array(row["Z"], dtype=np.int32),
            np.mod(coords, 1.0),
        )
        properties = _renamed(labels, _LABELS)
        if number := row.get("spg_symprec0.1"):
            properties |= {"space_group_number": number, "crystal_system": crystal_system(number)}
        return Record(
            material_id=row["material_id"],
            parts={"structure": structure},
            properties=properties,
            provenance=self._provenance(),
        )

    def _provenance(self) -> dict[str, str]:
        return {
            "source": self.source_name,
            "licence": self.licence,
            "database_version": self.database_version,
        }


def read_slice(path: UPath, start: int, stop: int) -> pa.Table:
    """Read the rows from ``start`` to before ``stop``, decoding only the row groups they are in."""
    with path.open("rb") as file:
        table = pq.ParquetFile(file)
        sizes = [table.metadata.row_group(i).num_rows for i in range(table.num_row_groups)]
        ends = np.cumsum(sizes)
        begins = ends - sizes
        groups = np.flatnonzero((ends > start) & (begins < stop))
        if groups.size == 0:
            return table.schema_arrow.empty_table()
        rows = table.read_row_groups(groups.tolist())
        return rows.slice(start - int(begins[groups[0]]), stop - start)


@functools.lru_cache(maxsize=1)
def _labels(path: str) -> dict[str, dict[str, Any]]:
    with UPath(path).open("rb") as file:
        columns = set(pq.ParquetFile(file).schema_arrow.names)
        table = pq.read_table(file, columns=["material_id", *(columns & set(_LABELS))])
    return {row["material_id"]: row for row in table.to_pylist()}


def _renamed(row: _Row, names: Mapping[str, str]) -> dict[str, Any]:
    """Keep the values that are not null, under their own names."""
    return {name: row[column] for column, name in names.items() if row.get(column) is not None}


def _structure(row: _Row, provenance: dict[str, str]) -> Structure | None:
    del provenance
    if not row.get("atomic_numbers") or not row.get("frac_coords"):
        return None
    return Structure(
        lattice_from_parameters(row["lattice_abc_angstrom"] + row["lattice_angles_degree"]),
        np.array(row["atomic_numbers"], dtype=np.int32),
        np.mod(np.array(row["frac_coords"], dtype=np.float64).reshape(-1, 3), 1.0),
    )


def _dos(row: _Row, provenance: dict[str, str]) -> DensityOfStates | None:
    energies, density = row.get("dos_energies_ev"), row.get("dos_spin_up_per_ev")
    if energies is None or density is None:
        return None
    if not (np.diff(energies) > 0).all():
        provenance["dos"] = "left out: its energies do not increase"
        return None
    return DensityOfStates(np.array(energies, np.float32), np.array(density, np.float32))


def _charge_density(row: _Row, provenance: dict[str, str]) -> NDArray[np.float16] | None:
    del provenance
    data = row.get("charge_density_32")
    return None if data is None else np.frombuffer(data, dtype=np.float16).reshape(_GRID_SHAPE)


def _text(row: _Row, provenance: dict[str, str]) -> str | None:
    del provenance
    text: str | None = row.get("robocrys_text")
    return text


def _text_embedding(row: _Row, provenance: dict[str, str]) -> NDArray[np.float16] | None:
    del provenance
    data = row.get("matbert_cls_768")
    return None if data is None else np.frombuffer(data, dtype=np.float16)


def _xrd(row: _Row, provenance: dict[str, str]) -> MeasuredPattern | None:
    angles, intensity = row.get("xrd_two_theta_degree"), row.get("xrd_intensity")
    if angles is None or intensity is None:
        return None
    provenance["xrd"] = "given in the table"
    return MeasuredPattern(
        np.array(angles, np.float32),
        np.array(intensity, np.float32),
        row.get("xrd_wavelength_angstrom"),
    )


def _composition(row: _Row, provenance: dict[str, str]) -> Formula | None:
    text = row.get("formula")
    if text is None:
        return None
    formula = parse_formula(text)
    if formula is None:
        raise ValueError(f"formula: {text!r} is no chemical formula")
    provenance["composition"] = "given in the table"
    return formula


_PARTS: Mapping[str, Callable[[_Row, dict[str, str]], Any]] = {
    "structure": _structure,
    "dos": _dos,
    "charge_density": _charge_density,
    "text": _text,
    "text_embedding": _text_embedding,
    "xrd": _xrd,
    "composition": _composition,
}
