"""What is read from a CIF, and what is refused because it is not certain."""

import gzip
import importlib.util
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import spglib
from ase.data import atomic_numbers
from pymatgen.io.cif import CifParser
from upath import UPath

from omnimat.formats.cif.reader import crystal_of, read
from omnimat.formats.format import Reading, format_of
from omnimat.materials.crystals import (
    from_pymatgen,
    lattice_from_parameters,
    to_pymatgen,
)
from omnimat.materials.record import Failure
from omnimat.materials.validation import validate

CELL = dict.fromkeys(("a", "b", "c"), "4.12") | dict.fromkeys(("alpha", "beta", "gamma"), "90")
COLUMNS = "label type_symbol fract_x fract_y fract_z occupancy"
CS, CL = "Cs1 Cs1+ 0 0 0 1", "Cl1 Cl1- 0.5 0.5 0.5 1"


def cif(*sites, columns=COLUMNS, cell=CELL, operations="x,y,z", more="", name="x"):
    lines = [f"data_{name}", more]
    for key, value in cell.items():
        lines.append(f"_cell_{'length' if key in 'abc' else 'angle'}_{key} {value}")
    lines += ["loop_", "_symmetry_equiv_pos_as_xyz", *operations.split(";")]
    lines += ["loop_", *(f"_atom_site_{column}" for column in columns.split())]
    return "\n".join([*lines, *sites, ""])


def symbols(text, reading=None):
    structure, _ = crystal_of(text, reading or Reading())
    names = {number: symbol for symbol, number in atomic_numbers.items()}
    return [names[number] for number in structure.atomic_numbers.tolist()]


def note(text, **reading):
    return crystal_of(text, Reading(**reading))[1].get("structure", "")


def refused(text, **reading):
    with pytest.raises(ValueError, match=r"^[A-Za-z0-9 ]+: ") as caught:
        crystal_of(text, Reading(**reading))
    return str(caught.value)


def test_a_crystal():
    structure, notes = crystal_of(cif(CS, CL))
    np.testing.assert_array_equal(
        structure.lattice_angstrom, lattice_from_parameters([4.12, 4.12, 4.12, 90, 90, 90])
    )
    assert structure.atomic_numbers.tolist() == [55, 17]
    np.testing.assert_array_equal(structure.frac_coords, [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert notes == {}


# ---- bytes and blocks


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + cif(CS, CL).encode(),
        "\ufeff" + cif(CS, CL),
        cif(CS, CL).replace("\n", "\r\n"),
        cif(CS, CL, more='_publ_section_title "caf\xe9"').encode("latin-1"),
        cif(CS, CL, more='_publ_section_title "caf\xe9"').encode("utf-8"),
        cif(CS, CL, more="_journal_pages 1\u20132").encode("utf-8"),
        cif(CS, CL, more="_publ_section_title\n;\n_cell_length_a 9\n;").encode(),
        cif(CS, CL) + "\0\0\0",
        cif(CS, CL).replace("_cell_length_a", "_cell.length_a"),
        cif(CS, CL).replace("_cell_length_a", "_CELL_LENGTH_A"),
    ],
)
def test_encodings_and_forms(data):
    assert symbols(data) == ["Cs", "Cl"]


@pytest.mark.parametrize(
    "text",
    [
        cif("Cs1 Cs 0 0 0", CL),
        cif(CS, CL)[:-4],
        cif(CS, CL).replace("Cs1 ", "Cs\0 "),
        cif(CS, CL, more="_cell_length_a 5"),
        cif(CS, CL, more='_title "open'),
        "no CIF at all",
    ],
)
def test_broken_texts(text):
    assert refused(text).startswith("broken CIF: ")


def test_an_item_that_is_given_twice_counts_where_it_is_known():
    for twice in (("'Cs Cl2'", "''"), ("?", "'Cs Cl2'"), ("'Cs Cl2'", "'Cs Cl2'")):
        more = "\n".join(f"_chemical.formula_sum {one}" for one in twice).replace(".", "_", 1)
        assert refused(cif(CS, CL, more=more)).startswith("contradicting composition: ")
    assert symbols(cif(CS, CL, more="_refln_x 1\n_refln.x 2")) == ["Cs", "Cl"]


