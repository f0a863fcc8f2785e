"""Densities of states as tables with the columns (or arrays) ``energies_ev`` and ``dos``.

Energies are relative to the Fermi level. A table holds one channel, and does not say whether it is
that of spin up or the sum of both. It is stored as spin up, and spin down as zero, so that it is
what an encoder of either sees.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from upath import UPath

from omnimat.formats.decoding import decoded
from omnimat.formats.format import Format, Reading
from omnimat.formats.unpacked import beginning, whole
from omnimat.materials.record import Failure, Record
from omnimat.modalities.dos import DensityOfStates
from omnimat.modalities.storage import decode_npy, unpack_npz

_MAX_BYTES = 16 * 2**20
_NUM_BYTES_SEEN = 65_536
_COLUMNS = ("energies_ev", "dos")

FORMAT = Format(
    label="table of a density of states",
    patterns=("*.csv", "*.npz"),
    read="omnimat.formats.dos_table:read",
    recognises="omnimat.formats.dos_table:recognises",
)


def read(path: UPath, reading: Reading, start: int, stop: int) -> Iterator[Record | Failure]:
    """Read the density of states of a file; see ``omnimat.formats.format.Read``."""
    del reading
    if start <= 0 < stop:
        data = whole(path, _MAX_BYTES)
        columns = _from_npz(data) if path.suffix.lower() == ".npz" else _from_csv(data)
        provenance = {"dos": "one channel of a table, stored as spin up"}
        yield Record("", {"dos": _states(columns)}, provenance=provenance)


def recognises(path: UPath) -> bool:
    """Say whether a file has one of the columns, or is a damaged archive that cannot tell."""
    if path.suffix.lower() == ".npz":
        try:
            with path.open("rb") as file, zipfile.ZipFile(file) as archive:
                return any(f"{name}.npy" in archive.namelist() for name in _COLUMNS)
        except OSError:  # of the storage
            raise
        except Exception:  # noqa: BLE001 - on damaged bytes zipfile raises nearly anything
            return True  # whoever reads it says what
    try:
        lines = decoded(beginning(path, _NUM_BYTES_SEEN))[0].splitlines()
    except ValueError:
        return False
    heading = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    return not set(_COLUMNS).isdisjoint(name.strip(' "') for name in heading.split(","))


def _from_csv(data: bytes) -> Mapping[str, Any]:
    import pandas as pd  # 0.3 s of import

    text, _ = decoded(data)
    try:
        table = pd.read_csv(io.StringIO(text), comment="#", skipinitialspace=True)
    except ValueError as error:
        raise ValueError(f"the table cannot be read: {error}") from error
    return {str(name): table[name] for name in table.columns}


def _from_npz(data: bytes) -> Mapping[str, NDArray[Any]]:
    contents = unpack_npz(data, _COLUMNS, _MAX_BYTES)
    try:
        return {name: decode_npy(content) for name, content in contents.items()}
    except ValueError as error:
        raise ValueError(f"an array cannot be read: {error}") from error


def _states(columns: Mapping[str, Any]) -> DensityOfStates:
    if missing := [name for name in _COLUMNS if name not in columns]:
        raise ValueError(
            f"a density of states lacks its columns: it has no {' and no '.join(missing)}; the "
            "columns (or arrays) are energies_ev, relative to the Fermi level, and dos"
        )
    try:
        energies, density = (np.asarray(columns[name], dtype=np.float64) for name in _COLUMNS)
    except ValueError as error:
        raise ValueError(f"a column holds something other than numbers: {error}") from error
    if energies.ndim != 1 or energies.shape != density.shape or len(energies) < 2:
        raise ValueError("a curve needs two columns of the same length with at least two points")
    with np.errstate(over="ignore"):  # what becomes infinite is refused below
        energies_ev, channel = energies.astype(np.float32), density.astype(np.float32)
    if not (np.isfinite(energies_ev).all() and (np.diff(energies_ev) > 0).all()):
        raise ValueError("energies_ev must increase from point to point")
    if not np.isfinite(channel).all():
        raise ValueError("a density is not finite")
    return DensityOfStates(energies_ev, channel, np.zeros_like(channel))
