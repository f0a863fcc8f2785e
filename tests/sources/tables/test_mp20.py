import gzip

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure

from omnimat.base.errors import UserError
from omnimat.materials.record import Failure
from omnimat.sources.tables.source import Table


def row(material_id, structure, **more):
    return {
        "material_id": material_id,
        "formation_energy_per_atom": -1.5,
        "band_gap": 0.25,
        "e_above_hull": 0.01,
        "cif": structure.to(fmt="cif"),
        "spacegroup.number": 225,
    } | more


@pytest.fixture
def rock_salt():
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    ).get_primitive_structure()


def write(path, rows):
    pd.DataFrame(rows).to_csv(path, index=False)


def test_splits_properties_and_units(tmp_path, rock_salt):
    write(tmp_path / "train.csv", [row("mp-1", rock_salt), row("mp-2", rock_salt)])
    write(tmp_path / "val.csv", [row("mp-3", rock_salt, band_gap=float("nan"))])
    (tmp_path / "test.csv.gz").write_bytes(
        gzip.compress(pd.DataFrame([row("mp-4", rock_salt)]).to_csv(index=False).encode())
    )
    source = Table(mapping="mp20", path=str(tmp_path)).located()
    assert source.num_items() == 4
    records = list(source.read(0, 4))
    assert [r.provenance["published_split"] for r in records] == [
        "train",
        "train",
        "validation",
        "test",
    ]
    found = dict(records[0].properties)
    lattice = {name: found.pop(name) for name in sorted(found) if name.startswith("lattice_")}
    np.testing.assert_allclose(lattice["lattice_lengths_angstrom"], 5.64 / np.sqrt(2), rtol=1e-6)
    scaled = lattice["lattice_lengths_scaled_angstrom"]
    np.testing.assert_allclose(scaled, 5.64 / np.sqrt(2) / 2 ** (1 / 3), rtol=1e-6)
    np.testing.assert_allclose(lattice["lattice_angles_degree"], 60, rtol=1e-6)
    assert found == {
        "formation_energy_ev_per_atom": -1.5,
        "band_gap_ev": 0.25,
        "energy_above_hull_ev_per_atom": 0.01,
        "space_group_number": 225,
        "crystal_system": "cubic",
    }
    assert "band_gap_ev" not in records[2].properties
    assert [r.material_id for r in source.read(2, 9)] == ["mp-3", "mp-4"]


def test_cells_are_niggli_reduced(tmp_path, rock_salt):
    skewed = rock_salt.copy()
    skewed.make_supercell([[1, 0, 0], [2, 1, 0], [0, 3, 1]])
    assert max(skewed.lattice.abc) > 2 * min(skewed.lattice.abc)
    write(tmp_path / "all.csv", [row("mp-1", skewed)])
    (record,) = Table(mapping="mp20", path=str(tmp_path / "all.csv")).located().read(0, 1)
    lengths = np.linalg.norm(record.structure.lattice_angstrom, axis=1)
    np.testing.assert_allclose(lengths, 5.64 / np.sqrt(2), rtol=1e-6)
    assert record.properties["lattice_lengths_angstrom"] == pytest.approx(lengths)
    assert "published_split" not in record.provenance


def test_partial_occupancy_and_broken_cifs_are_failures(tmp_path, rock_salt):
    alloy = Structure(Lattice.cubic(3), [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]])
    rows = [row("mp-1", alloy), row("mp-2", rock_salt, cif="nonsense"), row("mp-3", rock_salt)]
    write(tmp_path / "train.csv", rows)
    alloy_failure, broken, good = Table(mapping="mp20", path=str(tmp_path)).located().read(0, 3)
    assert isinstance(alloy_failure, Failure)
    assert "partial occupancy" in alloy_failure.reason
    assert isinstance(broken, Failure)
    assert good.material_id == "mp-3"


def test_missing_paths_and_columns_name_the_key(tmp_path):
    with pytest.raises(UserError, match=r"source\.path: .*nowhere does not exist"):
        Table(mapping="mp20", path=str(tmp_path / "nowhere")).located()
    with pytest.raises(UserError, match=r"source\.path: .*"):
        Table(mapping="mp20", path=str(tmp_path)).located()
    write(tmp_path / "all.csv", [{"material_id": "a"}])
    with pytest.raises(UserError, match=r"source\.path: .*train, val, test"):
        Table(mapping="mp20", path=str(tmp_path)).located()
    write(tmp_path / "train.csv", [{"material_id": "a"}])
    with pytest.raises(UserError, match=r"source\.structure\.cif: .*train\.csv .*'cif'"):
        Table(mapping="mp20", path=str(tmp_path)).located()


def test_the_real_files(shared_data):
    source = Table(
        mapping="mp20", path=str(shared_data / "mp20"), max_records_per_file=10
    ).located()
    assert source.num_items() == 30
    records = list(source.read(0, 30))
    assert not any(isinstance(r, Failure) for r in records)
    for record in records:
        lengths = np.array(record.properties["lattice_lengths_angstrom"])
        assert (np.diff(lengths) > -1e-3).all()  # the Niggli cell's are in order
        np.testing.assert_allclose(
            np.array(record.properties["lattice_lengths_scaled_angstrom"]) ** 3,
            lengths**3 / len(record.structure.atomic_numbers),
        )
        assert all(59 < angle < 121 for angle in record.properties["lattice_angles_degree"])
    # val.csv begins with mp-865981 (TmMgHg2, -0.436 eV/atom).
    first_validation = records[10]
    assert first_validation.material_id == "mp-865981"
    assert sorted(first_validation.structure.atomic_numbers.tolist()) == [12, 69, 80, 80]
    assert first_validation.properties["formation_energy_ev_per_atom"] == pytest.approx(
        -0.436368, abs=1e-6
    )
