"""What other readers find in a file, which may be damaged: crystals, and curves as rows of points.

They are ASE's and pymatgen's where there is one, and else a few lines that share none with ours.
They are more lenient than ours: what they cannot make sense of is passed over.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.cif import CifParser
from pymatgen.io.vasp import Chgcar

Curve = NDArray[np.float64] | str
"""Points of shape (n, 2), or a text."""

Found = Iterator[Structure | Curve]

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"


def second_reading(path: Path) -> tuple[list[Structure], list[Curve]]:
    """Read a file by other readers; what they raise ends what they find."""
    read = next(one for pattern, one in _READERS.items() if re.fullmatch(pattern, path.name))
    crystals: list[Structure] = []
    curves: list[Curve] = []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            for one in read(path):
                (crystals if isinstance(one, Structure) else curves).append(one)
        except Exception:  # noqa: BLE001
            pass
    return crystals, curves


def same_crystals(one: Structure, other: Structure) -> bool:
    """Compare composition, volume and all periodic distances, to the decimals that files have."""
    if sorted(site.specie.Z for site in one) != sorted(site.specie.Z for site in other):
        return False
    if not np.isclose(one.volume, other.volume, rtol=1e-3):
        return False
    return np.allclose(_distances(one), _distances(other), rtol=1e-3, atol=2e-3)


def _distances(crystal: Structure) -> NDArray[np.float64]:
    coords = crystal.frac_coords
    return np.sort(crystal.lattice.get_all_distances(coords, coords), axis=None)


def _crystals_of_ase(frames: Iterator[Atoms]) -> Found:
    yield from map(AseAtomsAdaptor.get_structure, frames)


def _cif(path: Path) -> Found:
    """Read each block by itself, so that one does not cost the others."""
    text = _text_of(path.read_bytes())
    beginnings = [match.start() for match in re.finditer(r"^\s*data_", text, re.M | re.I)]
    for begin, end in zip(beginnings, [*beginnings[1:], None], strict=True):
        try:
            parser = CifParser(io.StringIO(text[begin:end]), occupancy_tolerance=1.01)
            yield from parser.parse_structures(primitive=False, on_error="ignore")
        except Exception:  # noqa: BLE001
            continue


def _poscar(path: Path) -> Found:
    yield from _crystals_of_ase(iter([ase.io.read(path, format="vasp")]))


def _extxyz(path: Path) -> Found:
    text = io.StringIO(_text_of(_unpacked(path)))
    yield from _crystals_of_ase(ase.io.iread(text, format="extxyz"))


def _ase_database(path: Path) -> Found:
    """Decode the columns, of whatever rows SQLite gives."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT numbers, positions, cell FROM systems").fetchall()
    for numbers, positions, cell in rows:
        coords = np.frombuffer(positions).reshape(-1, 3)
        atoms = Atoms(np.frombuffer(numbers, np.int32), coords, cell=np.frombuffer(cell), pbc=True)
        yield from _crystals_of_ase(iter([atoms]))


def _json(path: Path) -> Found:
    text = _text_of(_unpacked(path))
    for line in text.splitlines() if "jsonl" in path.name else [text]:
        try:
            document = json.loads(line)
        except ValueError:
            continue
        yield from _in_document(document)


def _in_document(value: Any) -> Found:
    """Find crystals anywhere in a document."""
    if isinstance(value, list):
        for one in value:
            yield from _in_document(one)
    elif isinstance(value, dict):
        try:
            found = _of_object(value)
        except Exception:  # noqa: BLE001
            return
        if found is not None:
            yield found
        else:
            for one in value.values():
                yield from _in_document(one)


def _of_object(value: Mapping[str, Any]) -> Structure | None:
    if {"lattice", "sites"} <= value.keys():
        sites = value["sites"]
        kinds = [{one["element"]: one["occu"] for one in site["species"]} for site in sites]
        return Structure(
            Lattice(value["lattice"]["matrix"]), kinds, [site["abc"] for site in sites]
        )
    if "lattice_mat" in value:
        return Structure(Lattice(value["lattice_mat"]), value["elements"], value["coords"])
    if "lattice_vectors" in value:
        symbols = [one["chemical_symbols"][0] for one in value["species"]]
        names = [one["name"] for one in value["species"]]
        kinds = [symbols[names.index(one)] for one in value["species_at_sites"]]
        positions = value["cartesian_site_positions"]
        lattice = Lattice(value["lattice_vectors"])
        return Structure(lattice, kinds, positions, coords_are_cartesian=True)
    if {"numbers", "positions", "cell"} <= value.keys():
        numbers, positions = (value[key]["__ndarray__"][2] for key in ("numbers", "positions"))
        cell = value["cell"]["array"]["__ndarray__"][2]
        atoms = Atoms(
            numbers, np.reshape(positions, (-1, 3)), cell=np.reshape(cell, (3, 3)), pbc=True
        )
        return AseAtomsAdaptor.get_structure(atoms)
    return None


