"""Reading a query: a file by its ending, else a formula or a sentence."""

from __future__ import annotations

import os
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pymatgen.core import Composition, Element

from omnimat.base.errors import UserError
from omnimat.materials.crystals import from_pymatgen, parse_cif
from omnimat.materials.record import Record
from omnimat.materials.validation import validate
from omnimat.search.query import Crystal, Formula, Pattern, Query, Sentence, StatesCurve

Float = NDArray[np.float64]

_DOS_COLUMNS = ("energies_ev", "dos")
# Marks of a comment line among the programs that write two-column patterns.
_XY_COMMENTS = ("#", "!", ";", "'", '"', "/", "@")
_FORMULA = re.compile(r"(?:[A-Z][a-z]?|[()\[\]])(?:[A-Z][a-z]?|[()\[\]]|\d+(?:\.\d+)?)*")
_SYMBOL = re.compile(r"[A-Z][a-z]?")


def read_query(given: str) -> Query:
    """Read a query: the path of a file of ``READERS``, a formula, or else words.

    Raises:
        UserError: it is none of these, or the file cannot be read.
    """
    suffix = Path(given).suffix.lower()
    if suffix in READERS:
        return _read_file(Path(given), READERS[suffix])
    if os.path.isfile(given):
        raise UserError(
            f"{given}: a file of unknown kind; {_KINDS}, or a formula or a sentence are searched by"
        )
    if len(given.split()) > 1:
        return Sentence(given)
    return _formula(given)


def _read_file(path: Path, reader: Callable[[Path], Query]) -> Query:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    try:
        return reader(path)
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from error


def _read_cif(path: Path) -> Crystal:
    structure = from_pymatgen(parse_cif(path.read_text()))
    validate(structure)
    return Crystal(Record("query", structure))


def _read_dos_csv(path: Path) -> StatesCurve:
    return _states(pd.read_csv(path, comment="#", skipinitialspace=True))


def _read_dos_npz(path: Path) -> StatesCurve:
    with np.load(path, allow_pickle=False) as arrays:
        return _states(arrays)


def _states(columns: Mapping[str, Any] | pd.DataFrame) -> StatesCurve:
    if missing := [name for name in _DOS_COLUMNS if name not in columns]:
        raise ValueError(
            f"it has no {' and no '.join(missing)}: a density of states is in columns (or arrays) "
            "energies_ev, from the Fermi level, and dos"
        )
    energies, density = (np.asarray(columns[name], dtype=np.float64) for name in _DOS_COLUMNS)
    return StatesCurve(*_curve(energies, density, "energies_ev"))


def _read_xy(path: Path) -> Pattern:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of no data, which is checked below
        table = np.loadtxt(path, comments=_XY_COMMENTS, usecols=(0, 1), ndmin=2)
    angles, intensity = _curve(table[:, 0], table[:, 1], "two theta")
    if not np.isfinite(intensity).all():
        raise ValueError("an intensity is not finite")
    return Pattern(angles, intensity)


def _curve(places: Float, heights: Float, name: str) -> tuple[Float, Float]:
    if places.ndim != 1 or places.shape != heights.shape or len(places) < 2:
        raise ValueError(f"a curve has two columns of one length, of at least two points by {name}")
    if not (np.isfinite(places).all() and (np.diff(places) > 0).all()):
        raise ValueError(f"{name} must increase from point to point")
    return places, heights


READERS: Mapping[str, Callable[[Path], Query]] = MappingProxyType(
    {".cif": _read_cif, ".csv": _read_dos_csv, ".npz": _read_dos_npz, ".xy": _read_xy}
)
_KINDS = "a structure (.cif), a density of states (.csv or .npz), a diffraction pattern (.xy)"


def _formula(given: str) -> Formula:
    if not _FORMULA.fullmatch(given):
        raise UserError(
            f"{given!r} is no file of {', '.join(READERS)}, no formula (LiFePO4) and no sentence, "
            "which has several words between quotes"
        )
    if unknown := [s for s in _SYMBOL.findall(given) if not Element.is_valid_symbol(s)]:
        raise UserError(f"{given!r}: {', '.join(dict.fromkeys(unknown))}: no such element")
    try:
        amounts = {Element(str(e)).Z: float(a) for e, a in Composition(given).items()}
    except ValueError as error:
        raise UserError(f"{given!r}: {error}") from error
    return Formula(np.array(list(amounts), np.int32), np.array(list(amounts.values())))
