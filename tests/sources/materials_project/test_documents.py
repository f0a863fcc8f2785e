import gzip
import json

import numpy as np
import pytest
from monty.json import MontyEncoder
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp import Chgcar, Poscar

from omnimat.materials.crystals import from_pymatgen
from omnimat.materials.record import Record
from omnimat.modalities.charge_density.features import ChargeDensityGrid
from omnimat.sources.materials_project.arrays import (
    charge_density_document,
    dos_document,
    structure_of,
)
from omnimat.sources.materials_project.catalogue import (
    SUMMARY,
    canonical_id,
    charge_density_key,
    dos_key,
)
from omnimat.sources.materials_project.documents import to_record
from omnimat.sources.materials_project.parts import Document
from omnimat.sources.materials_project.patience import Refused

CSCL = Structure(Lattice.cubic(4.1), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
ROW = {
    "energies": [0.0, 1.0, 2.0],
    "efermi": 1.0,
    "spin_up_densities": [1.0, 2.0, 3.0],
    "spin_down_densities": [0.0, 1.0, 0.0],
}


def summary(**values):
    return Document({"structure": CSCL.as_dict(), **values}, database_version="2026.11.01")


def chgcar(grid, crystal=CSCL):
    document = {"data": Chgcar(Poscar(crystal), {"total": grid}).as_dict()}
    return gzip.compress(json.dumps(document, cls=MontyEncoder).encode())


def test_identifiers_in_every_spelling():
    assert canonical_id("mp-149") == canonical_id("mp-aaaaaaft") == "mp-149"
    assert dos_key("mp-149") == dos_key("mp-aaaaaaft") == "aaaaaaft"
    assert charge_density_key("mp-aaaaaaft") == "chgcars/mp-149.json.gz"
    assert dos_key("mp-1000") < dos_key("mp-20000")  # order follows the number
    with pytest.raises(ValueError, match="non-alpha-numeric"):
        canonical_id("not an id!")


def test_columns_of_a_table_and_nested_documents_are_the_same():
    nested = {"symmetry": {"number": 221, "hall": "x"}, "builder_meta": None, "nsites": 2}
    row = {"symmetry.number": 221, "builder_meta.license": None}
    assert SUMMARY.flat(nested) == SUMMARY.flat(row) == {"symmetry.number": 221}


def test_properties_and_provenance():
    document = summary(
        formation_energy_per_atom=float("nan"),
        band_gap=0.0,
        is_metal=False,
        bulk_modulus={"vrh": 17.0, "voigt": 18.0},
        shear_modulus=None,
    )
    document.values["symmetry.number"] = 221
    document.values["builder_meta.license"] = "BY-NC"
    text = Document({"description": "CsCl."}, database_version="2026.12.01")
    record, reasons = to_record("mp-1", {"summary": document, "text": text})
    assert reasons == ()
    assert record.properties == {
        "band_gap_ev": 0.0,
        "is_metal": False,
        "bulk_modulus_gpa": 17.0,
        "space_group_number": 221,
        "crystal_system": "cubic",
    }
    assert record.provenance == {
        "source": "Materials Project",
        "database_version": "2026.11.01",
        "licence": "CC-BY-NC-4.0",
        "text": "robocrystallographer of an unknown version",
        "text_database_version": "2026.12.01",
    }
    assert record.parts["text"] == "CsCl."
    assert "dos" not in record.parts


def test_the_elastic_tensor_and_its_part_that_multimat_predicts():
    tensor = np.arange(36.0).reshape(6, 6)
    tensor = tensor + tensor.T
    document = Document({"elastic_tensor.ieee_format": tensor.tolist()})
    record, _ = to_record("mp-1", {"summary": summary(), "elasticity": document})
    lower = record.properties["elastic_lower_6x6_gpa"]
    assert lower == [tensor[i, j] for i in range(6) for j in range(i + 1)]
    assert record.properties["elastic_lower_5x5_gpa"] == lower[:15]


def test_spins():
    record, _ = to_record("mp-1", {"summary": summary(), "dos": dos_document("mp-2", ROW)})
    assert record.parts["dos"].energies_ev.tolist() == [-1, 0, 1]
    assert record.parts["dos"].spin_up_per_ev.tolist() == [1, 2, 3]
    assert record.parts["dos"].spin_down_per_ev.tolist() == [0, 1, 0]
    both = dos_document("mp-2", ROW | {"spin_down_densities": None})
    record, _ = to_record("mp-1", {"summary": summary(), "dos": both})
    assert (
        record.parts["dos"].spin_up_per_ev.tolist() == record.parts["dos"].spin_down_per_ev.tolist()
    )
    assert (record.parts["dos"].spin_up_per_ev + record.parts["dos"].spin_down_per_ev).tolist() == [
        1,
        2,
        3,
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"energies": [0.0, 2.0, 1.0]}, "its energies do not increase"),
        ({"spin_up_densities": [1.0, float("inf"), 1.0]}, "numbers that are not finite"),
        ({"spin_up_densities": None}, "lacks its curve"),
        ({"efermi": None}, "lacks its curve or its Fermi energy"),
    ],
)
def test_a_dos_that_does_not_fit_is_left_out_and_said_so(change, reason):
    document = dos_document("mp-2", ROW | change)
    record, reasons = to_record("mp-1", {"summary": summary(), "dos": document})
    assert "dos" not in record.parts
    assert reason in record.provenance["dos"]
    assert len(reasons) == 1
    assert reasons[0].startswith("dos: ")


