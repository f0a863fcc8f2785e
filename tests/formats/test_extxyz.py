import gzip

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from upath import UPath

from omnimat.formats.crystals import from_ase
from omnimat.formats.extxyz import EXTXYZ
from omnimat.formats.format import Reading, format_of
from omnimat.materials.crystals import to_pymatgen
from omnimat.materials.record import Failure, Record
from omnimat.testing.format_conformance import assert_same_crystal, entries_of, records_of
from omnimat.testing.materials import example_records

# ASE writes eight decimals of coordinates in angstrom, and whole numbers of the cell.
TOLERANCE_ANGSTROM = 1e-7
FRAME = """2
Lattice="0.0 2.8 2.8 2.8 0.0 2.8 2.8 2.8 0.0" Properties=species:S:1:pos:R:3 gap=5.0
Na 0.0 0.0 0.0
Cl 2.8 2.8 2.8
"""


def crystals():
    return [to_pymatgen(record.structure).to_ase_atoms() for record in example_records()]


@pytest.mark.parametrize("name", ["a.xyz", "a.extxyz", "a.xyz.gz", "A.EXTXYZ.GZ"])
def test_what_ase_writes(tmp_path, name):
    frames = crystals()
    write(tmp_path / "plain", frames, format="extxyz")
    data = (tmp_path / "plain").read_bytes()
    path = UPath(tmp_path / name)
    path.write_bytes(gzip.compress(data) if name.lower().endswith("gz") else data)
    assert format_of(path) is EXTXYZ
    records = records_of(EXTXYZ, path)
    assert [record.material_id for record in records] == [str(i) for i in range(len(frames))]
    for record, atoms in zip(records, frames, strict=True):
        assert_same_crystal(record.structure, from_ase(atoms), TOLERANCE_ANGSTROM)


def test_values_of_a_frame_are_properties_and_arrays_are_named(tmp_path):
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    atoms.info = {
        "band gap (eV)": 5.0,
        "is_stable": True,
        "functional": "PBE",
        "dielectric": np.array([1.0, 2.0, 3.0]),
        "unknown": float("nan"),
        "endless": float("inf"),
        "nested": {"a": 1},
        "matrix": np.eye(2),
    }
    atoms.new_array("oxidation", np.array([1, -1]))
    atoms.calc = SinglePointCalculator(
        atoms, energy=-3.4, forces=np.zeros((2, 3)), stress=np.zeros(6)
    )
    write(tmp_path / "a.xyz", atoms, format="extxyz")
    (record,) = records_of(EXTXYZ, UPath(tmp_path / "a.xyz"))
    assert record.properties == {
        "energy_ev": -3.4,
        "band_gap_eV_": 5.0,
        "is_stable": "true",
        "functional": "PBE",
        "dielectric": [1.0, 2.0, 3.0],
    }
    left_out = record.provenance["left_out"].split(", ")
    assert left_out == ["endless", "forces", "matrix", "nested", "oxidation", "stress"]


def test_molecules_and_slabs_have_no_cell(tmp_path):
    slab = bulk("Si", cubic=True)
    slab.pbc = [True, True, False]
    flat = bulk("Si", cubic=True)
    flat.cell[2] = 0
    write(tmp_path / "a.xyz", [molecule("H2O"), slab, bulk("Si"), flat], format="extxyz")
    found = entries_of(EXTXYZ, UPath(tmp_path / "a.xyz"))
    assert [type(one) for one in found] == [Failure, Failure, Record, Failure]
    assert all(found[i].reason.startswith("no cell: ") for i in (0, 1, 3))


