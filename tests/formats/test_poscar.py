import gzip

import numpy as np
import pytest
from pymatgen.io.vasp import Poscar
from upath import UPath

from omnimat.formats.crystals import from_ase
from omnimat.formats.format import Reading, format_of
from omnimat.formats.poscar import POSCAR, parse
from omnimat.materials.crystals import to_pymatgen
from omnimat.testing.format_conformance import assert_same_crystal, entries_of, records_of
from omnimat.testing.materials import example_records

STRUCTURES = [record.structure for record in example_records()]
SALT = """salt
5.6
0.0 0.5 0.5
0.5 0.0 0.5
0.5 0.5 0.0
Na Cl
1 1
Direct
0.0 0.0 0.0
0.5 0.5 0.5
"""


@pytest.mark.parametrize("structure", STRUCTURES[:6])
@pytest.mark.parametrize("name", ["POSCAR", "a.vasp", "contcar.gz", "POSCAR_1", "b.poscar.gz"])
def test_what_pymatgen_writes(tmp_path, structure, name):
    # pymatgen writes 16 decimals of fractions and of angstrom.
    text = Poscar(to_pymatgen(structure)).get_str()
    path = UPath(tmp_path / name)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    assert format_of(path) is POSCAR
    (record,) = records_of(POSCAR, path)
    assert record.material_id == ""
    assert_same_crystal(record.structure, structure, 1e-12)


@pytest.mark.parametrize("structure", STRUCTURES[:6])
@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("vasp5", [True, False])
def test_what_ase_writes(tmp_path, structure, direct, vasp5):
    # ASE writes 16 decimals; without line 6, it names the elements in the first line.
    from ase.io import write

    atoms = to_pymatgen(structure).to_ase_atoms()
    write(tmp_path / "POSCAR", atoms, format="vasp", direct=direct, vasp5=vasp5)
    (record,) = records_of(POSCAR, UPath(tmp_path / "POSCAR"))
    assert_same_crystal(record.structure, from_ase(atoms), 1e-10)
    assert ("first line" in record.provenance.get("structure", "")) != vasp5


def test_a_negative_scale_is_the_volume_and_scales_cartesian_coordinates():
    cartesian = SALT.replace("Direct", "Cartesian").replace("5.6", "-20.0")
    structure, _ = parse(cartesian)
    assert np.linalg.det(structure.lattice_angstrom) == pytest.approx(20.0)
    length = (20.0 / 0.25) ** (1 / 3)
    cell = length * np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    np.testing.assert_allclose(structure.lattice_angstrom, cell)
    chlorine = structure.frac_coords[1] @ cell
    difference = (chlorine - 0.5 * length) @ np.linalg.inv(cell)
    np.testing.assert_allclose(difference, np.round(difference), atol=1e-9)


def test_three_scales():
    structure, _ = parse(SALT.replace("5.6", "2.0 4.0 6.0"))
    np.testing.assert_allclose(structure.lattice_angstrom[0], [0, 2.0, 3.0])


def test_labels_of_potentials_are_no_part_of_an_element_and_long_lists_are_broken():
    # VASP 6 writes a hash behind each name, and twenty names in a line.
    names = " ".join(["Na_pv/1b2c3d Cl/77aa"] * 10)
    head, _, _ = SALT.partition("Na Cl")
    rows = "\n".join(f"{i / 24} 0.0 {i % 2 / 2}" for i in range(24))
    ones = " ".join(["1"] * 20)
    text = f"{head}{names}\nNa Cl Na Cl\n{ones}\n1 1 1 1\nDirect\n{rows}\n"
    structure, _ = parse(text)
    assert structure.atomic_numbers.tolist() == [11, 17] * 12


def test_selective_dynamics_and_velocities_are_no_coordinates():
    text = SALT.replace("Direct", "Selective dynamics\nDirect").replace(
        "0.5 0.5 0.5\n", "0.5 0.5 0.5 T F F\n"
    )
    structure, _ = parse(text + "\n0.1 0.1 0.1\n0.2 0.2 0.2\n")
    assert_same_crystal(structure, parse(SALT)[0])