def test_no_crystal_and_several():
    assert refused("").startswith("no crystal: ")
    assert refused("data_x\n_cell_length_a 4.12\n").startswith("no crystal: ")
    assert "2" in refused(cif(CS) + cif(CL, name="y"))


def test_files(tmp_path):
    several = "data_global\n_audit_author me\n" + cif(CS, CL, name="one") + cif("bad", name="two")
    several = several.replace("bad", "X1 X 0 0 0 1") + cif(CS, name="three")
    (tmp_path / "A.CIF").write_text(several)
    (tmp_path / "b.cif.gz").write_bytes(gzip.compress(cif(CS, CL).encode()))
    (tmp_path / "c.mcif").write_text(cif(CS, CL))
    for name in ("A.CIF", "b.cif.gz", "c.mcif"):
        assert format_of(UPath(tmp_path / name)).label == "CIF"
    one, two, three = read(UPath(tmp_path / "A.CIF"), Reading(), 0, 10)
    assert [one.material_id, two.material_id, three.material_id] == ["one", "two", "three"]
    assert isinstance(two, Failure)
    assert "'X'" in two.reason
    assert three.structure.atomic_numbers.tolist() == [55]
    assert [entry.material_id for entry in read(UPath(tmp_path / "A.CIF"), Reading(), 2, 3)] == [
        "three"
    ]
    (only,) = read(UPath(tmp_path / "b.cif.gz"), Reading(), 0, 1)
    assert (only.material_id, only.structure.atomic_numbers.tolist()) == ("", [55, 17])
    read_from_memory = UPath("memory://crystals/d.cif")
    read_from_memory.parent.mkdir(parents=True, exist_ok=True)
    read_from_memory.write_text(cif(CS, CL))
    assert len(list(read(read_from_memory, Reading(), 0, 1))) == 1


def test_packed_files_that_are_too_large_or_damaged(tmp_path):
    bomb, cut = UPath(tmp_path / "bomb.cif.gz"), UPath(tmp_path / "cut.cif.gz")
    bomb.write_bytes(gzip.compress(b"#" * (65 * 2**20), compresslevel=1))
    cut.write_bytes(gzip.compress(cif(CS, CL).encode())[:-20])
    for path, kind in ((bomb, "too large: "), (cut, "damaged archive: ")):
        with pytest.raises(ValueError, match=f"^{kind}"):
            list(read(path, Reading(), 0, 1))


def test_a_formula_of_another_block_belongs_to_an_only_crystal():
    text = "data_global\n_chemical_formula_sum 'Cs Cl H3'\n" + cif(CS, CL)
    assert refused(text).startswith("missing hydrogens: ")


# ---- the cell


@pytest.mark.parametrize("key", ["a", "b", "c", "alpha", "beta", "gamma"])
@pytest.mark.parametrize("value", ["?", ".", "0", "-4", "nan", "inf", "1e999", "4,12", "1e5"])
def test_an_unknown_or_impossible_cell_names_its_key(key, value):
    reason = refused(cif(CS, CL, cell={**CELL, key: value}))
    assert reason.startswith(("unknown cell: ", "impossible cell: "))
    assert f"_cell_{'length' if key in 'abc' else 'angle'}_{key}" in reason


def test_impossible_angles_and_a_contradicting_volume():
    assert "_cell_angle_alpha" in refused(cif(CS, cell={**CELL, "alpha": 30, "beta": 120}))
    assert "_cell_length_b" in refused(cif(CS, CL).replace("_cell_length_b", "_no"))
    assert refused(cif(CS, CL, more="_cell_volume 75.2")).startswith("contradicting volume: ")
    assert symbols(cif(CS, CL, more="_cell_volume 69.9(3)")) == ["Cs", "Cl"]
    assert symbols(cif(CS, CL, more="_cell_volume ?")) == ["Cs", "Cl"]


# ---- species


@pytest.mark.parametrize(
    ("written", "symbol"),
    [("Fe3+", "Fe"), ("O2-", "O"), ("Cl1-", "Cl"), ("Fe+3", "Fe"), ("Na+", "Na"), ("FE", "Fe"),
     ("Fe1", "Fe"), ("fe", "Fe"), ("CL1-", "Cl"), ("D", "H"), ("T", "H"), ("Fe2.5+", "Fe")],
)  # fmt: skip
def test_type_symbols(written, symbol):
    assert symbols(cif(f"any {written} 0 0 0 1")) == [symbol]