BAD = {
    "NaN cell": (FRAME.replace('"0.0 2.8', '"nan 2.8'), "not finite"),
    "infinite atom": (FRAME.replace("Cl 2.8", "Cl inf"), "not finite"),
    "eight numbers": (FRAME.replace('"0.0 2.8', '"2.8'), "not extended XYZ"),
    "dummy": (FRAME.replace("Cl 2.8", "X 2.8"), "dummy atom"),
    "unknown": (FRAME.replace("Cl 2.8", "Foo 2.8"), "unknown element"),
    "too few columns": (FRAME.replace("2.8 2.8 2.8\n", "2.8\n"), "not extended XYZ"),
    "a word": (FRAME.replace("Cl 2.8", "Cl two"), "not extended XYZ"),
    "no atoms": ("0\n" + FRAME.splitlines()[1] + "\n", "no atoms"),
    "flat": (FRAME.replace('2.8 0.0"', '5.6 2.8"').replace('"0.0', '"2.8'), "flat cell"),
    "a million columns": (FRAME.replace("pos:R:3", "pos:R:3000000"), "not extended XYZ"),
    "a wide comment": (FRAME.replace("gap=5.0", "gap=5.0 " * 150_000), "too large"),
    "many columns": (FRAME.replace("pos:R:3", "pos:R:3" + ":a:R:1" * 2000), "not extended XYZ"),
    "deep JSON": (FRAME.replace("gap=5.0", f'x="_JSON {"[" * 100_000}"'), "not extended XYZ"),
    "no Lattice": (FRAME.replace("Lattice", "lattice"), "no cell"),
    "no comment": ("1\n\nSi 0 0 0\n", "no cell"),
}


@pytest.mark.parametrize(("bad", "reason"), BAD.values(), ids=BAD.keys())
def test_a_bad_frame_leaves_the_others(tmp_path, bad, reason):
    path = UPath(tmp_path / "a.xyz")
    path.write_text(FRAME + bad + FRAME + "\n")
    first, failure, last = entries_of(EXTXYZ, path)
    assert isinstance(first, Record)
    assert isinstance(last, Record)
    assert failure.material_id == "1"
    assert failure.reason.startswith(f"{reason}: ")


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (FRAME.replace("2\n", "3\n", 1), "truncated"),
        (FRAME[:-25], "truncated"),
        ("999999999\n", "too large"),
        ("99999999999999999999\n", "no frame"),
        ("two\n" + FRAME, "no frame"),
        ("-2\n" + FRAME, "no frame"),
        (FRAME.replace("2\n", "1\n", 1), "no frame"),
    ],
)
def test_where_frames_end_too_early_the_rest_is_one_failure(tmp_path, end, reason):
    path = UPath(tmp_path / "a.xyz")
    path.write_text(FRAME + FRAME + end)
    found = entries_of(EXTXYZ, path)
    assert isinstance(found[0], Record)
    assert found[-1].reason.startswith(f"{reason}: ")


def test_a_frame_with_more_rows_than_atoms_is_refused(tmp_path):
    path = UPath(tmp_path / "a.xyz")
    path.write_text(FRAME + FRAME.replace("2\n", "1\n", 1) + FRAME)
    first, second, third = entries_of(EXTXYZ, path)
    assert isinstance(first, Record)
    assert second.reason.startswith("wrong counts: ")
    assert third.reason.startswith("no frame: ")


def test_a_truncated_gzip_file_gives_what_is_before(tmp_path):
    noise = np.random.default_rng(0).uniform(0, 3, (60, 100, 3))
    frames = [Atoms("Si100", at, cell=[4, 4, 4], pbc=True) for at in noise]
    write(tmp_path / "plain", frames, format="extxyz")
    data = gzip.compress((tmp_path / "plain").read_bytes())
    path = UPath(tmp_path / "a.xyz.gz")
    path.write_bytes(data[: len(data) * 4 // 5])
    found = list(EXTXYZ.entries(path, Reading(), 0, 60))
    assert 5 < len(found) < 60
    assert len(found) == EXTXYZ.num_entries(path)
    assert all(isinstance(one, Record) for one in found[:-1])
    assert found[-1].reason.startswith("damaged archive: ")


def test_empty_files_noise_and_bombs_are_refused(tmp_path):
    path = UPath(tmp_path / "a.xyz")
    path.write_bytes(b"")
    assert entries_of(EXTXYZ, path)[0].reason.startswith("empty file: ")
    for seed in range(20):
        path.write_bytes(np.random.default_rng(seed).bytes(4096))
        (failure,) = entries_of(EXTXYZ, path)
        assert failure.reason.startswith("no frame: ")
    comment = FRAME.splitlines()[1].encode()
    bomb = b"2\n%b\n%b\n" % (comment, b"Na 0 0 0 " + b" " * 200 * 2**20)
    path.write_bytes(gzip.compress(FRAME.encode() + bomb, 1))
    found = list(EXTXYZ.entries(path, Reading(), 0, 9))
    assert isinstance(found[0], Record)
    assert found[1].reason.startswith("too large: ")
    assert EXTXYZ.num_entries(path) == len(found)
