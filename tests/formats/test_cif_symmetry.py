"""Which symmetry a CIF says, and what is refused because it does not say."""

import pytest
import spglib

from omnimat.formats.cif.reader import crystal_of

CUBIC = (5.64, 5.64, 5.64, 90, 90, 90)
SALT = ("Na1 Na 0 0 0", "Cl1 Cl 0.5 0.5 0.5")
RHOMBOHEDRAL = (4.746, 4.746, 4.746, 57.23, 57.23, 57.23)
HEXAGONAL = (4.546, 4.546, 11.862, 90, 90, 120)
SPINEL_1 = ("Mg1 Mg 0 0 0", "Al1 Al 0.625 0.625 0.625", "O1 O 0.3875 0.3875 0.3875")
SPINEL_2 = ("Mg1 Mg 0.125 0.125 0.125", "Al1 Al 0.5 0.5 0.5", "O1 O 0.2625 0.2625 0.2625")
NAME = "_symmetry_space_group_name_H-M"
HALL = "_symmetry_space_group_name_Hall"
NUMBER = "_symmetry_Int_Tables_number"
LISTED = "_symmetry_equiv_pos_as_xyz"


def cif(cell, sites, operations=(), listed_as=LISTED, more="", **items):
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines = ["data_x", *(f"_cell_{name} {value}" for name, value in zip(names, cell, strict=True))]
    lines += [f"{name} '{value}'" for name, value in items.items()]
    if operations:
        lines += ["loop_", listed_as, *(f"'{one}'" for one in operations)]
    lines += ["loop_", "_atom_site_label", "_atom_site_type_symbol"]
    lines += [f"_atom_site_fract_{axis}" for axis in "xyz"]
    return "\n".join([*lines, *sites, more, ""])


def found(text):
    """Return the number of atoms and the space group that spglib sees in them."""
    structure, _ = crystal_of(text)
    cell = (structure.lattice_angstrom, structure.frac_coords, structure.atomic_numbers)
    return len(structure.atomic_numbers), spglib.get_symmetry_dataset(cell, symprec=0.01).number


@pytest.mark.parametrize(
    "name",
    ["F m 3 m", "Fm3m", "F m -3 m", "Fm-3m", "F_m_-3_m", "F m -3 m :1", "f m -3 m"],
)
def test_a_name_is_enough(name):
    assert found(cif(CUBIC, SALT, **{NAME: name})) == (8, 225)


@pytest.mark.parametrize("hall", ["-F 4 2 3", "-f 4 2 3"])
def test_a_hall_symbol_is_enough(hall):
    assert found(cif(CUBIC, SALT, **{HALL: hall})) == (8, 225)


def test_a_number_is_enough_where_the_group_has_one_setting():
    assert found(cif(CUBIC, SALT, **{NUMBER: 225})) == (8, 225)


@pytest.mark.parametrize("number", [14, 62, 227])
def test_a_number_of_several_settings_is_refused(number):
    with pytest.raises(ValueError, match=r"^ambiguous symmetry: .*number"):
        crystal_of(cif(CUBIC, SALT, **{NUMBER: number}))


@pytest.mark.parametrize("name", ["?", ".", "", "_"])
def test_no_symmetry_at_all_is_refused(name):
    with pytest.raises(ValueError, match=r"^unknown symmetry: which symmetry is not said"):
        crystal_of(cif(CUBIC, SALT, **{NAME: name}))


def test_a_name_that_is_none_is_refused_although_there_is_a_number():
    with pytest.raises(ValueError, match=r"^unknown symmetry: 'Q m m'"):
        crystal_of(cif(CUBIC, SALT, **{NAME: "Q m m", NUMBER: 225}))


@pytest.mark.parametrize(
    ("name", "sites"),
    [
        ("F d -3 m :1", SPINEL_1),
        ("Fd-3mS", SPINEL_1),
        ("F d 3 m O1", SPINEL_1),
        ("F d -3 m :2", SPINEL_2),
        ("F d -3 m Z", SPINEL_2),
        ("F_d_-3_m_:2", SPINEL_2),
    ],
)
def test_the_origin_is_named(name, sites):
    assert found(cif((8.08, 8.08, 8.08, 90, 90, 90), sites, **{NAME: name})) == (56, 227)


def test_an_origin_that_is_not_named_is_refused():
    with pytest.raises(ValueError, match=r"^ambiguous symmetry: .*F d -3 m:1, F d -3 m:2"):
        crystal_of(cif((8.08, 8.08, 8.08, 90, 90, 90), SPINEL_1, **{NAME: "F d -3 m"}))


