"""Structures, densities of states and charge densities, made from what the service gives."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnimat.materials.record import Structure
from omnimat.modalities.charge_density.resampling import resampled
from omnimat.modalities.dos import DensityOfStates
from omnimat.modalities.dos.computed import relative_to_fermi_level
from omnimat.sources.materials_project.parts import Document
from omnimat.sources.materials_project.patience import Refused

# A charge density belongs to the cell of its own calculation. Functionals change lengths by a few
# per cent, and another choice of the cell changes them more.
_CELL_TOLERANCE = 0.1
_ANGLE_TOLERANCE_DEGREE = 5.0


def structure_of(value: Mapping[str, Any] | None) -> Structure:
    """Convert pymatgen's dictionary of a structure, in its own cell.

    Raises:
        ValueError: there is none, or a site is partially occupied.
    """
    from pymatgen.core import Element

    if value is None:
        raise ValueError("no structure")
    numbers = []
    for site in value["sites"]:
        species = site["species"]
        if len(species) != 1 or abs(species[0].get("occu", 1) - 1) > 1e-8:
            raise ValueError(f"partial occupancy: a site holds {species}")
        numbers.append(Element(species[0]["element"]).Z)
    coords = np.array([site["abc"] for site in value["sites"]], dtype=np.float64)
    return Structure(
        lattice_angstrom=np.array(value["lattice"]["matrix"], dtype=np.float64),
        atomic_numbers=np.array(numbers, dtype=np.int32),
        frac_coords=np.mod(coords.reshape(-1, 3), 1.0),
    )


def dos_document(task_id: str, row: Mapping[str, Any]) -> Document:
    """Keep a row of the table of total densities of states: energies in eV, densities per eV."""
    names = ("energies", "spin_up_densities", "spin_down_densities")
    arrays = {name: np.array(row[name], dtype=np.float64) for name in names if row.get(name)}
    return Document({"task_id": task_id, "efermi": row["efermi"]}, arrays)


def charge_density_document(task_id: str, data: bytes, num_points: int) -> Document:
    """Bring a CHGCAR to a coarse grid by cutting or padding its Fourier series.

    That keeps the number of electrons, which is the mean of the grid.

    Args:
        task_id: the id of the calculation.
        data: gzipped JSON of a document that holds pymatgen's ``Chgcar``.
        num_points: how many points the grid is to have along each axis.

    Raises:
        Refused: the bytes hold something else.
    """
    import orjson

    try:
        chgcar = orjson.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)["data"]
        structure = structure_of(chgcar["poscar"]["structure"])
        grid = np.array(chgcar["data"]["total"]["data"], dtype=np.float64)
        if grid.ndim != 3 or not np.isfinite(grid).all():
            raise ValueError(f"the grid has shape {grid.shape}, or numbers that are not finite")
    except (OSError, EOFError, ValueError, KeyError, TypeError, IndexError) as error:
        raise Refused(f"the CHGCAR of {task_id} is damaged: {error}") from error
    return Document(
        {"task_id": task_id, "shape": list(grid.shape)},
        {
            "grid": resampled(grid, num_points).astype(np.float32),
            "lattice_angstrom": structure.lattice_angstrom,
            "atomic_numbers": structure.atomic_numbers,
        },
    )


def dos_of(document: Document, _structure: Structure) -> DensityOfStates:
    """Put the Fermi level at zero and tell the spins apart.

    Raises:
        ValueError: a record cannot hold it; the message says why.
    """
    arrays, efermi_ev = document.arrays, document.values["efermi"]
    if efermi_ev is None or not {"energies", "spin_up_densities"} <= arrays.keys():
        raise ValueError("it lacks its curve or its Fermi energy")
    up, down = arrays["spin_up_densities"], arrays.get("spin_down_densities")
    return relative_to_fermi_level(arrays["energies"], efermi_ev, up, down)


def charge_density_of(document: Document, structure: Structure) -> NDArray[np.float32]:
    """Give the grid, which must be one over the cell of this structure.

    Raises:
        ValueError: it is of another cell.
    """
    arrays = document.arrays
    same_atoms = np.array_equal(
        np.sort(arrays["atomic_numbers"]), np.sort(structure.atomic_numbers)
    )
    if not same_atoms or not _same_cell(arrays["lattice_angstrom"], structure.lattice_angstrom):
        raise ValueError("it was computed in another cell than the structure's")
    return np.asarray(arrays["grid"], dtype=np.float32)


def _same_cell(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    from pymatgen.core import Lattice

    ours, theirs = Lattice(first), Lattice(second)
    return bool(
        np.allclose(ours.abc, theirs.abc, rtol=_CELL_TOLERANCE, atol=0)
        and np.allclose(ours.angles, theirs.angles, rtol=0, atol=_ANGLE_TOLERANCE_DEGREE)
    )