@pytest.mark.parametrize(
    "written",
    ["X", "M", "Q", "NH4", "NH4+", "CN", "CO", "OS", "HDO", "Vac", "Xx", "Fe/Ni", "0.5Fe"],
)
def test_symbols_of_no_element_are_named(written):
    reason = refused(cif(CS, f"any {written} 0.5 0.5 0.5 1"))
    assert reason.startswith("unknown species: ")
    assert repr(written) in reason


@pytest.mark.parametrize("written", ["OH", "Oh", "Wat", "OW", "H2O", "O-H", "OH-"])
def test_waters_and_hydroxyls_lack_their_hydrogens(written):
    text = cif(CS, f"any1 {written} 0.5 0.5 0.5 1")
    assert refused(text).startswith("missing hydrogens: any1")
    assert symbols(text, Reading(missing_hydrogens="keep")) == ["Cs", "O"]
    assert "hydrogens are missing" in note(text, missing_hydrogens="keep")


@pytest.mark.parametrize("written", ["D", "D1", "T"])
def test_isotopes_are_hydrogen_with_a_note(written):
    assert "deuterium" in note(cif(f"any {written} 0 0 0 1"))


LABELLED = "label fract_x fract_y fract_z"


@pytest.mark.parametrize(
    ("label", "formula", "symbol"),
    [("Cs1", "", "Cs"), ("O2'", "", "O"), ("Na", "", "Na"), ("C(12)", "", "C"), ("H1A", "", "H"),
     ("CA1", "Ca", "Ca"), ("CA1", "C", "C"), ("SI1", "Si", "Si"), ("OA1", "", "O"),
     ("FeM1", "Fe", "Fe"), ("Oa1", "O", "O"), ("HO1", "Ho", "Ho")],
)  # fmt: skip
def test_labels(label, formula, symbol):
    more = f"_chemical_formula_sum '{formula or '?'}'"
    assert symbols(cif(f"{label} 0 0 0", columns=LABELLED, more=more)) == [symbol]


@pytest.mark.parametrize(
    ("label", "kind"),
    [("Wat1", "missing hydrogens"), ("Oh1", "missing hydrogens"), ("OW1", "missing hydrogens"),
     ("Vac", "unknown species"), ("NH4", "unknown species"), ("X1", "unknown species"),
     ("M1", "unknown species"), ("Q1", "unknown species"), ("T1", "unknown species"),
     ("HDO", "unknown species"), ("SO4", "unknown species"), ("CA1", "ambiguous species"),
     ("SI1", "ambiguous species"), ("?", "unknown species")],
)  # fmt: skip
def test_labels_that_are_no_element_for_certain(label, kind):
    reason = refused(cif(f"{label} 0 0 0", columns=LABELLED))
    assert reason.startswith(kind)
    assert label == "?" or label in reason


def test_a_vacancy_is_not_vanadium_where_there_is_vanadium():
    text = cif("V1 0 0 0", "O1 0.5 0.5 0.5", "Vac 0.5 0 0", columns=LABELLED,
               more="_chemical_formula_sum 'V O'")  # fmt: skip
    assert refused(text).startswith("contradicting composition: ")


# ---- occupancies and coordinates


@pytest.mark.parametrize("value", [".", "?", "1.0", "1.00002", "0.9995(3)"])
def test_occupancies_that_are_1(value):
    text = cif(f"Cs1 Cs 0 0 0 {value}", CL)
    assert symbols(text) == ["Cs", "Cl"]
    assert bool(note(text)) == (value == "?")


@pytest.mark.parametrize(
    ("value", "kind"),
    [("1.02(2)", "occupancy above 1"), ("-1", "impossible occupancy"), ("nan", "impossible"),
     ("inf", "impossible"), ("0.5", "partial occupancy"), ("half", "impossible")],
)  # fmt: skip
def test_occupancies_that_are_not(value, kind):
    reason = refused(cif(f"Cs1 Cs 0 0 0 {value}", CL))
    assert reason.startswith(kind)
    assert value.partition("(")[0] in reason