@pytest.mark.parametrize("items", [{NAME: "R -3 m :R"}, {NAME: "R -3 m"}, {NUMBER: 166}])
def test_rhombohedral_axes(items):
    sites = ("Bi1 Bi 0.2339 0.2339 0.2339",)
    assert found(cif(RHOMBOHEDRAL, sites, **items)) == (2, 166)


@pytest.mark.parametrize("items", [{NAME: "R -3 m H"}, {NAME: "R-3m"}, {NUMBER: 166}])
def test_hexagonal_axes_of_a_rhombohedral_group(items):
    assert found(cif(HEXAGONAL, ("Bi1 Bi 0 0 0.2339",), **items)) == (6, 166)


def test_axes_that_the_cell_contradicts_are_refused():
    with pytest.raises(ValueError, match=r"^contradicting symmetry: .*cell"):
        crystal_of(cif(HEXAGONAL, ("Bi1 Bi 0 0 0.2339",), **{NAME: "R -3 m :R"}))
    with pytest.raises(ValueError, match=r"^contradicting symmetry: .*cell"):
        crystal_of(cif((5, 6, 7, 90, 90, 90), SALT, **{NAME: "F m -3 m"}))


@pytest.mark.parametrize("listed_as", [LISTED, "_space_group_symop_operation_xyz"])
def test_operations_count_and_their_centring(listed_as):
    operations = ["x,y,z", "-X, -Y, -Z", "1/2+x,y+.5,z", "0.5-x,1/2-y,-z"]
    text = cif((5, 6, 7, 80, 95, 100), ("Na1 Na 0.1 0.2 0.3",), operations, listed_as)
    assert found(text) == (4, 2)


def test_operations_without_their_centring_are_refused():
    text = cif((5, 6, 7, 90, 90, 90), SALT, ["x,y,z", "-x,-y,-z"], **{NAME: "C 2/m"})
    with pytest.raises(ValueError, match=r"^contradicting symmetry: .* 2\b.* 12"):
        crystal_of(text)


@pytest.mark.parametrize("item", [{NAME: "F m -3 m"}, {NUMBER: 225}])
def test_operations_that_contradict_the_group_are_refused(item):
    with pytest.raises(ValueError, match=r"^contradicting symmetry: .*space group 1\b.*225"):
        crystal_of(cif(CUBIC, SALT, ["x,y,z"], **item))


@pytest.mark.parametrize(
    ("operations", "kind"),
    [
        (["x,y,z", "y,z,x"], "incomplete symmetry"),
        (["x,y,z", "x,y"], "unreadable symmetry operation"),
        (["x,y,z", "x+1/5,y,z"], "unreadable symmetry operation"),
        (["x,y,z", "2*x,y,z"], "unreadable symmetry operation"),
        (["x,y,z", "nan,y,z"], "unreadable symmetry operation"),
    ],
)
def test_operations_that_are_no_group_are_refused(operations, kind):
    with pytest.raises(ValueError, match=f"^{kind}: "):
        crystal_of(cif(CUBIC, SALT, operations))


@pytest.mark.parametrize(
    "item",
    [
        "_cell_modulation_dimension 1",
        "_space_group_ssg_name 'P1(00g)0'",
        "loop_\n_space_group_symop_ssg_operation_algebraic\n'x1,x2,x3,x4'",
        "_atom_site_Fourier_wave_vector_x 0.2",
    ],
)
def test_modulated_crystals_are_refused(item):
    with pytest.raises(ValueError, match=r"^modulated crystal: "):
        crystal_of(cif(CUBIC, SALT, ["x,y,z"], more=item))


def test_magnetic_operations_are_read_by_their_spatial_part():
    operations, centring = ["x,y,z,+1", "-x,-y,-z,+1"], ["x,y,z,+1", "x,y,z+1/2,-1"]
    more = "\n".join(["loop_", "_space_group_symop_magn_centering.xyz", *centring])
    text = cif(
        (4, 5, 6, 80, 95, 100),
        ("Mn1 Mn 0.1 0.2 0.3",),
        operations,
        "_space_group_symop_magn_operation.xyz",
        more,
    )
    assert found(text)[0] == 4


def test_magnetic_operations_in_another_form_are_refused():
    more = "loop_\n_space_group_symop_magn_ops.id\n1"
    with pytest.raises(ValueError, match=r"^unknown symmetry: .*magnetic"):
        crystal_of(cif(CUBIC, SALT, more=more))