def test_elements_beside_the_coordinates():
    text = SALT.replace("Na Cl\n1 1", "1 1").replace("0.0 0.0 0.0", "0.0 0.0 0.0 Na")
    structure, notes = parse(text.replace("0.5 0.5 0.5\n", "0.5 0.5 0.5 Cl\n"))
    assert structure.atomic_numbers.tolist() == [11, 17]
    assert "beside" in notes["structure"]


BAD = {
    "blank": ("", "empty file"),
    "truncated header": (SALT[:33], "truncated"),
    "truncated atoms": (SALT[:-12], "truncated"),
    "NaN cell": (SALT.replace("0.0 0.5 0.5", "nan 0.5 0.5"), "not finite"),
    "NaN atom": (SALT.replace("0.0 0.0 0.0", "0.0 nan 0.0"), "not finite"),
    "infinite cell": (SALT.replace("0.0 0.5 0.5", "inf 0.5 0.5"), "not finite"),
    "stars": (SALT.replace("0.0 0.0 0.0", "**** 0.0 0.0"), "no numbers"),
    "dummy": (SALT.replace("Na Cl", "X Cl"), "unknown element"),
    "unknown": (SALT.replace("Na Cl", "Na Zz"), "unknown element"),
    "surplus element": (SALT.replace("Na Cl", "Na Cl K"), "wrong counts"),
    "surplus count": (SALT.replace("\n1 1\n", "\n1 1 1\n"), "wrong counts"),
    "an atom too many": (SALT + "0.5 0.5 0.0\n", "wrong counts"),
    "negative count": (SALT.replace("\n1 1\n", "\n-1 1\n"), "wrong counts"),
    "no atoms": (SALT.replace("\n1 1\n", "\n0 0\n"), "no atoms"),
    "a billion atoms": (SALT.replace("\n1 1\n", "\n999999999 1\n"), "too many atoms"),
    "no elements": (SALT.replace("Na Cl\n", ""), "no elements"),
    "zero vector": (SALT.replace("0.0 0.5 0.5", "0.0 0.0 0.0", 1), "no cell"),
    "flat": (SALT.replace("0.0 0.5 0.5", "1.0 0.5 0.5", 1), "flat cell"),
    "two numbers": (SALT.replace("0.0 0.5 0.5", "0.5 0.5", 1), "no numbers"),
    "huge": (SALT.replace("5.6", "1e300"), "too large"),
    "no scale": (SALT.replace("5.6", "one"), "no numbers"),
    "no mode": (SALT.replace("Direct\n", ""), "not a POSCAR"),
    "two scales": (SALT.replace("5.6", "5.6 5.6"), "wrong counts"),
}


@pytest.mark.parametrize(("text", "reason"), BAD.values(), ids=BAD.keys())
def test_bad_files_are_refused(tmp_path, text, reason):
    path = UPath(tmp_path / "POSCAR")
    path.write_text(text)
    with pytest.raises(ValueError, match=f"^{reason}: "):
        entries_of(POSCAR, path)


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_refused(tmp_path, seed):
    path = UPath(tmp_path / "POSCAR")
    path.write_bytes(np.random.default_rng(seed).bytes(4096))
    with pytest.raises(ValueError, match=": "):
        entries_of(POSCAR, path)


def test_any_beginning_of_a_file_is_refused(tmp_path):
    path = UPath(tmp_path / "POSCAR")
    for size in range(len(SALT) - 5):  # what is left then still has two atoms
        path.write_text(SALT[:size])
        with pytest.raises(ValueError, match=": "):
            list(POSCAR.entries(path, Reading(), 0, 1))


def test_a_damaged_gzip_file_and_a_bomb_are_refused(tmp_path):
    path = UPath(tmp_path / "POSCAR.gz")
    path.write_bytes(gzip.compress(SALT.encode())[:-20])
    with pytest.raises(ValueError, match=r"^damaged archive: "):
        entries_of(POSCAR, path)
    path.write_bytes(gzip.compress(b" " * 200 * 2**20, 1))
    with pytest.raises(ValueError, match=r"^too large: "):
        entries_of(POSCAR, path)