def test_an_empty_site_is_left_out_with_a_note():
    text = cif(CS, CL, "O1 O 0.5 0 0 0.0")
    assert symbols(text) == ["Cs", "Cl"]
    assert "O1" in note(text)


def test_parts_of_one_element_on_one_place_add_up():
    thirds = [f"Cs{i} Cs 0 0 0 0.333" for i in range(3)]
    assert symbols(cif(*thirds, CL)) == ["Cs", "Cl"]
    charges = ["Fe1 Fe2+ 0 0 0 0.5", "Fe2 Fe3+ 0 0 0 0.5"]
    assert symbols(cif(*charges, CL)) == ["Fe", "Cl"]


def test_several_elements_on_one_place_are_disorder():
    reason = refused(cif("Fe1 Fe 0 0 0 0.5", "Ni1 Ni 0 0 0 0.5", CL))
    assert reason == "partial occupancy: a site holds Fe0.5 Ni0.5"
    assert refused(cif("Fe1 Fe 0 0 0 0.7", "Ni1 Ni 0 0 0 0.5", CL)).startswith("occupancy above 1")


def test_disorder_is_ordered_on_request():
    operations = "x,y,z;x+1/2,y+1/2,z;x+1/2,y,z+1/2;x,y+1/2,z+1/2"
    text = cif("Fe1 Fe 0 0 0 0.5", "Ni1 Ni 0 0 0 0.5", operations=operations)
    assert sorted(symbols(text, Reading(disorder="nearest_ordered"))) == ["Fe", "Fe", "Ni", "Ni"]
    assert "Fe0.5 Ni0.5" in note(text, disorder="nearest_ordered")


def test_two_whole_atoms_on_one_place_overlap():
    for sites in (("H1 H 0.5 0.5 0.5 1", "O1 O 0.5 0.5 0.5 1"), (CL, "Cl2 Cl 0.5 0.5 0.5 1"),
                  (CL, "O1 O 0.5 0.5 0.5 1", "Fe1 Fe 0 0.5 0 0.5")):  # fmt: skip
        assert refused(cif(CS, *sites)).startswith("overlapping atoms: ")


def test_different_sites_are_never_merged():
    text = cif(CS, CL, "O1 O 0.5 0 0.1 1", "O2 O 0.5 0.0008 0.1 1")
    assert len(symbols(text)) == 4
    with pytest.raises(ValueError, match="overlapping atoms"):
        validate(crystal_of(text)[0])


@pytest.mark.parametrize("value", ["?", ".", "nan", "inf", "1/3", "0,5", "1e999"])
def test_unknown_coordinates(value):
    assert refused(cif(CS, f"Cl1 Cl {value} 0.5 0.5 1")).startswith("unknown coordinates: ")
    hydrogen = cif(CS, CL, f"H1 H {value} ? ? 1")
    assert refused(hydrogen).startswith("missing hydrogens: H1")
    assert symbols(hydrogen, Reading(missing_hydrogens="keep")) == ["Cs", "Cl"]
    assert "H1" in note(hydrogen, missing_hydrogens="keep")


def test_attached_hydrogens_are_missing():
    columns = COLUMNS + " attached_hydrogens"
    text = cif(CS + " 0", CL + " .", "O1 O 0.5 0 0 1 2", columns=columns)
    assert refused(text).startswith("missing hydrogens: 2")
    assert symbols(cif(CS + " 0", CL + " .", columns=columns)) == ["Cs", "Cl"]


def test_dummy_sites_are_no_atoms():
    columns = COLUMNS + " calc_flag"
    text = cif(CS + " d", CL + " calc", "X1 X 0.5 0 0 1 dum", columns=columns)
    assert symbols(text) == ["Cs", "Cl"]
    assert "X1" in note(text)


def test_a_disorder_group_without_occupancies():
    text = cif(CS[:-2] + " .", "Cl1 Cl 0.5 0.5 0.5 1",
               columns="label type_symbol fract_x fract_y fract_z disorder_group")  # fmt: skip
    assert refused(text).startswith("partial occupancy: Cl1")


DISORDERED = COLUMNS + " disorder_assembly disorder_group"


