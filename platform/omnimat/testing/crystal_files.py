"""Writes crystals in every format of crystals that is read, by the libraries that people use."""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import ase.io
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from pymatgen.core import Structure
from pymatgen.entries.computed_entries import ComputedStructureEntry
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp import Poscar

Crystals = Mapping[str, Structure]
"""Crystals by their names."""

Writer = Callable[[Path, Crystals], None]
"""Writes crystals into a folder, as one file each or as one of all."""


def energy_ev(crystal: Structure) -> float:
    """Return the energy that is written for a crystal, which is made up."""
    composition = crystal.composition
    return -float(composition.num_atoms * composition.average_electroneg)


def _cif(folder: Path, crystals: Crystals) -> None:
    for name, crystal in crystals.items():
        CifWriter(crystal).write_file(folder / f"{name}.cif")


def _symmetric_cif(folder: Path, crystals: Crystals) -> None:
    for name, crystal in crystals.items():
        CifWriter(crystal, symprec=0.01).write_file(folder / f"{name}.cif")


def _cif_of_ase(folder: Path, crystals: Crystals) -> None:
    for name, crystal in crystals.items():
        ase.io.write(folder / f"{name}.cif", crystal.to_ase_atoms(), format="cif")


def _cif_of_all(folder: Path, crystals: Crystals) -> None:
    blocks = [
        re.sub(r"^data_.*$", f"data_{name}", str(CifWriter(crystal)), flags=re.MULTILINE)
        for name, crystal in crystals.items()
    ]
    (folder / "all.cif").write_text("\n".join(blocks))


def _magnetic_cif(folder: Path, crystals: Crystals) -> None:
    for name, crystal in crystals.items():
        magnetic = crystal.copy(site_properties={"magmom": [1.0] * len(crystal)})
        CifWriter(magnetic, write_magmoms=True).write_file(folder / f"{name}.mcif")


def _poscar(folder: Path, crystals: Crystals) -> None:
    for name, crystal in crystals.items():
        Poscar(crystal, sort_structure=True).write_file(folder / f"{name}.vasp")


def _contcar(folder: Path, crystals: Crystals) -> None:
    for name, crystal in crystals.items():
        (folder / name).mkdir()
        atoms = crystal.to_ase_atoms()
        ase.io.write(folder / name / "CONTCAR", atoms, format="vasp", direct=False, sort=True)


def _atoms(crystals: Crystals) -> list[Any]:
    frames = [crystal.to_ase_atoms() for crystal in crystals.values()]
    for atoms, crystal in zip(frames, crystals.values(), strict=True):
        atoms.calc = SinglePointCalculator(atoms, energy=energy_ev(crystal))
    return frames


def _extxyz(folder: Path, crystals: Crystals) -> None:
    ase.io.write(folder / "all.extxyz", _atoms(crystals), format="extxyz")


def _packed_extxyz(folder: Path, crystals: Crystals) -> None:
    _extxyz(folder, crystals)
    text = (folder / "all.extxyz").read_bytes()
    (folder / "all.extxyz").unlink()
    (folder / "all.extxyz.gz").write_bytes(gzip.compress(text, mtime=0))


def _ase_database(folder: Path, crystals: Crystals) -> None:
    with connect(folder / "all.db") as database:
        for name, atoms in zip(crystals, _atoms(crystals), strict=True):
            database.write(atoms, name=name)
    with closing(sqlite3.connect(folder / "all.db")) as connection:  # equal bytes every day
        connection.execute("UPDATE systems SET unique_id = 'u' || id, ctime = 1.0, mtime = 1.0")
        connection.commit()
        connection.execute("VACUUM")


def _ase_json(folder: Path, crystals: Crystals) -> None:
    path = folder / "all.json"
    with connect(path) as database:
        for name, atoms in zip(crystals, _atoms(crystals), strict=True):
            database.write(atoms, name=name)
    text = re.sub(r'"([cm]time)": [\d.]+', r'"\1": 1.0', path.read_text())
    path.write_text(re.sub(r'"unique_id": "\w+"', '"unique_id": "u"', text))


def _json(folder: Path, crystals: Crystals) -> None:
    for name, crystal in crystals.items():
        (folder / f"{name}.json").write_text(json.dumps(crystal.as_dict(), indent=1))


def _entries(folder: Path, crystals: Crystals) -> None:
    entries = [
        ComputedStructureEntry(crystal, energy_ev(crystal), entry_id=name).as_dict()
        for name, crystal in crystals.items()
    ]
    (folder / "all.json").write_text(json.dumps(entries))


def _jarvis(folder: Path, crystals: Crystals) -> None:
    entries = [
        {
            "jid": name,
            "atoms": {
                "lattice_mat": crystal.lattice.matrix.tolist(),
                "coords": crystal.frac_coords.tolist(),
                "elements": [site.specie.symbol for site in crystal],
                "cartesian": False,
                "props": [""] * len(crystal),
            },
            "optb88vdw_total_energy": energy_ev(crystal),
        }
        for name, crystal in crystals.items()
    ]
    (folder / "all.json").write_text(json.dumps(entries, indent=1))


def _optimade(folder: Path, crystals: Crystals) -> None:
    entries = []
    for name, crystal in crystals.items():
        symbols = [site.specie.symbol for site in crystal]
        attributes = {
            "lattice_vectors": crystal.lattice.matrix.tolist(),
            "cartesian_site_positions": crystal.cart_coords.tolist(),
            "species": [
                {"name": one, "chemical_symbols": [one], "concentration": [1.0]}
                for one in sorted(set(symbols))
            ],
            "species_at_sites": symbols,
            "dimension_types": [1, 1, 1],
            "nsites": len(symbols),
            "structure_features": [],
        }
        entries.append({"id": name, "type": "structures", "attributes": attributes})
    (folder / "all.json").write_text(json.dumps({"data": entries}, indent=1))


def _table(folder: Path, crystals: Crystals) -> None:
    """Write the layout of Matbench."""
    rows = [[crystal.as_dict(), energy_ev(crystal)] for crystal in crystals.values()]
    table = {"index": list(crystals), "columns": ["structure", "energy"], "data": rows}
    data = gzip.compress(json.dumps(table).encode(), mtime=0)
    (folder / "all.json.gz").write_bytes(data)


def _json_lines(folder: Path, crystals: Crystals) -> None:
    rows = [
        json.dumps({"material_id": name, "structure": crystal.as_dict(), "gap": 1.5})
        for name, crystal in crystals.items()
    ]
    (folder / "all.jsonl").write_text("\n".join(rows) + "\n")


CRYSTAL_FILES: Mapping[str, Writer] = {
    "CIF": _cif,
    "CIF, symmetric": _symmetric_cif,
    "CIF of ASE": _cif_of_ase,
    "CIF of all": _cif_of_all,
    "mCIF": _magnetic_cif,
    "POSCAR": _poscar,
    "CONTCAR": _contcar,
    "extxyz": _extxyz,
    "extxyz, packed": _packed_extxyz,
    "ASE database": _ase_database,
    "JSON of ASE": _ase_json,
    "JSON of pymatgen": _json,
    "JSON of entries": _entries,
    "JSON of JARVIS": _jarvis,
    "JSON of OPTIMADE": _optimade,
    "JSON of pandas, packed": _table,
    "JSON lines": _json_lines,
}
"""Every way in which crystals are written. Files of all are called ``all``."""