def _vasprun(path: Path) -> Found:
    """Give the final positions and those of the last step, which are equal in a whole file."""
    text = _text_of(path.read_bytes())
    total = re.search(r"<total>(.*?)</total>", text, re.DOTALL)
    fermi_level = re.search(rf'"efermi">\s*({_NUMBER})', text)
    if total and fermi_level:
        rows = re.findall(rf"<r>\s*({_NUMBER})\s+({_NUMBER})\s+\S+\s*</r>", total[1])
        yield _relative(np.array(rows, dtype=np.float64), float(fermi_level[1]), 0.5)
    atoms = re.findall(r"<rc><c>([A-Z][a-z]?)\s*</c><c>\s*\d+</c></rc>", text)
    vectors = re.findall(rf"<v>\s*({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})\s*</v>", text)
    last = np.array(vectors[-3 - len(atoms) :], dtype=np.float64)
    yield Structure(Lattice(last[:3]), atoms, last[3:])
    yield from _crystals_of_ase(iter([ase.io.read(path, format="vasp-xml", index=-1)]))


def _relative(points: NDArray[np.float64], fermi_level_ev: float, share: float) -> Curve:
    """Shift energies to the Fermi level, and give each spin its share."""
    return np.stack([points[:, 0] - fermi_level_ev, points[:, 1] * share], axis=1)


def _doscar(path: Path) -> Found:
    lines = _text_of(path.read_bytes()).splitlines()
    count, fermi_level = int(lines[5].split()[2]), float(lines[5].split()[3])
    rows = [line.split()[:2] for line in lines[6 : 6 + count]]
    yield _relative(np.array(rows, dtype=np.float64), fermi_level, 0.5)


def _chgcar(path: Path) -> Found:
    found = Chgcar.from_file(str(path))
    yield found.structure
    yield np.array([[found.data["total"].mean(), 0.0]])


def _aeccar(path: Path) -> Found:
    both = [Chgcar.from_file(str(path.with_name(f"AECCAR{number}"))) for number in (0, 2)]
    yield both[0].structure
    yield np.array([[sum(one.data["total"].mean() for one in both), 0.0]])


def _points(path: Path) -> Found:
    """Take every line that begins with two numbers."""
    number = rf"({_NUMBER})"
    row = re.compile(rf"[ \t]*{number}(?:[ \t]*[,;][ \t]*|[ \t]+){number}(?![\w.+-])")
    lines = _text_of(path.read_bytes()).splitlines()
    rows = [match.groups() for line in lines if (match := row.match(line))]
    if rows:
        yield np.array(rows, dtype=np.float64)


def _xrdml(path: Path) -> Found:
    text = _text_of(path.read_bytes())
    counts = re.search(r"<intensities[^>]*>(.*?)</intensities>", text, re.DOTALL)
    ends = [
        float(value)
        for name in ("startPosition", "endPosition")
        for value in re.findall(rf"<{name}>\s*({_NUMBER})\s*</{name}>", text)
    ]
    if counts:
        values = np.array(counts[1].split(), dtype=np.float64)
        yield np.stack([np.linspace(ends[0], ends[1], len(values)), values], axis=1)


def _npz(path: Path) -> Found:
    with np.load(path) as arrays:
        yield np.stack([arrays["energies_ev"], arrays["dos"]], axis=1)


def _points_or_text(path: Path) -> Found:
    yield from _points(path)
    yield _text_of(path.read_bytes()).strip()


def _unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def _text_of(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


_READERS: Mapping[str, Callable[[Path], Found]] = {
    r".*\.m?cif": _cif,
    r".*\.vasp|CONTCAR": _poscar,
    r".*\.extxyz(\.gz)?": _extxyz,
    r".*\.db": _ase_database,
    r".*\.jsonl?(\.gz)?": _json,
    r"vasprun\.xml": _vasprun,
    r"DOSCAR": _doscar,
    r"CHGCAR": _chgcar,
    r"AECCAR.": _aeccar,
    r".*\.xrdml": _xrdml,
    r".*\.npz": _npz,
    r".*\.txt": _points_or_text,
    r".*": _points,
}