@pytest.mark.parametrize("groups", [("A 1", "A 2"), (". 1", ". 2"), ("A -1", "B 1")])
def test_alternatives_are_not_full(groups):
    sites = [f"{site} {group}" for site, group in zip((CS, CL), groups, strict=True)]
    reason = refused(cif(*sites, columns=DISORDERED))
    assert reason.startswith("partial occupancy: Cs1")
    assert "_atom_site_disorder_group" in reason


@pytest.mark.parametrize("groups", [("A 1", "B 2"), ("A 1", "A 1"), (". 0", ". 1"), ("A .", "A 1")])
def test_groups_without_an_alternative(groups):
    sites = [f"{site} {group}" for site, group in zip((CS, CL), groups, strict=True)]
    assert symbols(cif(*sites, columns=DISORDERED)) == ["Cs", "Cl"]


def test_an_empty_alternative_is_none():
    sites = (CS + " A 1", CL + " . .", "Cs2 Cs 0.2 0 0 0 A 2")
    assert symbols(cif(*sites, columns=DISORDERED)) == ["Cs", "Cl"]


def test_a_label_that_names_another_element_of_the_crystal():
    swapped = refused(cif("Cl1 Cs 0 0 0 1", "Cs1 Cl 0.5 0.5 0.5 1"))
    assert swapped.startswith("contradicting species: Cl1 is Cs")
    named_for_places = cif("B1 Cs 0 0 0 1", "Cl Cl 0.5 0.5 0.5 1", "CL2 Cs 0.5 0 0 1")
    assert symbols(named_for_places) == ["Cs", "Cs", "Cl"]
    deuterium = cif("D1 H 0 0 0 1", "H2 D 0.5 0.5 0.5 1")
    assert symbols(deuterium) == ["H", "H"]


def test_cartesian_coordinates():
    columns = "label type_symbol Cartn_x Cartn_y Cartn_z"
    sites = ("Cs1 Cs 0 0 0", "Cl1 Cl 2.06 2.06 2.06")
    matrix = [f"_atom_sites_Cartn_tran_matrix_{i}{j} {4.12 * (i == j)}" for i in (1, 2, 3)
              for j in (1, 2, 3)]  # fmt: skip
    structure, _ = crystal_of(cif(*sites, columns=columns, more="\n".join(matrix)))
    np.testing.assert_allclose(structure.frac_coords[1], 0.5, atol=1e-12)
    assert refused(cif(*sites, columns=columns)).startswith("Cartesian coordinates: ")
    wrong = "\n".join(matrix).replace("4.12", "5.12")
    assert "does not belong" in refused(cif(*sites, columns=columns, more=wrong))


def test_no_coordinates_and_too_many_atoms():
    assert refused(cif("Cs1 Cs", columns="label type_symbol")).startswith("no coordinates: ")
    many = (f"H{i} H 0.1 0.2 {i / 30000:.6f} 1" for i in range(20_001))
    assert refused(cif(*many)).startswith("too many atoms: ")
    half = (f"H{i} H 0.1 0.2 {(i + 1) / 30000:.6f} 1" for i in range(10_001))
    assert refused(cif(*half, operations="x,y,z;-x,-y,-z")).startswith("too many atoms: ")


# ---- special positions


HEXAGONAL = {**CELL, "a": "3.2", "b": "3.2", "c": "5.1", "gamma": "120"}
P6M2 = "x,y,z;-y,x-y,z;-x+y,-x,z;x,y,-z;-y,x-y,-z;-x+y,-x,-z"


@pytest.mark.parametrize("digits", [3, 4, 5, 6])
@pytest.mark.parametrize("cut_off", [False, True])
def test_rounded_special_positions_become_special(digits, cut_off):
    unit = 10.0**-digits
    x, y = (np.floor(v / unit) * unit if cut_off else np.round(v, digits) for v in (1 / 3, 2 / 3))
    text = cif(f"Zn1 Zn {x:.{digits}f} {y:.{digits}f} 0 1", cell=HEXAGONAL, operations=P6M2)
    structure, _ = crystal_of(text)
    assert len(structure.atomic_numbers) == 1
    np.testing.assert_allclose(structure.frac_coords, [[1 / 3, 2 / 3, 0]], atol=1e-12)


