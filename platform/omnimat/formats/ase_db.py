"""Reads databases of ASE, of which only the columns that are needed are decoded.

ASE itself would make tables in any SQLite file that has none, and build whatever objects a row
names. The columns are those of ``ase/db/sqlite.py``, versions 5 to 9.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from upath import UPath

from omnimat.base.filesystem import is_local
from omnimat.formats.format import Format, Reading
from omnimat.formats.json_text import parsed
from omnimat.formats.named_values import note_of, properties_of
from omnimat.formats.sites import numbers_of
from omnimat.formats.unpacked import beginning
from omnimat.materials.record import Failure, Record

_HERE = "omnimat.formats.ase_db"

ASE_DATABASE = Format(
    label="ASE database",
    patterns=("*.db",),
    read=f"{_HERE}:read",
    count=f"{_HERE}:count",
    recognises=f"{_HERE}:recognises",
)

_MAGIC = b"SQLite format 3\x00"
_ATOMS = ("numbers", "positions", "cell", "pbc")
SCALARS = {"energy": "energy_ev", "free_energy": "free_energy_ev", "magmom": "magmom"}
"""Results of a row that are properties, and the names they get."""

RESULTS = ("forces", "stress", "dipole", "magmoms", "charges", "momenta")
"""Results of a row that are no properties, and are named where they are left out."""

_BYTES_OF_NO_DATA = 10


def recognises(path: UPath) -> bool:
    """Say whether a file is an SQLite database with ASE's table, or one too damaged to say."""
    if beginning(path, len(_MAGIC)) != _MAGIC:
        return False
    try:
        with _opened(path) as connection:
            return _has_systems(connection)
    except ValueError:
        return True  # reading it says what is wrong


def count(path: UPath) -> int:
    """Count the rows; a database that cannot be read counts as one."""
    try:
        return int(_select(path, "SELECT COUNT(*) FROM systems")[0][0])
    except ValueError:
        return 1


def read(path: UPath, reading: Reading, start: int, stop: int) -> Iterator[Record | Failure]:
    """Read some rows in the order of their ids, by which they are named.

    Raises:
        ValueError: it is no database of ASE, or a damaged one.
    """
    del reading
    scalars = ", ".join(SCALARS)
    present = ", ".join(f"{name} IS NOT NULL" for name in RESULTS)
    query = (
        f"SELECT id, {', '.join(_ATOMS)}, {scalars}, key_value_pairs, {present}, "
        f"length(data) > {_BYTES_OF_NO_DATA} FROM systems ORDER BY id LIMIT ? OFFSET ?"
    )
    for number, *row in _select(path, query, max(0, stop - start), start):
        name = str(number)
        try:
            yield _of_columns(name, row)
        except ValueError as error:
            yield Failure(name, str(error))


def record_of(
    name: str,
    atoms: Mapping[str, NDArray[Any]],
    values: Iterable[tuple[str, Any]],
    left_out: Iterable[str],
) -> Record:
    """Make a record of a row.

    Args:
        name: name of the row.
        atoms: ``numbers`` of shape (n,), ``positions`` in angstrom of shape (n, 3), ``cell`` of
            shape (3, 3) and ``pbc`` of shape (3,).
        values: names and values of what may be a property.
        left_out: names of what is in the row besides.

    Raises:
        ValueError: the row is no crystal.
    """
    from omnimat.formats.crystals import from_positions

    structure = from_positions(
        atoms["cell"], atoms["numbers"], atoms["positions"], atoms["pbc"].tolist()
    )
    properties, others = properties_of(values)
    return Record(name, {"structure": structure}, properties, note_of([*left_out, *others]))


def _of_columns(name: str, row: list[Any]) -> Record:
    numbers, positions, cell, pbc = row[:4]
    scalars = zip(SCALARS.values(), row[4:7], strict=True)
    present = dict(zip((*RESULTS, "data"), row[8:], strict=True))
    atoms = {
        "numbers": _array(numbers, "<i4", (-1,), "numbers"),
        "positions": _array(positions, "<f8", (-1, 3), "positions"),
        "cell": _array(cell, "<f8", (3, 3), "cell"),
        "pbc": np.array([isinstance(pbc, int) and pbc & bit for bit in (1, 2, 4)], dtype=bool),
    }
    left_out = [key for key, is_there in present.items() if is_there]
    return record_of(name, atoms, [*scalars, *_pairs(row[7]).items()], left_out)


def _array(blob: Any, dtype: str, shape: tuple[int, ...], what: str) -> NDArray[Any]:
    """Decode a column of bytes."""
    try:
        array = np.frombuffer(blob, dtype).reshape(shape)
    except (TypeError, ValueError) as error:
        raise ValueError(f"wrong counts: its {what} do not have the shape {shape}") from error
    numbers_of(array, shape, what)
    return array


def _pairs(text: Any) -> dict[str, Any]:
    pairs, _ = parsed(str(text or "{}").encode(errors="replace"))
    if not isinstance(pairs, dict):
        raise ValueError("not an ASE row: its key-value pairs are no JSON object")
    return pairs


def _has_systems(connection: sqlite3.Connection) -> bool:
    """Say whether there is a table of this name, which a view is not: it may never end."""
    query = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'systems'"
    return bool(connection.execute(query).fetchone()[0])


def _select(path: UPath, query: str, *values: int) -> list[tuple[Any, ...]]:
    """Ask a database of ASE."""
    with _opened(path) as connection:
        if not _has_systems(connection):
            raise ValueError("not an ASE database: it has no table of systems")
        return connection.execute(query, values).fetchall()


@contextmanager
def _opened(path: UPath) -> Iterator[sqlite3.Connection]:
    """Open a database so that nothing can be written to it.

    Raises:
        ValueError: the file does not lie on this machine's filesystem, or SQLite cannot read it.
    """
    if not is_local(path):
        raise ValueError("not local: SQLite cannot read it where it lies, so copy it to a disk")
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            yield connection
    except sqlite3.Error as error:
        raise ValueError(f"damaged database: SQLite says {error}") from error
