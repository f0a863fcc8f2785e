"""Structure, total density of states, energy and band gap of vasprun.xml files.

pymatgen reads them. It keeps the whole document in memory, of which projections onto orbitals and
earlier ionic steps may be a gigabyte. So it is given a copy without them.
"""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
from pymatgen.core import Element
from pymatgen.electronic_structure.core import Spin
from pymatgen.io.vasp.outputs import Vasprun
from upath import UPath

from omnimat.formats.crystals import to_structure
from omnimat.formats.format import Reading
from omnimat.formats.unpacked import unpacked
from omnimat.materials.record import Failure, Record
from omnimat.modalities.dos import DensityOfStates
from omnimat.modalities.dos.computed import relative_to_fermi_level

# Names such as ``PAW_PBE Cs_sv 08Apr2002`` or ``PAW H1.25 07Sep2000``.
_ELEMENT_OF_POTENTIAL = re.compile(r"\s([A-Z][a-z]?)(?![a-z])")
_MAX_MB = 128
_MAX_LINE_BYTES = 65_536
# Elements that are left out, which VASP writes on lines of their own.
_LEFT_OUT = (b"partial", b"projected", b"projected_kpoints_opt", b"dynmat")


def read(path: UPath, reading: Reading, start: int, stop: int) -> Iterator[Record | Failure]:
    """Read the last ionic step; see ``omnimat.formats.format.Read``."""
    del reading
    if start <= 0 < stop:
        with _last_step(path) as (name, num_steps):
            run = _parsed(name)
        yield _record(run, num_steps)


@contextmanager
def _read_by_pymatgen() -> Iterator[None]:
    """Give one reason for all errors on a damaged file, where pymatgen raises nearly anything."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what pymatgen warns about is checked afterwards
            yield
    except Exception as error:
        raise ValueError(f"the vasprun.xml is cut off or damaged: {error}") from error


class _Run(Vasprun):  # type: ignore[misc]
    """A calculation whose ``ALGO`` may be a number, for which pymatgen expects a word."""

    @property
    def converged_electronic(self) -> bool:
        self.incar.data["ALGO"] = str(self.incar.data.get("ALGO", ""))
        return bool(super().converged_electronic)


def _parsed(name: str) -> Vasprun:
    with _read_by_pymatgen():
        run = _Run(name, parse_potcar_file=False)
        run.final_structure  # noqa: B018 (an AttributeError where there is none)
        return run


def _record(run: Vasprun, num_steps: int) -> Record:
    if not run.converged_electronic:
        raise ValueError("the electronic steps of the calculation did not converge")
    _check_elements(run)
    structure, notes = to_structure(run.final_structure)
    parts: dict[str, Any] = {"structure": structure}
    told = (f"VASP {run.vasp_version}, vasprun.xml", *notes.values())
    provenance = {"structure": "; ".join(told)}
    if _is_unrelaxed(run, num_steps):
        provenance["structure"] += f", not relaxed after {num_steps} steps"
    if hasattr(run, "dos_has_errors"):
        parts["dos"] = _dos(run)
        provenance["dos"] = f"VASP {run.vasp_version}, vasprun.xml"
    return Record("", parts, _properties(run), provenance)


def _check_elements(run: Vasprun) -> None:
    """Hold the elements of the atoms against those of the pseudopotentials.

    VASP writes some symbols without a letter, such as X for Xe, which pymatgen completes.

    Raises:
        ValueError: they differ.
    """
    atoms = {Element(symbol).symbol for symbol in run.atomic_symbols}
    found = [_ELEMENT_OF_POTENTIAL.search(name) for name in run.potcar_symbols]
    symbols = [one[1] for one in found if one is not None and Element.is_valid_symbol(one[1])]
    potentials = {Element(symbol).symbol for symbol in symbols}
    if len(symbols) == len(found) and atoms != potentials:
        raise ValueError(
            f"contradicting elements: the atoms are {', '.join(sorted(atoms))}, the "
            f"pseudopotentials of {', '.join(sorted(potentials))}"
        )


def _is_unrelaxed(run: Vasprun, num_steps: int) -> bool:
    """Say whether a relaxation used up its steps; ``IBRION`` 0 is molecular dynamics."""
    limit = run.parameters.get("NSW", 0)
    return bool(run.parameters.get("IBRION", -1) > 0 and 1 < limit <= num_steps)


def _dos(run: Vasprun) -> DensityOfStates:
    if run.dos_has_errors or Spin.up not in run.tdos.densities:
        raise ValueError("the density of states is damaged")
    total = run.tdos
    up, down = total.densities[Spin.up], total.densities.get(Spin.down)
    try:
        return relative_to_fermi_level(total.energies, total.efermi, up, down)
    except ValueError as error:
        raise ValueError(f"the density of states is damaged: {error}") from error


def _properties(run: Vasprun) -> dict[str, float]:
    """Return the energy for vanishing smearing, and the gap if bands on both sides are known."""
    with _read_by_pymatgen():
        known = {"energy_ev_per_atom": float(run.final_energy) / len(run.final_structure)}
        if run.eigenvalues:
            if not all(np.isfinite(one).all() for one in run.eigenvalues.values()):
                raise ValueError("an eigenvalue is not finite")
            known["band_gap_ev"] = float(run.eigenvalue_band_properties[0])
    if any(np.isnan(value) for value in known.values()):
        raise ValueError("the energy is not a number")
    return {name: value for name, value in known.items() if np.isfinite(value)}


@contextmanager
def _last_step(path: UPath) -> Iterator[tuple[str, int]]:
    """Give the name of a copy with the last ionic step alone, and the number of steps."""
    with tempfile.NamedTemporaryFile(suffix=".xml") as copy:
        with unpacked(path) as file:
            num_steps = _copy(file, copy.file)
        copy.flush()
        if num_steps == 0:
            raise ValueError("the vasprun.xml holds no ionic step")
        yield copy.name, num_steps


def _copy(file: IO[bytes], copy: IO[bytes]) -> int:
    """Copy a document without what is not needed, and count its ionic steps."""
    begin_of_step, num_steps = 0, 0
    for line in _kept(file):
        if line.strip() == b"<calculation>":
            if num_steps:  # only the last one stays
                copy.seek(begin_of_step)
                copy.truncate()
            begin_of_step, num_steps = copy.tell(), num_steps + 1
        copy.write(line)
        if copy.tell() > _MAX_MB * 1_000_000:
            raise ValueError(f"the vasprun.xml is too large: a step has more than {_MAX_MB} MB")
    return num_steps


def _kept(file: IO[bytes]) -> Iterator[bytes]:
    """Give the lines that do not belong to elements that are left out."""
    end: bytes | None = None
    while line := file.readline(_MAX_LINE_BYTES):
        tag = line.strip()
        if b"<!DOCTYPE" in line:
            raise ValueError("the XML defines a document type, which VASP does not write")
        if end is None and tag.startswith(b"<") and tag[1:-1] in _LEFT_OUT:
            end = b"</" + tag[1:]
        elif end is None:
            yield line
        elif tag == end:
            end = None
