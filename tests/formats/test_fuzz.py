"""Damaged files of every format: each is read as what it still says, or refused in a sentence.

A record of a damaged file has the atoms and the geometry of the whole file, or those that a second
reader (ASE, pymatgen, or a few lines here) finds in the damaged one. Nothing raises, warns, hangs
or bursts. ``OMNIMAT_FUZZ_ROUNDS`` sets how often the soak test takes each way of damaging a file.
"""

import os
import zlib

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from omnimat.base.errors import UserError
from omnimat.materials.crystals import to_pymatgen
from omnimat.materials.record import Failure
from omnimat.materials.record import Structure as OurStructure
from omnimat.materials.split import SplitSettings
from omnimat.shards.codec import encode
from omnimat.sources.checker import Checker
from omnimat.sources.files.listing import listing
from omnimat.sources.files.source import Files
from omnimat.testing.crystal_files import CRYSTAL_FILES
from omnimat.testing.damage import damaged_files, watched
from omnimat.testing.measured_files import MEASURED_FILES
from omnimat.testing.second_readers import same_crystals, second_reading

WRITERS = {**CRYSTAL_FILES, **MEASURED_FILES}
CRYSTALS = {
    "cubic": Structure.from_spacegroup(
        "Pm-3m",
        Lattice.cubic(3.905),
        ["Sr", "Ti", "O"],
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]],
    ),
    "triclinic": Structure(
        Lattice.from_parameters(4.1, 5.2, 6.3, 80, 95, 101),
        ["Na", "Cl", "O", "Cl"],
        [[0.01, 0.02, 0.03], [0.5, 0.52, 0.48], [0.2, 0.7, 0.3], [0.8, 0.3, 0.75]],
    ),
}
# The files that are damaged, where it is not the only kind of a format's files.
CHOSEN = {"AECCAR": "AECCAR[02]", "text beside a CIF": "*.txt"}
ROUNDS = int(os.environ.get("OMNIMAT_FUZZ_ROUNDS", "20"))


@pytest.mark.parametrize("name", WRITERS)
def test_a_damaged_file_is_read_as_what_it_says_or_refused(tmp_path, name):
    assert fuzzed(tmp_path, name, num_rounds=1) >= 7


@pytest.mark.soak
@pytest.mark.parametrize("name", WRITERS)
def test_many_more_damaged_files(tmp_path, name):
    fuzzed(tmp_path, name, ROUNDS)


def test_there_are_many_damaged_files(tmp_path):
    """Those of the tests above, counted without reading them."""
    count = 0
    for name, write in WRITERS.items():
        write(folder_of(tmp_path / name), CRYSTALS)
        for path in files_of(tmp_path / name, name):
            count += sum(1 for _ in damaged_files(path.read_bytes(), seed_of(path)))
    assert count > 500


def fuzzed(folder, name, num_rounds):
    """Damage each file that a writer writes, and give how many were damaged files were read."""
    WRITERS[name](folder_of(folder), CRYSTALS)
    originals = accepted(folder)
    wrong, count = [], 0
    for path in files_of(folder, name):
        content = path.read_bytes()
        for what, changed in damaged_files(content, seed_of(path), num_rounds):
            path.write_bytes(changed)
            count += 1
            wrong += [f"{path.name}, {what}: {one}" for one in wrong_of(folder, path, originals)]
        path.write_bytes(content)
    assert not wrong, "\n".join(wrong)
    return count


def folder_of(path):
    path.mkdir(exist_ok=True)
    return path


def files_of(folder, name):
    found = sorted(path for path in folder.rglob(CHOSEN.get(name, "*")) if path.is_file())
    assert found
    return found


def seed_of(path):
    return [zlib.crc32("/".join(path.parts[-2:]).encode())]


def wrong_of(folder, path, originals):
    """Read a damaged file, and say what is wrong with that."""
    with watched() as told:
        records = accepted(folder)
    if told:
        return told
    said = None
    for record in records:
        new = {name: one for name, one in record.parts.items() if not is_old(name, one, originals)}
        if new:
            said = said or second_reading(path)
            told += [f"gave {described(one)}" for one in new.values() if not is_said(one, said)]
    return told


def accepted(folder):
    """Read a folder as an ingest does; give the records that it would store."""
    listing.cache_clear()
    try:
        source = Files(path=str(folder)).located()
    except UserError:
        return []  # nothing of it looks like a file that can be read
    items = list(source.read(0, source.num_items()))
    assert len(items) >= source.num_items()
    for item in items:
        if isinstance(item, Failure):
            assert item.reason.strip()
            assert "Error" not in item.reason.partition(":")[0]
    records = list(Checker(SplitSettings(), ()).accepted(items))
    return [record for record in records if is_storable(record)]


def is_storable(record):
    try:
        encode(record)
    except ValueError:
        return False
    return True


# What two readings have in common.


def is_old(name, part, originals):
    """Say whether a part is that of a whole file."""
    return any(name in one.parts and is_same(part, one.parts[name]) for one in originals)


def is_said(part, said):
    """Say whether a second reader found a part too."""
    crystals, curves = said
    return any(
        is_same(part, one) for one in (crystals if isinstance(part, OurStructure) else curves)
    )


def is_same(part, other):
    if isinstance(part, OurStructure):
        one, two = (to_pymatgen(x) if isinstance(x, OurStructure) else x for x in (part, other))
        return same_crystals(one, two)
    one, two = columns_of(part), columns_of(other)
    if isinstance(one, str) or isinstance(two, str):
        return isinstance(one, str) and isinstance(two, str) and one == two
    # Numbers of files have few decimals.
    return one.shape == two.shape and np.allclose(one, two, rtol=1e-4, atol=3e-3)


def columns_of(part):
    """Give a curve as its points, of a charge density the mean alone, and a text as it is."""
    if isinstance(part, str):
        return part
    if isinstance(part, np.ndarray):
        return part if part.ndim == 2 else np.array([[part.mean(), 0.0]])
    x, y = (getattr(part, name) for name in part.__slots__[:2])
    return np.stack([x, y], axis=1).astype(np.float64)


def described(part):
    if isinstance(part, OurStructure):
        crystal = to_pymatgen(part)
        return f"{crystal.formula} in {crystal.volume:.3f} angstrom^3"
    return f"another {type(part).__name__}"