def test_coarsening_keeps_electrons_and_long_waves():
    a, b, c = np.meshgrid(*(np.arange(n) / n for n in (40, 48, 60)), indexing="ij")

    def wave(a, b, c):
        return 9 + np.cos(2 * np.pi * (3 * a - b)) + np.sin(2 * np.pi * (5 * c + 2 * b))

    short = np.cos(2 * np.pi * 18 * c)  # more than 32 points can tell
    document = charge_density_document("mp-2", chgcar(wave(a, b, c) + short), 32)
    axes = np.meshgrid(*(np.arange(32) / 32,) * 3, indexing="ij")
    # float32 of values near 10.
    np.testing.assert_allclose(document.arrays["grid"], wave(*axes), atol=1e-5)
    assert document.arrays["grid"].mean() == pytest.approx(9)
    assert document.values == {"task_id": "mp-2", "shape": [40, 48, 60]}


def test_coarsening_is_what_the_featurizer_does():
    grid = np.random.default_rng(0).random((10, 15, 12))
    document = charge_density_document("mp-2", chgcar(grid), 8)
    record = Record("mp-1", {"structure": from_pymatgen(CSCL), "charge_density": grid})
    features = ChargeDensityGrid(num_points=8, scale="raw")(record)
    np.testing.assert_allclose(document.arrays["grid"], features["density"], atol=1e-6)


@pytest.mark.parametrize("data", [b"", b"\x1f\x8bxx", b"{}", b'{"data": [1, 2]}', b"[" * 10])
def test_a_damaged_charge_density(data):
    with pytest.raises(Refused, match="the CHGCAR of mp-2 is damaged"):
        charge_density_document("mp-2", data, 8)


def test_a_charge_density_of_another_cell_is_left_out():
    def charge_density_in(crystal):
        document = charge_density_document("mp-2", chgcar(np.ones((8, 8, 8)), crystal), 8)
        return to_record("mp-1", {"summary": summary(), "charge_density": document})

    stretched = Structure(Lattice.cubic(4.2), ["Cl", "Cs"], [[0.5, 0.5, 0.5], [0, 0, 0]])
    record, reasons = charge_density_in(stretched)  # another functional: the same cell
    assert "charge_density" in record.parts
    assert reasons == ()
    sheared = Structure(Lattice.hexagonal(4.1, 4.1), CSCL.species, CSCL.frac_coords)
    for other in (CSCL * (2, 1, 1), sheared):
        record, reasons = charge_density_in(other)
        assert "charge_density" not in record.parts
        assert reasons == ("charge_density: it was computed in another cell than the structure's",)
        assert record.provenance["charge_density"].startswith("left out: ")


def test_structures():
    value = json.loads(json.dumps(CSCL.as_dict()))
    ours = structure_of(value)
    assert ours.atomic_numbers.tolist() == [55, 17]
    np.testing.assert_array_equal(ours.lattice_angstrom, CSCL.lattice.matrix)
    with pytest.raises(ValueError, match="no structure"):
        structure_of(None)
    value["sites"][0]["species"][0]["occu"] = 0.5
    with pytest.raises(ValueError, match="partial occupancy"):
        structure_of(value)
