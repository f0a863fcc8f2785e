"""What CHGNet tells of crystals; where its wheel is not installed, only what is said of that.

The wheel is not in the locked environment: pip install 'omnimat[forcefield]'.
"""

import dataclasses
from importlib.util import find_spec

import numpy as np
import pytest
from pydantic import ValidationError

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.materials.crystals import from_pymatgen, to_pymatgen
from omnimat.modalities.choices import ModalityChoices
from omnimat.modalities.elastic_response import chgnet, elasticity
from omnimat.modalities.elastic_response.features import NUMBERS, ChgnetStrain
from omnimat.modalities.geometry.features import PairDensity
from omnimat.modalities.properties.features import PropertyValues
from omnimat.modalities.properties.mlp import PropertyMlpSettings
from omnimat.testing.materials import (
    example_records,
    no_records,
    permuted,
    repeated,
    rotated,
    translated,
)

needs_chgnet = pytest.mark.skipif(find_spec("chgnet") is None, reason="chgnet is not installed")

GPA_PER_EV_PER_ANGSTROM3 = 160.21766208


@pytest.fixture
def crystal(triclinic):
    return from_pymatgen(triclinic)


@pytest.fixture
def without_wheel(monkeypatch):
    found = find_spec
    monkeypatch.setattr(chgnet, "find_spec", lambda name: None if name == "chgnet" else found(name))


def left_handed(structure):
    """Swap two axes."""
    order = [1, 0, 2]
    return dataclasses.replace(
        structure,
        lattice_angstrom=structure.lattice_angstrom[order],
        frac_coords=structure.frac_coords[:, order],
    )


def other_cell(structure):
    """Choose another cell of the same volume."""
    change = np.array([[1, 1, 0], [0, 1, 0], [0, -1, 1]])
    return dataclasses.replace(
        structure,
        lattice_angstrom=change @ structure.lattice_angstrom,
        frac_coords=np.mod(structure.frac_coords @ np.linalg.inv(change), 1.0),
    )


def test_a_missing_wheel_is_named_before_a_job_begins(without_wheel):
    choices = ModalityChoices(structure={}, elastic_response={"encoder": None})
    with pytest.raises(UserError, match=r"run: pip install 'omnimat\[forcefield\]'"):
        choices.located(Workspace.open(), no_records)


def test_a_missing_wheel_is_named_where_features_of_a_run_are_made(without_wheel):
    made = {"featurizer": {"weights_sha256": "0" * 64}}
    with pytest.raises(ValidationError, match=r"run: pip install 'omnimat\[forcefield\]'"):
        ModalityChoices(elastic_response=made)


def test_the_force_field_is_named():
    featurizer = ChgnetStrain()
    assert featurizer.outside == "CHGNet 0.3.0 (MPtrj)"
    assert featurizer.model_dump()["force_field"] == featurizer.outside


def test_it_is_embedded_like_properties_or_only_predicted():
    width = len(NUMBERS)
    choice = ModalityChoices(elastic_response={}).elastic_response
    encoder = choice.encoder.fitted_to(choice.featurizer)
    assert (encoder.type, encoder.num_values, encoder.num_properties) == (
        "property_mlp",
        width,
        width,
    )
    assert ChgnetStrain().vector.size == sum(ChgnetStrain().vector.widths) == width
    assert ModalityChoices(elastic_response={"encoder": None}).encoders() == {}
    with pytest.raises(ValueError, match="property_values and chgnet_strain"):
        PropertyMlpSettings().fitted_to(PairDensity())


def test_what_is_too_large_is_refused(crystal):
    with pytest.raises(ValueError, match="too large: 5 atoms, max_atoms is 4"):
        ChgnetStrain(max_atoms=4).numbers(crystal)


def test_elements_beyond_its_own_are_refused(crystal):
    unknown = dataclasses.replace(crystal, atomic_numbers=np.array([8, 8, 8, 8, 95]))
    with pytest.raises(ValueError, match="no element beyond number 94; one is 95"):
        ChgnetStrain().numbers(unknown)


@needs_chgnet
def test_stress_is_the_derivative_of_the_energy(crystal):
    """Its sign, its unit, and that strains go to the cell as they should."""
    size = 0.005
    strains = np.concatenate([np.zeros((1, 3, 3)), elasticity.strains(size)])
    found = chgnet.answers(crystal, strains)
    volume = abs(np.linalg.det(crystal.lattice_angstrom))
    energies_ev = found.energies_ev_per_atom[1:] * len(crystal.atomic_numbers)
    slopes_gpa = elasticity.derivatives(energies_ev, size) / volume * GPA_PER_EV_PER_ANGSTROM3
    stresses_gpa = np.einsum("aij,ij->a", elasticity.kelvin_basis(), found.stresses_gpa[0])
    assert np.abs(stresses_gpa).max() > 1
    # Energies are float32, and a central difference errs by the square of the strain.
    np.testing.assert_allclose(slopes_gpa, stresses_gpa, rtol=0.02, atol=0.2)