def test_the_multiplicity_must_fit():
    columns = COLUMNS + " symmetry_multiplicity"
    for value, is_read in ((1, True), (6, True), (2, False)):  # 6 is the order of the site symmetry
        text = cif(f"Zn1 Zn 0.3333 0.6667 0 1 {value}", columns=columns, cell=HEXAGONAL,
                   operations=P6M2)  # fmt: skip
        if is_read:
            assert symbols(text) == ["Zn"]
        else:
            assert refused(text).startswith("contradicting multiplicity: Zn1")


def test_the_multiplicity_of_a_general_position_must_fit():
    columns = COLUMNS + " symmetry_multiplicity"
    for value, is_read in ((1, True), (2, True), ("?", True), (4, False)):
        text = cif(f"Zn1 Zn 0.2 0 0 1 {value}", columns=columns, operations="x,y,z;-x,-y,-z")
        if is_read:
            assert symbols(text) == ["Zn", "Zn"]
        else:
            assert refused(text).startswith("contradicting multiplicity: Zn1")


def test_images_that_are_close_but_not_one_are_left_to_validation():
    text = cif("Zn1 Zn 0.02 0 0 1", operations="x,y,z;-x,-y,-z")
    assert len(symbols(text)) == 2
    with pytest.raises(ValueError, match="overlapping atoms"):
        validate(crystal_of(text)[0])


# ---- what a file says of itself


@pytest.mark.parametrize(
    "more",
    ["_chemical_formula_sum 'Cs Cl'", "_chemical_formula_sum 'Cl1 Cs1'",
     "_chemical_formula_sum 'Cs2 Cl2'\n_cell_formula_units_Z 0.5",
     "_chemical_formula_sum 'Cs1.00(2) Cl'\n_cell_formula_units_Z 1",
     "_chemical_formula_sum ?\n_cell_formula_units_Z 7",
     "_chemical_formula_sum '(Cs.5 Cs0.5) Cl'", "_chemical_formula_sum '(Cs Cl)2 (Cs)3 Cl3'",
     "_chemical_formula_sum 'Cs Cl, (H2 O)2'",
     "_exptl_crystal_density_diffrn 4.0", "_exptl_crystal_density_diffrn 3.998",
     "_exptl_crystal_density_meas 3.2"],
)  # fmt: skip
def test_what_agrees_is_read(more):
    assert symbols(cif(CS, CL, more=more)) == ["Cs", "Cl"]


@pytest.mark.parametrize(
    ("more", "kind"),
    [("_chemical_formula_sum 'Cs Cl2'", "composition"),
     ("_chemical_formula_sum '(Cs.75 Rb.25) Cl'", "composition"),
     ("_chemical_formula_sum 'Cs (Cl2)'", "composition"),
     ("_chemical_formula_sum 'Cs (Cl)2'", "composition"),
     ("_chemical_formula_sum 'Cs Cl O0.1'", "composition"),
     ("_chemical_formula_sum 'Cs Br'", "composition"),
     ("_chemical_formula_sum 'Cs Cl'\n_cell_formula_units_Z 4", "formula units"),
     ("_exptl_crystal_density_diffrn 4.5", "density")],
)  # fmt: skip
def test_what_contradicts_is_refused(more, kind):
    assert refused(cif(CS, CL, more=more)).startswith(f"contradicting {kind}: ")


def test_the_formula_of_a_whole_cell_as_pymatgen_writes_it():
    sites = (CS, CL, "Cs2 Cs 0 0 0.5 1", "Cl2 Cl 0.5 0.5 0 1")
    more = "_chemical_formula_sum 'Cs2 Cl2'\n_cell_formula_units_Z 2"
    assert len(symbols(cif(*sites, more=more))) == 4


def test_hydrogens_of_the_formula():
    lacking = cif(CS, CL, more="_chemical_formula_sum 'Cs Cl H3'")
    assert refused(lacking).startswith("missing hydrogens: ")
    assert "3 in a cell" in note(lacking, missing_hydrogens="keep")
    surplus = (CS, CL, "H1 H 0.5 0 0 1")
    assert "lacks" in note(cif(*surplus, more="_chemical_formula_sum 'Cs Cl'"))
    assert symbols(cif(*surplus, more="_chemical_formula_sum 'Cs Cl D'")) == ["Cs", "H", "Cl"]
    more = "_chemical_formula_sum 'Cs Cl H0.5'"
    assert refused(cif(*surplus, more=more)).startswith("contradicting composition: ")


