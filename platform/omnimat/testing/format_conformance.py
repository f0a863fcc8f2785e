"""What every format of files must do, and how its tests compare crystals."""

from __future__ import annotations

import numpy as np
from upath import UPath

from omnimat.formats.format import Format, Reading
from omnimat.materials.record import Failure, Record, Structure
from omnimat.shards.codec import encode


def entries_of(one: Format, path: UPath, reading: Reading | None = None) -> list[Record | Failure]:
    """Read a whole file, and check that any slice of it is the same, and its count.

    Raises:
        AssertionError: a slice differs, or the number of entries does.
        ValueError: the file cannot be read.
    """
    reading = reading or Reading()
    number = one.num_entries(path)
    found = list(one.entries(path, reading, 0, number))
    assert len(found) == number
    assert not list(one.entries(path, reading, number, number + 3))
    assert _comparable(list(one.entries(path, reading, 0, number + 3))) == _comparable(found)
    for start in range(number):
        for stop in (start + 1, start + 2):
            part = list(one.entries(path, reading, start, stop))
            assert _comparable(part) == _comparable(found[start:stop])
    return found


def records_of(one: Format, path: UPath, reading: Reading | None = None) -> list[Record]:
    """Read a whole file in which nothing may fail."""
    found = entries_of(one, path, reading)
    failures = [entry for entry in found if isinstance(entry, Failure)]
    assert not failures
    return [entry for entry in found if isinstance(entry, Record)]


def assert_same_crystal(
    found: Structure | None, expected: Structure, tolerance_angstrom: float = 1e-6
) -> None:
    """Check that two structures have the same cell and the same atoms in the same order."""
    assert found is not None
    np.testing.assert_array_equal(found.atomic_numbers, expected.atomic_numbers)
    np.testing.assert_allclose(
        found.lattice_angstrom, expected.lattice_angstrom, rtol=0, atol=tolerance_angstrom
    )
    difference = found.frac_coords - expected.frac_coords
    difference -= np.round(difference)  # an atom may leave the cell and enter on the other side
    distances = np.linalg.norm(difference @ expected.lattice_angstrom, axis=1)
    assert distances.max() < tolerance_angstrom
    assert ((found.frac_coords >= 0) & (found.frac_coords <= 1)).all()


def _comparable(entries: list[Record | Failure]) -> list[object]:
    return [_bytes(entry) if isinstance(entry, Record) else entry for entry in entries]


def _bytes(record: Record) -> object:
    stored = Record("x", record.parts, record.properties, record.provenance)
    return record.material_id, encode(stored)
