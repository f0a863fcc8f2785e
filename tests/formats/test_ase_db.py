import json
import sqlite3

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.db import connect
from upath import UPath

from omnimat.formats.ase_db import ASE_DATABASE
from omnimat.formats.crystals import from_ase
from omnimat.formats.documents import JSON
from omnimat.formats.format import Reading, format_of
from omnimat.materials.crystals import to_pymatgen
from omnimat.materials.record import Failure, Record
from omnimat.testing.format_conformance import assert_same_crystal, entries_of, records_of
from omnimat.testing.materials import example_records

FORMATS_BY_ENDING = {"db": ASE_DATABASE, "json": JSON}
both = pytest.mark.parametrize("ending", FORMATS_BY_ENDING)


def with_results():
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    atoms.set_constraint(FixAtoms([0]))
    forces = np.ones((2, 3))
    atoms.calc = SinglePointCalculator(atoms, energy=-3.4, forces=forces, magmom=0.5)
    return atoms


def written(path, rows, **values):
    # ASE computes the volume of a cell with NaN.
    with np.errstate(invalid="ignore"), connect(path) as database:
        for atoms in rows:
            database.write(atoms, **values)
    return UPath(path)


@both
def test_what_ase_writes(tmp_path, ending):
    rows = [to_pymatgen(record.structure).to_ase_atoms() for record in example_records()]
    path = written(tmp_path / f"a.{ending}", rows)
    one = FORMATS_BY_ENDING[ending]
    assert format_of(path) is one
    records = records_of(one, path)
    assert [record.material_id for record in records] == [str(i + 1) for i in range(len(rows))]
    for record, atoms in zip(records, rows, strict=True):
        assert_same_crystal(record.structure, from_ase(atoms), 1e-12)


@both
def test_pairs_and_energies_are_properties(tmp_path, ending):
    pairs = {"gap": 5.0, "phase": "rocksalt", "is_stable": True, "count": 3}
    data = {"curve": np.zeros(3)}
    path = written(tmp_path / f"a.{ending}", [with_results()], **pairs, data=data)
    (record,) = records_of(FORMATS_BY_ENDING[ending], path)
    assert record.properties == {"energy_ev": -3.4, "magmom": 0.5} | pairs | {"is_stable": "true"}
    assert record.provenance["left_out"] == "data, forces"


@both
def test_rows_that_are_no_crystals_leave_the_others(tmp_path, ending):
    nan = bulk("Si")
    nan.cell[0, 0] = np.nan
    slab = bulk("Si")
    slab.pbc = [True, True, False]
    rows = [bulk("Si"), molecule("H2O"), nan, Atoms("X", cell=[3, 3, 3], pbc=True), slab]
    rows += [Atoms(cell=[3, 3, 3], pbc=True), bulk("Cu")]
    found = entries_of(FORMATS_BY_ENDING[ending], written(tmp_path / f"a.{ending}", rows))
    reasons = [one.reason.split(":")[0] for one in found if isinstance(one, Failure)]
    assert reasons == ["no cell", "not finite", "dummy atom", "no cell", "no atoms"]
    assert isinstance(found[0], Record)
    assert isinstance(found[-1], Record)


@both
def test_deleted_rows_are_not_counted(tmp_path, ending):
    path = written(tmp_path / f"a.{ending}", [bulk(one) for one in ("Si", "Cu", "Al", "Fe")])
    connect(str(path)).delete([2])
    records = records_of(FORMATS_BY_ENDING[ending], path)
    assert [record.material_id for record in records] == ["1", "3", "4"]


def test_reading_writes_nothing(tmp_path):
    path = UPath(tmp_path / "study.db")
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE trials (id INTEGER)")
    connection.close()
    before = path.read_bytes()
    assert format_of(path) is None
    with pytest.raises(ValueError, match=r"^not an ASE database: "):
        entries_of(ASE_DATABASE, path)
    assert path.read_bytes() == before


def test_a_view_is_not_asked(tmp_path):
    path = UPath(tmp_path / "a.db")
    with sqlite3.connect(path) as connection:
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
        connection.execute(f"CREATE VIEW systems AS {endless}")
    connection.close()
    with pytest.raises(ValueError, match=r"^not an ASE database: "):
        entries_of(ASE_DATABASE, path)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("numbers", b"\x0b\x00\x00", "wrong counts"),
        ("numbers", None, "wrong counts"),
        ("numbers", "text", "wrong counts"),
        ("positions", np.zeros(9).tobytes(), "wrong counts"),
        ("positions", np.full(6, np.inf).tobytes(), "not finite"),
        ("cell", np.zeros(8).tobytes(), "wrong counts"),
        ("pbc", "all", "no cell"),
        ("key_value_pairs", "{gap", "not JSON"),
        ("key_value_pairs", "[1]", "not an ASE row"),
    ],
)
def test_damaged_columns(tmp_path, column, value, reason):
    path = written(tmp_path / "a.db", [bulk("NaCl", "rocksalt", a=5.6)] * 2)
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE systems SET {column} = ? WHERE id = 1", (value,))
    connection.close()
    failure, record = entries_of(ASE_DATABASE, path)
    assert failure.material_id == "1"
    assert failure.reason.startswith(f"{reason}: ")
    assert isinstance(record, Record)


def test_pairs_that_are_not_known_are_left_out(tmp_path):
    path = written(tmp_path / "a.db", [bulk("Si")], gap=1.0)
    with sqlite3.connect(path) as connection:
        connection.execute("""UPDATE systems SET key_value_pairs = '{"a": NaN, "b": 2}'""")
    connection.close()
    (record,) = records_of(ASE_DATABASE, path)
    assert record.properties == {"b": 2}


def test_a_truncated_database_is_refused(tmp_path):
    path = written(tmp_path / "a.db", [bulk("Si")] * 200)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert format_of(path) is ASE_DATABASE
    assert ASE_DATABASE.num_entries(path) >= 1
    with pytest.raises(ValueError, match=r"^damaged database: "):
        list(ASE_DATABASE.entries(path, Reading(), 0, 200))


@pytest.mark.parametrize("data", [b"", np.random.default_rng(0).bytes(4096)])
def test_what_is_no_database_is_not_recognised_and_refused(tmp_path, data):
    path = UPath(tmp_path / "Thumbs.db")
    path.write_bytes(data)
    assert format_of(path) is None
    with pytest.raises(ValueError, match=r"^(damaged|not an ASE) database: "):
        entries_of(ASE_DATABASE, path)


def test_a_json_database_with_wrong_arrays(tmp_path):
    path = written(tmp_path / "a.json", [bulk("Si"), bulk("Cu")])
    document = json.loads(path.read_text())
    document["1"]["positions"]["__ndarray__"][0] = [3, 3]
    path.write_text(json.dumps(document))
    failure, record = entries_of(JSON, path)
    assert failure.reason.startswith("wrong counts: ")
    assert isinstance(record, Record)