# ---- real files


@pytest.mark.parametrize(
    ("file", "expected"),
    [("dummy_species", "unknown species: 'X'"), ("water_site_Wat", "missing hydrogens"),
     ("formula_has_more", "missing hydrogens"), ("symbol_OH", "missing hydrogens"),
     ("hydrogen_on_oxygen", "overlapping atoms"), ("occupancy_1.02", "occupancy above 1"),
     ("missing_cell", "unknown cell: _cell_length_c"), ("unbalanced_loop", "broken CIF"),
     ("rounded_special_position", "overlapping atoms"), ("rhombohedral_no_symops", [83, 83]),
     ("occupancy_dot", [55, 17]), ("occupancy_1.00002", [55, 17]), ("bom", [55, 17]),
     ("latin1_author", [55, 17])],
)  # fmt: skip
def test_collected_cases(shared_cases, file, expected):
    text = (shared_cases / "cif" / f"{file}.cif").read_bytes()
    if isinstance(expected, list):
        structure, _ = crystal_of(text)
        validate(structure)
        assert structure.atomic_numbers.tolist() == expected
        return
    with pytest.raises(ValueError, match=f"^{expected}"):  # noqa: PT012
        structure, _ = crystal_of(text)
        validate(structure)


def test_all_collected_cases_are_known(shared_cases):
    assert len(list((shared_cases / "cif").iterdir())) == 14


def test_bismuth_has_its_density_and_space_group(shared_cases):
    text = (shared_cases / "cif" / "rhombohedral_no_symops.cif").read_bytes()
    crystal = to_pymatgen(crystal_of(text)[0])
    assert float(crystal.density) == pytest.approx(9.8, abs=0.05)
    assert crystal.get_space_group_info()[1] == 166


def read_by_pymatgen(text):
    """Read the only structure of a CIF by the second, independent reader."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about every coordinate that it rounds
        (structure,) = CifParser.from_str(text).parse_structures(primitive=False)
    return structure


# CIFs in installed packages that are refused, and why.
REFUSED = {"bvparm2016.cif": "no crystal", "bvparm2020.cif": "no crystal"}


def installed():
    folders = os.walk(Path(importlib.util.find_spec("ase").origin).parents[1])
    files = (Path(folder, name) for folder, _, names in folders for name in names)
    return sorted(file for file in files if file.name.lower().endswith((".cif", ".mcif")))


def test_minerals_ship_with_ase():
    assert len([file for file in installed() if file.parent.name == "minerals"]) >= 8


@pytest.mark.parametrize("file", installed(), ids=lambda file: file.name)
def test_cifs_in_installed_packages_are_what_pymatgen_reads(file):
    if kind := REFUSED.get(file.name):
        assert refused(file.read_bytes()).startswith(f"{kind}: ")
        return
    ours = crystal_of(file.read_bytes())[0]
    validate(ours)
    theirs = from_pymatgen(read_by_pymatgen(file.read_text()))
    assert np.bincount(ours.atomic_numbers).tolist() == np.bincount(theirs.atomic_numbers).tolist()
    groups = [
        spglib.get_symmetry_dataset((s.lattice_angstrom, s.frac_coords, s.atomic_numbers), 0.01)
        for s in (ours, theirs)
    ]
    assert groups[0].number == groups[1].number


def test_mp20_is_what_pymatgen_reads_to_the_last_bit(shared_data):
    """Published figures stand on structures that pymatgen read."""
    table = pd.read_csv(shared_data / "mp20" / "val.csv.gz")
    counts = table.structure_source.value_counts()
    for source in counts.index[counts >= 250]:
        rows = table[table.structure_source == source].sample(250, random_state=0)
        for text in rows.cif:
            ours, notes = crystal_of(text)
            theirs = from_pymatgen(read_by_pymatgen(text))
            assert notes == {}
            np.testing.assert_array_equal(ours.lattice_angstrom, theirs.lattice_angstrom)
            np.testing.assert_array_equal(ours.atomic_numbers, theirs.atomic_numbers)
            np.testing.assert_array_equal(ours.frac_coords, theirs.frac_coords)