@needs_chgnet
def test_neighbours_found_once_serve_all_strains(crystal):
    """As if each strained crystal were given by itself, to CHGNet's own function."""
    from pymatgen.core import Structure

    strains = elasticity.strains(0.02)
    found = chgnet.answers(crystal, strains)
    given = to_pymatgen(crystal)
    each = [
        Structure(given.lattice.matrix @ (np.eye(3) + one), given.species, given.frac_coords)
        for one in strains
    ]
    expected = chgnet._loaded(None).predict_structure(each, task="efs")
    stresses_gpa, forces = ([one[key] for one in expected] for key in "sf")
    # CHGNet computes in float32.
    np.testing.assert_allclose(found.stresses_gpa, stresses_gpa, rtol=1e-4, atol=5e-3)
    np.testing.assert_allclose(found.forces_ev_per_angstrom, forces, rtol=1e-4, atol=5e-4)


ROUNDING = {"_gpa": 1.0, "_ev_per_angstrom": 0.05}
REWRITES = [permuted, rotated, translated, repeated, left_handed, other_cell]


@needs_chgnet
@pytest.mark.parametrize("rewrite", REWRITES)
def test_however_a_crystal_is_written_it_is_the_same(rewrite, crystal):
    featurizer = ChgnetStrain(strain=0.001)  # at larger ones CHGNet is not quite linear
    for structure in (crystal, example_records()[0].structure):
        ours, theirs = featurizer.numbers(structure), featurizer.numbers(rewrite(structure))
        assert theirs.keys() == ours.keys()
        for name, value in ours.items():
            # CHGNet computes in float32, and what rounding adds is divided by the strain.
            rounding = next((e for unit, e in ROUNDING.items() if name.endswith(unit)), 1e-3)
            assert theirs[name] == pytest.approx(value, rel=0.01, abs=rounding), name


@needs_chgnet
def test_known_crystals_are_about_as_stiff_as_they_are():
    """Copper and rock salt, whose atoms do not relax under a hydrostatic strain."""
    from pymatgen.core import Lattice, Structure

    copper = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.61), ["Cu"], [[0, 0, 0]])
    salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    for structure, bulk in ((copper, 140), (salt, 24)):
        told = ChgnetStrain().numbers(from_pymatgen(structure.get_primitive_structure()))
        assert told["bulk_modulus_voigt_gpa"] == pytest.approx(bulk, rel=0.35)
        assert told["shear_modulus_reuss_gpa"] <= told["shear_modulus_voigt_gpa"]
        # Of a cubic crystal, the bulk modulus is one of the eigenvalues by 3.
        eigenvalues = [told[f"stiffness_{place}_gpa"] for place in range(1, 7)]
        assert eigenvalues == sorted(eigenvalues)
        assert eigenvalues[-1] == pytest.approx(3 * told["bulk_modulus_voigt_gpa"], rel=0.01)


@needs_chgnet
def test_what_is_not_known_is_masked(crystal, record_of, triclinic, monkeypatch):
    monkeypatch.setattr(elasticity, "reuss", lambda stiffness_gpa: None)
    arrays = ChgnetStrain()(record_of(triclinic))
    unknown = ["reuss" in one.name for one in NUMBERS]
    assert (arrays["is_known"] == 0).tolist() == unknown
    assert (arrays["values"][unknown] == 0).all()


@needs_chgnet
def test_version_and_weights_are_filled_in_and_held_to(record_of, triclinic):
    located = ChgnetStrain().located(Workspace.open(), no_records)
    assert located.chgnet_version is not None
    assert located.located(Workspace.open(), no_records) == located
    other = located.model_copy(update={"weights_sha256": "0" * 64})
    with pytest.raises(UserError, match="not those of the job"):
        other(record_of(triclinic))
    for name in ("weights_sha256", "chgnet_version"):
        with pytest.raises(UserError, match=name):
            located.model_copy(update={name: "0"}).located(Workspace.open(), no_records)


def test_the_encoder_still_waits_for_statistics_of_properties():
    choices = ModalityChoices(properties={"featurizer": {"numbers": ["a"]}})
    assert isinstance(choices.properties.featurizer, PropertyValues)
    assert choices.properties.encoder.num_values == 0
