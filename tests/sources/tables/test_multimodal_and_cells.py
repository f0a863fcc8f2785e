import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnimat.base.errors import UserError
from omnimat.materials.record import Failure
from omnimat.materials.split import SplitSettings
from omnimat.sources.checker import Checker
from omnimat.sources.tables.source import Table

pytestmark = pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")


def multimodal_row(material_id):
    return {
        "material_id": material_id,
        "lattice_abc_angstrom": [4.12, 4.12, 4.12],
        "lattice_angles_degree": [90.0, 90.0, 90.0],
        "atomic_numbers": [55, 17],
        "frac_coords": [0.0, 0.0, 0.0, 0.5, 0.5, -0.5],
        "dos_energies_ev": [-1.0, 0.0, 1.0],
        "dos_spin_up_per_ev": [0.0, 1.0, 2.0],
        "charge_density_32": np.arange(32**3, dtype=np.float16).tobytes(),
        "matbert_cls_768": np.ones(768, dtype=np.float16).tobytes(),
        "robocrys_text": "CsCl is cubic.",
        "bulk_modulus_gpa": 20.0,
        "elastic_lower_5x5_gpa": [float(i) for i in range(15)],
        "e_form_aviary2019": -2.2,
    }


def test_multimodal_layout(tmp_path):
    missing = {"atomic_numbers": None, "frac_coords": None}
    rows = [
        multimodal_row("mp-1"),
        multimodal_row("mp-2") | missing,
        multimodal_row("mp-3") | {"dos_energies_ev": [0.0, 0.0, 1.0], "charge_density_32": None},
        multimodal_row("mp-4") | {"charge_density_32": b"1234"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    source = Table(path=str(tmp_path / "t.parquet"), mapping="multimodal").located()
    full, no_structure, partial, damaged = source.read(0, source.num_items())
    assert full.parts["charge_density"].shape == (32, 32, 32)
    assert full.parts["charge_density"][0, 1, 2] == 34  # C order: a slowest
    assert full.parts["text_embedding"].shape == (768,)
    assert full.structure.frac_coords[1].tolist() == [0.5, 0.5, 0.5]
    np.testing.assert_allclose(full.structure.lattice_angstrom, 4.12 * np.eye(3), atol=1e-9)
    assert full.properties == {
        "bulk_modulus_gpa": 20.0,
        "elastic_lower_5x5_gpa": [float(i) for i in range(15)],
        "formation_energy_ev_per_atom": -2.2,
        "space_group_number": 221,
        "crystal_system": "cubic",
    }
    assert no_structure.structure is None
    assert set(no_structure.parts) == {"dos", "charge_density", "text", "text_embedding"}
    assert "space_group_number" not in no_structure.properties
    assert "dos" not in partial.parts
    assert "charge_density" not in partial.parts
    assert "energies do not increase" in partial.provenance["dos"]
    assert isinstance(damaged, Failure)


def test_a_measured_pattern_and_a_formula_are_a_record(tmp_path):
    pattern = {
        "xrd_two_theta_degree": [10.0, 20.0, 30.0],
        "xrd_intensity": [0.0, 7.0, 1.0],
        "xrd_wavelength_angstrom": 0.7107,
    }
    rows = [
        {"material_id": "measured", "formula": "Li0.5CoO2", "robocrys_text": None} | pattern,
        {"material_id": "wrong", "formula": "quartz"},
        {"material_id": "told", "robocrys_text": "A clay."},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    source = Table(path=str(tmp_path / "t.parquet"), mapping="multimodal").located()
    measured, wrong, told = source.read(0, source.num_items())
    assert set(measured.parts) == {"xrd", "composition"}
    assert measured.parts["xrd"].wavelength_angstrom == 0.7107
    assert measured.parts["composition"].amounts.tolist() == [0.5, 2.0, 1.0]
    assert measured.provenance["xrd"] == measured.provenance["composition"] == "given in the table"
    assert wrong == Failure("wrong", "formula: 'quartz' is no chemical formula")
    assert told.parts == {"text": "A clay."}
    checker = Checker(SplitSettings(), ())
    assert list(checker.accepted([measured, told])) == [measured, told]
    assert [one["reduced_formula"] for one in checker.columns.values()] == ["Li0.5Co1O2", None]


def cell_row(i):
    return {
        "material_id": f"mp-{i}",
        **dict.fromkeys("abc", 4.0 + i / 100),
        **dict.fromkeys(["alpha", "beta", "gamma"], 90.0),
        "Z": [55, 17],
        "fx": [0, 500000],
        "fy": [0, 500000],
        "fz": [0, 250000],
        "spg_symprec0.1": 99,
    }


@pytest.fixture
def cells(tmp_path):
    table = pa.Table.from_pylist([cell_row(i) for i in range(100)])
    table = table.replace_schema_metadata({"frac_scale": "1000000"})
    pq.write_table(table, tmp_path / "cells.parquet", row_group_size=30)
    return tmp_path


@pytest.mark.parametrize(("start", "stop"), [(0, 30), (29, 31), (31, 95), (90, 200), (100, 110)])
def test_any_slice_across_row_groups(cells, start, stop):
    source = Table(path=str(cells / "cells.parquet"), mapping="cells").located()
    found = [r.material_id for r in source.read(start, stop)]
    assert found == [f"mp-{i}" for i in range(start, min(stop, 100))]


def test_the_first_rows_alone(cells):
    path = str(cells / "cells.parquet")
    source = Table(path=path, mapping="cells", max_records=32).located()
    assert source.num_items() == 32
    records = list(source.read(30, 60))
    assert [r.material_id for r in records] == ["mp-30", "mp-31"]
    assert records[0].properties == {"space_group_number": 99, "crystal_system": "tetragonal"}
    assert records[1].structure.frac_coords[1].tolist() == [0.5, 0.5, 0.25]


def test_wrong_paths_and_columns_name_the_key(cells):
    with pytest.raises(UserError, match=r"source\.path: .* does not exist"):
        Table(path=str(cells / "none"), mapping="cells").located()
    pq.write_table(pa.table({"name": ["mp-1"]}), cells / "no-ids.parquet")
    with pytest.raises(UserError, match=r"source\.id: .*no-ids\.parquet .*'material_id'.*'name'"):
        Table(path=str(cells / "no-ids.parquet"), mapping="multimodal").located()


@pytest.mark.slow
def test_the_real_multimodal_file(shared_data):
    path = shared_data / "mp408" / "mp408.parquet"
    source = Table(path=str(path), mapping="multimodal").located()
    everything = list(source.read(0, source.num_items()))
    assert len(list(Checker(SplitSettings(), ()).accepted(everything))) == 408
    checker = Checker(SplitSettings(), (), required=("structure",))
    records = list(checker.accepted(everything))
    assert len(records) == 407
    assert checker.failures == [("mp-1222516", "no structure")]
    assert sum("dos" in r.parts for r in records) == 311  # of 312, one is on a broken grid
    assert sum("bulk_modulus_gpa" in r.properties for r in records) == 100


def test_the_first_real_cells(shared_data):
    folder = shared_data / "mp118k"
    source = Table(
        path=str(folder / "structures.parquet"),
        mapping="cells",
        max_records=50,
    ).located()
    checker = Checker(SplitSettings(), ())
    records = list(checker.accepted(source.read(0, 50)))
    assert len(records) == 50
    assert records[0].material_id == "mp-1"
    assert records[0].properties["crystal_system"] == "cubic"
