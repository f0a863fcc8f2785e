import bz2
import gzip
import tracemalloc
import warnings
from contextlib import suppress

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp import Chgcar, Vasprun
from scipy.signal import resample
from upath import UPath

from omnimat.formats.format import Reading, format_of
from omnimat.formats.vasp import chgcar, vasprun
from omnimat.modalities.charge_density.resampling import resampled

CSCL = Structure(Lattice.cubic(4.1), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
RELAXED = Structure(Lattice.cubic(4.2), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
FERMI_LEVEL_EV = 2.5
ENERGIES_EV = np.linspace(-10, 10, 201)
UP, DOWN = np.exp(-((ENERGIES_EV - 1) ** 2)), np.exp(-((ENERGIES_EV + 1) ** 2))


def written(folder, name, content):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return UPath(folder / name)


def read(path):
    assert format_of(path).names_in_every_folder
    (record,) = format_of(path).entries(path, Reading(), 0, 1)
    assert record.material_id == ""
    assert list(format_of(path).entries(path, Reading(), 1, 9)) == []
    return record


# vasprun.xml


def crystal(structure, name=""):
    def vectors(rows):
        return "\n".join(f"<v> {a:.8f} {b:.8f} {c:.8f} </v>" for a, b, c in rows)

    return f"""<structure{name}>
<crystal>
<varray name="basis" >
{vectors(structure.lattice.matrix)}
</varray>
</crystal>
<varray name="positions" >
{vectors(structure.frac_coords)}
</varray>
</structure>
"""


def rows(*columns):
    lines = np.stack(columns, axis=1)
    return "\n".join("<r> " + " ".join(f"{value:.4f}" for value in row) + " </r>" for row in lines)


def total_dos(*densities):
    spins = "\n".join(
        f'<set comment="spin {number}">\n'
        f"{rows(ENERGIES_EV[: len(density)], density, np.cumsum(density))}\n</set>"
        for number, density in enumerate(densities, start=1)
    )
    return f"""<dos>
<i name="efermi"> {FERMI_LEVEL_EV} </i>
<total>
<array>
<field>energy</field>
<field>total</field>
<field>integrated</field>
<set>
{spins}
</set>
</array>
</total>
{partial()}</dos>
"""


def partial(num_lines=50):
    inside = "<r> 1.0 2.0 3.0 </r>\n" * num_lines
    return (
        f"<partial>\n<array>\n<field>energy</field>\n<set>\n{inside}</set>\n</array>\n</partial>\n"
    )


def eigenvalues(*spins):
    sets = "\n".join(
        f'<set comment="spin {number}">\n<set comment="kpoint 1">\n{rows(*spin)}\n</set>\n</set>'
        for number, spin in enumerate(spins, start=1)
    )
    return f"<eigenvalues>\n<array>\n<set>\n{sets}\n</set>\n</array>\n</eigenvalues>\n"


def energy(value, kind=""):
    names = ("e_fr_energy", "e_wo_entrp", "e_0_energy")
    inside = "".join(f'<i name="{name}"> {value} </i>\n' for name in names)
    return f"<energy>\n{inside}</energy>\n"


def step(structure=CSCL, energy_ev=-6.5, num_scf_steps=3, more=""):
    scf_step = f"<scstep>\n{energy(energy_ev)}</scstep>\n"
    forces = '<varray name="forces" >\n<v> 0 0 0 </v>\n<v> 0 0 0 </v>\n</varray>\n'
    inside = scf_step * num_scf_steps + crystal(structure) + forces + energy(energy_ev) + more
    return f"<calculation>\n{inside}</calculation>\n"


BANDS = eigenvalues((np.array([-5.0, 1.0, 3.5, 6.0]), np.array([1.0, 1.0, 0.0, 0.0])))
DONE = step(RELAXED, -7.0, more=BANDS + total_dos(UP, DOWN))


def document(*steps, nsw=0, ibrion=-1):
    return f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <generator>
  <i name="program" type="string">vasp </i>
  <i name="version" type="string">6.4.2  </i>
 </generator>
 <incar>
  <i type="int" name="NELM"> 60</i>
 </incar>
 <kpoints>
  <generation param="Gamma">
   <v type="int" name="divisions"> 1 1 1 </v>
   <v name="usershift"> 0.0 0.0 0.0 </v>
  </generation>
  <varray name="kpointlist" >
   <v> 0.0 0.0 0.0 </v>
  </varray>
  <varray name="weights" >
   <v> 1.0 </v>
  </varray>
 </kpoints>
 <parameters>
  <i type="int" name="NELM"> 60</i>
  <i type="int" name="NSW"> {nsw}</i>
  <i type="int" name="IBRION"> {ibrion}</i>
 </parameters>
 <atominfo>
  <array name="atoms" >
   <set>
    <rc><c>Cs</c><c> 1</c></rc>
    <rc><c>Cl</c><c> 2</c></rc>
   </set>
  </array>
  <array name="atomtypes" >
   <set>
    <rc><c> 1</c><c>Cs</c><c> 132.9</c><c> 9.0</c><c> PAW_PBE Cs_sv 08Apr2002 </c></rc>
    <rc><c> 1</c><c>Cl</c><c> 35.4</c><c> 7.0</c><c> PAW_PBE Cl 06Sep2000 </c></rc>
   </set>
  </array>
 </atominfo>
{crystal(CSCL, ' name="initialpos" ')}{"".join(steps or (DONE,))}
{crystal(RELAXED, ' name="finalpos" ')}</modeling>
"""


@pytest.mark.parametrize("name", ["vasprun.xml", "vasprun.xml.relax2.gz", "vasprun.xml.bz2"])
def test_the_result_of_a_calculation(tmp_path, name):
    compress = {"gz": gzip.compress, "z2": bz2.compress}.get(name[-2:], bytes)
    record = read(written(tmp_path, name, compress(document(step(), DONE).encode())))
    assert set(record.parts) == {"structure", "dos"}
    np.testing.assert_allclose(record.structure.lattice_angstrom, RELAXED.lattice.matrix)
    assert record.structure.atomic_numbers.tolist() == [55, 17]
    assert record.properties == {
        "energy_ev_per_atom": pytest.approx(-3.5),
        "band_gap_ev": pytest.approx(2.5),
    }
    dos = record.parts["dos"]
    np.testing.assert_allclose(dos.energies_ev, ENERGIES_EV - FERMI_LEVEL_EV, atol=1e-6)
    np.testing.assert_allclose(dos.spin_up_per_ev, UP, atol=1e-4)
    np.testing.assert_allclose(dos.spin_down_per_ev, DOWN, atol=1e-4)
    assert "6.4.2" in record.provenance["dos"]


def test_what_is_left_out_of_the_copy_changes_nothing(tmp_path):
    projected = f"<projected>\n{BANDS}{rows(UP)}\n</projected>\n"
    content = document(step(), step(energy_ev=-6.9), DONE.replace("<dos>", projected + "<dos>"))
    path = written(tmp_path, "vasprun.xml", content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = Vasprun(str(path), parse_potcar_file=False)
    record = read(path)
    assert record.properties["energy_ev_per_atom"] == whole.final_energy / 2
    assert record.properties["band_gap_ev"] == whole.eigenvalue_band_properties[0]
    np.testing.assert_array_equal(
        record.structure.lattice_angstrom, whole.final_structure.lattice.matrix
    )
    densities = list(whole.tdos.densities.values())
    np.testing.assert_allclose(record.parts["dos"].spin_up_per_ev, densities[0], rtol=1e-6)


@pytest.mark.parametrize("symbol", ["X", "D", "O"])
def test_atoms_that_are_not_those_of_the_pseudopotentials(tmp_path, symbol):
    content = document().replace("<rc><c>Cl</c>", f"<rc><c>{symbol}</c>")
    with pytest.raises(ValueError, match="contradicting elements") as error:
        read(written(tmp_path, "vasprun.xml", content))
    assert "Cl" in str(error.value)


def test_xenon_may_have_lost_its_second_letter(tmp_path):
    content = document().replace("<rc><c>Cl</c>", "<rc><c>X</c>").replace("PBE Cl", "PBE Xe")
    record = read(written(tmp_path, "vasprun.xml", content))
    assert record.structure.atomic_numbers.tolist() == [55, 54]


def test_a_position_that_is_no_number(tmp_path):
    content = document().replace("<v> 0.50000000 0.5", "<v> inf 0.5")
    with pytest.raises(ValueError, match="not finite"):
        read(written(tmp_path, "vasprun.xml", content))


def test_without_spin_each_channel_is_half(tmp_path):
    content = document(step(more=total_dos(UP)))
    dos = read(written(tmp_path, "vasprun.xml", content)).parts["dos"]
    np.testing.assert_array_equal(dos.spin_up_per_ev, dos.spin_down_per_ev)
    np.testing.assert_allclose(dos.spin_up_per_ev + dos.spin_down_per_ev, UP, atol=1e-4)


def test_without_bands_and_densities(tmp_path):
    record = read(written(tmp_path, "vasprun.xml", document(step())))
    assert set(record.parts) == {"structure"}
    assert set(record.properties) == {"energy_ev_per_atom"}


def test_a_metal_has_no_gap(tmp_path):
    bands = eigenvalues((np.array([-5.0, 2.4, 2.6]), np.array([1.0, 0.6, 0.4])))
    record = read(written(tmp_path, "vasprun.xml", document(step(more=bands))))
    assert record.properties.get("band_gap_ev", 0) == 0


def test_an_algorithm_may_be_a_number(tmp_path):
    content = document().replace("<incar>", '<incar>\n  <i type="string" name="ALGO"> 38</i>')
    assert "dos" in read(written(tmp_path, "vasprun.xml", content)).parts


@pytest.mark.parametrize(("ibrion", "is_noted"), [(2, True), (0, False), (-1, False)])
def test_a_relaxation_that_ran_out_of_steps_is_noted(tmp_path, ibrion, is_noted):
    content = document(step(), step(), DONE, nsw=3, ibrion=ibrion)
    record = read(written(tmp_path, "vasprun.xml", content))
    assert ("not relaxed after 3 steps" in record.provenance["structure"]) == is_noted


NOT_A_NUMBER = np.where(ENERGIES_EV == 0, np.nan, UP)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no ionic step"),
        ("<modeling>\n</modeling>\n", "no ionic step"),
        (document(""), "no ionic step"),
        (np.random.default_rng(0).bytes(10_000), "no ionic step"),
        (document()[:-300], "cut off or damaged"),
        (document()[: document().index("<dos>") + 600], "cut off or damaged"),
        (document().replace("<c>Cs</c><c> 1<", "<c>Qq</c><c> 1<"), "cut off or damaged"),
        (document().replace("4.20000000", "4.2x", 1), "cut off or damaged"),
        (document(step(num_scf_steps=60)), "did not converge"),
        (document(step(more=total_dos(NOT_A_NUMBER))), "density of states is damaged"),
        (document(step(more=total_dos(UP))).replace("<r> -9.9", "<r> -19.9"), "is damaged"),
        (document(step(more=total_dos(UP))).replace("<field>total</field>", "<x>"), "damaged"),
        (
            document(step(more=eigenvalues((np.array([np.nan, 1]), np.array([1, 0]))))),
            "an eigenvalue is not finite",
        ),
        (document().replace("<v> 0.50000000 0.50000000 0.50000000 </v>", ""), "cut off or damaged"),
        (document(step(more=total_dos(UP, DOWN[:-1]))), "differ in length"),
        (document(step(energy_ev="nan")), "energy is not a number"),
        (document().replace("<modeling>", '<!DOCTYPE x [<!ENTITY a "b">]>\n<modeling>'), "type"),
        ("<calculation>\n" + "x" * 200 + "\n", "cut off or damaged"),
    ],
)
def test_what_is_wrong_with_a_vasprun_is_said(tmp_path, content, reason):
    with pytest.raises(ValueError, match=reason):
        read(written(tmp_path, "vasprun.xml", content))


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: data[40:]])
def test_a_damaged_archive_is_refused(tmp_path, damage):
    path = written(tmp_path, "vasprun.xml.gz", damage(gzip.compress(document().encode())))
    with pytest.raises(ValueError, match=r"damaged archive|no ionic step"):
        read(path)


def test_a_document_without_end_is_refused(tmp_path):
    bomb = gzip.compress(b"<calculation>\n" + bytes(200_000_000), 1)
    assert len(bomb) < 2_000_000
    with pytest.raises(ValueError, match="too large"):
        read(written(tmp_path, "vasprun.xml.gz", bomb))


# DOSCAR


def doscar(energies=ENERGIES_EV, densities=(UP, DOWN), count=None, after=""):
    integrals = [np.cumsum(density) for density in densities]
    table = np.stack([energies, *densities, *integrals], axis=1)
    count = len(energies) if count is None else count
    head = (
        "   2   2   1   0\n"
        "  0.1482975E+02  0.2757716E-09  0.2757716E-09  0.2757716E-09  0.5000000E-15\n"
        "  1.000000000000000E-004\n  CAR \n CsCl\n"
        f"{ENERGIES_EV[-1]:16.8f}{ENERGIES_EV[0]:16.8f}{count:5d}{FERMI_LEVEL_EV:16.8f}"
        f"{1:16.8f}\n"
    )
    body = "".join(
        f"{row[0]:11.3f}" + "".join(f"{value:12.4E}" for value in row[1:]) + "\n" for row in table
    )
    return head + body + after


@pytest.mark.parametrize("name", ["DOSCAR", "DOSCAR.gz", "doscar_scf"])
def test_a_doscar_of_both_spins(tmp_path, name):
    of_atoms = "   10.0   -10.0  301   2.5   1.0\n  -10.0  0.1 0.2 0.3\n"
    content = doscar(after=of_atoms).encode()
    path = written(tmp_path, name, gzip.compress(content) if name.endswith("gz") else content)
    record = read(path)
    assert set(record.parts) == {"dos"}
    dos = record.parts["dos"]
    np.testing.assert_allclose(dos.energies_ev, ENERGIES_EV - FERMI_LEVEL_EV, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(dos.spin_up_per_ev, UP, rtol=1e-4, atol=1e-30)
    np.testing.assert_allclose(dos.spin_down_per_ev, DOWN, rtol=1e-4, atol=1e-30)


def test_a_doscar_without_spin_is_halved(tmp_path):
    dos = read(written(tmp_path, "DOSCAR", doscar(densities=(UP,)))).parts["dos"]
    np.testing.assert_array_equal(dos.spin_up_per_ev, dos.spin_down_per_ev)
    np.testing.assert_allclose(dos.spin_up_per_ev, UP / 2, rtol=1e-4, atol=1e-30)


def test_energies_closer_than_the_decimals_of_a_doscar(tmp_path):
    close = np.linspace(ENERGIES_EV[0], ENERGIES_EV[-1], 30_001)
    content = doscar(close, (np.ones_like(close),))
    dos = read(written(tmp_path, "DOSCAR", content)).parts["dos"]
    assert (np.diff(dos.energies_ev) > 0).all()
    np.testing.assert_allclose(dos.energies_ev, close - FERMI_LEVEL_EV, atol=1e-5)


def test_exponents_of_three_digits_lose_their_letter(tmp_path):
    content = doscar().replace(f"{UP[0]:12.4E}", "  0.1234-100", 1)
    assert "0.1234-100" in content
    assert read(written(tmp_path, "DOSCAR", content)).parts["dos"].spin_up_per_ev[0] == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "head"),
        ("a\n" * 20, "head"),
        (np.random.default_rng(0).bytes(10_000), "head"),
        (doscar()[:-300], "cut off"),
        (doscar(count=301), "cut off"),
        (doscar(count=101), "not those of its head"),
        (doscar(count=0), "impossible number"),
        (doscar().replace("  201  ", " 1e12  "), "impossible number"),
        (doscar().replace("  201  ", "  nan  "), "impossible number"),
        (doscar(ENERGIES_EV[::-1]), "not those of its head"),
        (doscar(densities=(UP, DOWN, UP)), "three or five"),
        (doscar(densities=(NOT_A_NUMBER,)), "not finite"),
        (doscar().replace(f"{UP[9]:12.4E}", "*" * 12, 1), "number cannot be read"),
        (doscar().replace("\n", " 1.0\n").replace(" 1.0\n", "\n", 40), "three or five"),
        (doscar().replace(f"{FERMI_LEVEL_EV:16.8f}", "             nan", 1), "not finite"),
    ],
)
def test_what_is_wrong_with_a_doscar_is_said(tmp_path, content, reason):
    with pytest.raises(ValueError, match=reason):
        read(written(tmp_path, "DOSCAR", content))


# CHGCAR


def density(shape, num_electrons=16.0, highest=5):
    """A density with Fourier terms up to the fifth along each axis."""
    grid = np.full(shape, num_electrons)
    generator = np.random.default_rng(0)
    points = np.meshgrid(*(np.arange(size) / size for size in shape), indexing="ij")
    for orders in generator.integers(-highest, highest + 1, (20, 3)):
        if orders.any():
            angle = 2 * np.pi * sum(n * x for n, x in zip(orders, points, strict=True))
            grid += generator.normal() * np.cos(angle + generator.normal())
    return grid


def chgcar_text(tmp_path, grid, crystal=CSCL, **more):
    aug = {1: np.arange(33.0) / 7, 2: np.arange(8.0) / 7}
    data = {"total": grid, **more}
    Chgcar(crystal, data, dict.fromkeys(data, aug)).write_file(str(tmp_path / "written"))
    return (tmp_path / "written").read_text()


@pytest.mark.parametrize("shape", [(36, 40, 48), (12, 32, 34), (33, 11, 12)])
@pytest.mark.parametrize("lines_at_a_time", [1, 7, 100_000])
def test_a_band_limited_density_is_exact(tmp_path, monkeypatch, shape, lines_at_a_time):
    monkeypatch.setattr(chgcar, "_LINES_AT_A_TIME", lines_at_a_time)
    path = written(tmp_path, "CHGCAR", chgcar_text(tmp_path, density(shape)))
    record = read(path)
    np.testing.assert_allclose(record.structure.lattice_angstrom, CSCL.lattice.matrix)
    grid = record.parts["charge_density"]
    assert (grid.shape, grid.dtype) == ((32, 32, 32), np.float32)
    # The file has eleven digits, and the grid is stored in single precision.
    np.testing.assert_allclose(grid, density((32, 32, 32)), rtol=1e-5, atol=1e-5)
    assert grid.mean(dtype=np.float64) == pytest.approx(16, rel=1e-6)


def test_any_density_keeps_its_electrons_and_equals_the_plain_resampling(tmp_path):
    grid = np.random.default_rng(0).gamma(2, 3, (40, 36, 50))
    path = written(tmp_path, "CHGCAR.gz", gzip.compress(chgcar_text(tmp_path, grid).encode()))
    found = read(path).parts["charge_density"]
    expected = grid
    for axis in range(3):
        expected = resample(expected, 32, axis=axis)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(resampled(grid, 32), expected, rtol=1e-12)
    assert found.mean(dtype=np.float64) == pytest.approx(grid.mean(), rel=1e-6)


def test_the_first_grid_is_the_sum_over_spins(tmp_path):
    total, difference = density((32, 32, 32)), density((32, 32, 32), 1.0, 3)
    text = chgcar_text(tmp_path, total, diff=difference)
    assert text.count("   32   32   32") == 2
    grid = read(written(tmp_path, "CHGCAR", text)).parts["charge_density"]
    np.testing.assert_allclose(grid, total, rtol=1e-6)


def test_moments_of_the_atoms_may_follow(tmp_path):
    text = chgcar_text(tmp_path, density((32, 32, 32)))
    text = text[: text.index("augmentation")] + "  0.5E+00  0.1E-01\n   32   32   32\n"
    assert read(written(tmp_path, "CHGCAR", text)).parts["charge_density"].mean() > 0


def test_all_electrons_are_those_of_two_files(tmp_path):
    cores, valence = density((36, 36, 36), 46.0), density((36, 36, 36), 16.0, 3)
    written(tmp_path, "AECCAR2", chgcar_text(tmp_path, valence))
    record = read(written(tmp_path, "AECCAR0", chgcar_text(tmp_path, cores)))
    grid = record.parts["charge_density"]
    assert grid.mean(dtype=np.float64) == pytest.approx(62, rel=1e-6)
    np.testing.assert_allclose(grid, resampled(cores + valence, 32), rtol=1e-5)
    assert "AECCAR" in record.provenance["charge_density"]
    assert set(read(tmp_path / "AECCAR2").parts) == {"structure"}


def test_the_axes_of_a_density_are_those_of_a_left_handed_cell(tmp_path):
    lattice = Lattice([[0, 4.2, 0], [4.4, 0, 0], [0, 0, 4.2]])
    left_handed = Structure(lattice, ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    grid = density((8, 12, 8), 16.0, 1)
    record = read(written(tmp_path, "CHGCAR", chgcar_text(tmp_path, grid, left_handed)))
    assert np.linalg.det(record.structure.lattice_angstrom) < 0
    np.testing.assert_allclose(record.structure.lattice_angstrom, left_handed.lattice.matrix)
    np.testing.assert_allclose(record.parts["charge_density"], resampled(grid, 32), rtol=1e-4)


def test_all_electrons_need_both_files_of_one_cell(tmp_path):
    path = written(
        tmp_path,
        "AECCAR0.gz",
        gzip.compress(chgcar_text(tmp_path, density((8, 8, 8), 16.0, 2)).encode()),
    )
    with pytest.raises(ValueError, match=r"no AECCAR2\.gz"):
        read(path)
    other = chgcar_text(tmp_path, density((8, 8, 8), 16.0, 2), RELAXED)
    written(tmp_path, "AECCAR2.gz", gzip.compress(other.encode()))
    with pytest.raises(ValueError, match="different structures"):
        read(path)


SMALL = (6, 5, 4)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda text: "", "structure of the charge density"),
        (lambda text: "\n" * 50, "structure of the charge density"),
        (lambda text: text[:150], "structure of the charge density"),
        (lambda text: text[: text.index("   6   5   4")], "grid points cannot be read"),
        (lambda text: text[: len(text) // 2], "cut off|do not fit"),
        (lambda text: text[: text.index("augmentation")].rstrip()[:-3], "cut off"),
        (lambda text: text[: text.index("augmentation")].rstrip()[:-40], "cut off|do not fit"),
        (
            lambda text: text[: text.index("0.1")] + text[text.index("0.1") + 40 :],
            "do not fit|cut off",
        ),
        (lambda text: text.replace("   6   5   4", "   6   5   5"), "cut off|do not fit|cannot be"),
        (lambda text: text.replace("   6   5   4", "   6   5   2"), "more numbers"),
        (lambda text: text.replace("   6   5   4", "   6   5   3"), "more numbers"),
        (lambda text: text.replace("   6   5   4", "   6   5"), "grid points cannot be read"),
        (lambda text: text.replace("   6   5   4", "   6  -5   4"), "grid points cannot be read"),
        (lambda text: text.replace("   6   5   4", "   0   5   4"), "impossible"),
        (lambda text: text.replace("   6   5   4", " 99999 99999 99999"), "impossible"),
        (lambda text: text.replace("   6   5   4", "  2000  2000  2000"), "cut off|do not|cannot"),
        (lambda text: text.replace("E+02", " nan", 1), "do not fit|not finite|cannot"),
        (lambda text: text.replace("0.1", "nan", 3), "not finite|cannot be read|do not fit"),
        (lambda text: text.replace("Cs   Cl   \n", ""), "elements|structure of the charge"),
        (lambda text: text.replace("     1     1\n", " 99999999999999 1\n"), "numbers of atoms"),
        (lambda text: text.replace("E+02", "E+99", 1), "not finite"),
        (lambda text: text.replace("Cs ", "Qq "), "structure of the charge density"),
        (lambda text: text.replace("  0.500000  0.500000", "  half", 1), "structure of the charge"),
    ],
)
def test_what_is_wrong_with_a_chgcar_is_said(tmp_path, damage, reason):
    text = chgcar_text(tmp_path, density(SMALL, highest=1))
    assert "   6   5   4" in text
    with pytest.raises(ValueError, match=reason):
        read(written(tmp_path, "CHGCAR", damage(text)))


def test_densities_that_are_none(tmp_path):
    for value in (0.0, -1.0):
        text = chgcar_text(tmp_path, np.full(SMALL, value))
        with pytest.raises(ValueError, match="no electrons"):
            read(written(tmp_path, "CHGCAR", text))
    with pytest.raises(ValueError, match="structure of the charge density"):
        read(written(tmp_path, "CHGCAR", np.random.default_rng(0).bytes(100_000)))


def test_a_grid_without_end_takes_no_memory(tmp_path):
    text = chgcar_text(tmp_path, density(SMALL, highest=1))
    head = text[: text.index("   6   5   4")].encode()
    line = b" 0.12345678901E+02" * 5 + b"\n"
    bomb = gzip.compress(head + b"  1000  1000  2000\n" + line * 500_000, 1)
    path = written(tmp_path, "CHGCAR.gz", bomb)
    del bomb
    tracemalloc.start()
    with pytest.raises(ValueError, match="cut off"):
        read(path)
    assert tracemalloc.get_traced_memory()[1] < 200_000_000
    tracemalloc.stop()


def test_a_copy_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(vasprun.tempfile, "tempdir", str(tmp_path))
    for content in (document(), document()[:-300]):
        with suppress(ValueError):
            read(written(tmp_path, "vasprun.xml", content))
        assert [one.name for one in tmp_path.iterdir()] == ["vasprun.xml"]
