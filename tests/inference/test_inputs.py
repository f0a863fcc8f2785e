"""What a model can be given besides files and crystals: tables, data sets, parts of materials."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from pymatgen.core import Composition, IStructure

import omnimat
from omnimat.base.errors import UserError
from omnimat.cli.main import main
from omnimat.inference.build import package
from omnimat.inference.query import query_of
from omnimat.inference.read import read_all
from omnimat.materials.crystals import to_pymatgen
from omnimat.materials.record import Record
from omnimat.modalities.batch import Quarantined
from omnimat.modalities.dos import DensityOfStates
from omnimat.modalities.xrd import MeasuredPattern
from omnimat.shards.manifest import Manifest

TARGET = "volume_angstrom3_per_atom"
ANGLES = np.linspace(10, 80, 50, dtype=np.float32)
# A CIF holds fewer digits than a structure in memory.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def frame(records):
    crystals = [to_pymatgen(record.structure) for record in records[:3]]
    return pd.DataFrame(
        {
            "name": [f"crystal {place}" for place in range(3)],
            "cif text": [crystal.to(fmt="cif") for crystal in crystals],
            "formula": [crystal.composition.reduced_formula for crystal in crystals],
        }
    )


@pytest.fixture(scope="module")
def wanted(packed, records):
    return omnimat.load(packed).predict(records[:3])[TARGET].to_numpy()


def reasons(given):
    return [one.record.reason for one in given if isinstance(one.record, Quarantined)]


def test_a_data_frame_is_read_by_what_its_columns_hold(packed, frame, wanted):
    model = omnimat.load(packed)
    table = model.predict(frame)
    assert table["name"].tolist() == frame["name"].tolist()
    np.testing.assert_allclose(table[TARGET], wanted, rtol=TOLERANCE)
    told = model.predict(frame, columns={"structure": {"cif": "cif text"}})
    assert told["name"].tolist() == ["#0", "#1", "#2"]
    np.testing.assert_array_equal(told[TARGET], table[TARGET])


def test_a_data_frame_may_hold_crystals_themselves(packed, records, wanted):
    crystals = [to_pymatgen(record.structure) for record in records[:3]]
    objects = pd.DataFrame({"mine": [*crystals[:2], None]}, index=["a", "b", "c"])
    table = omnimat.load(packed).predict(objects)
    np.testing.assert_allclose(table[TARGET][:2], wanted[:2], rtol=TOLERANCE)
    assert table["name"].tolist() == ["#a", "#b", "#c"]
    assert (table[TARGET].isna().tolist(), bool(table["notes"][2])) == ([False, False, True], True)


def test_crystals_of_a_data_frame_go_by_its_ids(records):
    crystals = [to_pymatgen(record.structure) for record in records[:2]]
    frame = pd.DataFrame({"material_id": ["x", "y"], "mine": crystals, "batch": ["b", "b"]})
    names = lambda columns: [one.name for one in read_all(frame, columns)]  # noqa: E731
    assert names(None) == ["x", "y"]
    assert names({"id": "batch"}) == ["b", "b"]
    with pytest.raises(UserError, match="no column 'bach'; choose one of material_id, batch"):
        names({"id": "bach"})
    for wrong in ({"id": ["batch"]}, "batch"):
        with pytest.raises(UserError, match="columns: "):
            names(wrong)
    frame = frame.drop(columns="mine")
    with pytest.raises(UserError, match="say which column holds what"):
        names({"id": "batch"})


def test_a_bad_row_costs_itself(packed, frame, wanted):
    frame = frame.assign(**{"cif text": [frame["cif text"][0], "no crystal", None]})
    table = omnimat.load(packed).predict(frame, columns={"structure": {"cif": "cif text"}})
    np.testing.assert_allclose(table[TARGET][0], wanted[0], rtol=TOLERANCE)
    assert table[TARGET].notna().tolist() == [True, False, False]
    assert all(table["notes"][1:])
    with pytest.raises(UserError, match="#1"):
        omnimat.load(packed).predict(frame, columns={"structure": {"cif": "cif text"}}, strict=True)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"structure": {"cif": "no such"}}, "no column 'no such'"),
        ({"structur": "cif text"}, "structur"),
        ({}, "say which column"),
    ],
)
def test_wrong_columns_are_refused_in_a_sentence(packed, frame, columns, told):
    with pytest.raises(UserError, match=told) as error:
        omnimat.load(packed).predict(frame, columns=columns)
    assert "\n" not in str(error.value)


def test_a_frame_without_materials_is_refused(packed, frame):
    model = omnimat.load(packed)
    with pytest.raises(UserError, match="holds materials"):
        model.predict(pd.DataFrame({"x": [1.0, 2.0]}))
    twice = pd.concat([frame, frame["name"]], axis=1)
    with pytest.raises(UserError, match="two columns 'name'"):
        model.predict(twice)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_is_a_file_too(packed, frame, wanted, tmp_path, ending):
    path = tmp_path / f"candidates.{ending}"
    frame.to_csv(path, index=False) if ending == "csv" else frame.to_parquet(path, index=False)
    table = omnimat.load(packed).predict(path)
    np.testing.assert_allclose(table[TARGET], wanted, rtol=TOLERANCE)
    assert table["name"][0] == f"{path}:crystal 0"
    given = list(read_all(str(path), {"formula": "formula"}))
    assert [set(one.record.parts) for one in given] == [{"composition"}] * 3


def test_patterns_may_be_arrays_as_pandas_reads_them_from_parquet(tmp_path):
    ones = [np.ones_like(ANGLES)] * 2
    frame = pd.DataFrame({"sample": ["a", "b"], "two_theta": [ANGLES] * 2, "intensity": ones})
    frame.to_parquet(tmp_path / "patterns.parquet")
    read = pd.read_parquet(tmp_path / "patterns.parquet")
    assert isinstance(read["two_theta"][0], np.ndarray)
    given = list(read_all(read))
    assert [one.name for one in given] == ["a", "b"]
    for one in given:
        np.testing.assert_array_equal(one.record.parts["xrd"].two_theta_degree, ANGLES)


def test_a_table_of_no_materials_is_read_as_its_format(tmp_path):
    pattern = tmp_path / "sample.csv"
    pattern.write_text("".join(f"{angle},{angle}\n" for angle in ANGLES))
    (given,) = read_all(str(pattern))
    assert set(given.record.parts) == {"xrd"}
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    (given,) = read_all(str(tmp_path / "bad.parquet"))
    assert "bad.parquet" in given.record.reason


def test_a_data_set_is_read_by_its_folder_or_its_name(packed, storage, records, monkeypatch):
    monkeypatch.setenv("OMNIMAT_STORAGE", str(storage.root))
    index = Manifest.load(storage.dataset("data")).records(storage.dataset("data"))
    model = omnimat.load(packed)
    table = model.predict("dataset:data")
    assert table["name"].tolist() == index["material_id"].tolist()
    by_folder = model.predict(Path(str(storage.dataset("data"))))
    np.testing.assert_array_equal(table[TARGET], by_folder[TARGET])
    places = {one.material_id: place for place, one in enumerate(records)}
    ours = model.predict(records)[TARGET].to_numpy()
    # Shards hold the same numbers; batches are cut elsewhere, so float32 sums differ at the end.
    order = [places[name] for name in table["name"]]
    np.testing.assert_allclose(table[TARGET], ours[order], rtol=1e-5)
    with pytest.raises(UserError, match="nobody"):
        model.predict("dataset:nobody")


def test_parts_of_a_material_are_given_by_their_names(records):
    curve = DensityOfStates(ANGLES, np.ones_like(ANGLES))
    given = [
        {"xrd": MeasuredPattern(ANGLES, np.ones_like(ANGLES)), "composition": "NaCl"},
        {"dos": curve},
        {"text": "a grey powder"},
        {"structure": to_pymatgen(records[0].structure).to_ase_atoms()},
    ]
    read = list(read_all(given))
    assert [set(one.record.parts) for one in read] == [set(one) for one in given]
    assert read[0].record.parts["composition"].atomic_numbers.tolist() == [11, 17]
    (alone,) = read_all(given[1])
    assert isinstance(alone.record, Record)


def test_a_wrong_part_is_a_reason():
    falling = MeasuredPattern(ANGLES[::-1], np.ones_like(ANGLES))
    wrong = [{"xrd": falling}, {"xdr": falling}, {"xrd": 3}, {"composition": "Xx2"}, {"dos": None}]
    told = reasons(read_all(wrong))
    assert len(told) == len(wrong)
    assert "do not increase" in told[0]
    assert "'xdr' is no part" in told[1]
    assert all("\n" not in one for one in told)


def test_crystals_and_compositions_of_pymatgen_are_one_input_each(records):
    crystal = to_pymatgen(records[0].structure)
    for one in (crystal, IStructure.from_sites(crystal)):
        (given,) = read_all(one)
        assert given.record.structure.atomic_numbers.size == len(crystal)
    salt, oxide = Composition({"Na+": 1, "Cl-": 1}), Composition("Li0.5CoO2")
    (given,) = read_all(salt)
    assert given.record.parts["composition"].atomic_numbers.tolist() == [11, 17]
    (given,) = read_all({"composition": oxide})
    assert given.record.parts["composition"].amounts.tolist() == [0.5, 2.0, 1.0]
    assert "no such element" in reasons(read_all(Composition("X")))[0]


@pytest.mark.parametrize("given", [None, 5, object(), np.array(5)])
def test_what_is_no_input_is_refused_in_a_sentence(given):
    with pytest.raises(UserError, match="nothing that a model can read"):
        list(read_all(given))


def test_a_query_is_one_material():
    assert set(query_of(pd.DataFrame({"formula": ["NaCl"]})).parts) == {"composition"}
    with pytest.raises(UserError, match="query: a table of 3 materials"):
        query_of(pd.DataFrame({"formula": ["NaCl", "KCl", "LiF"]}))


def test_columns_without_names_go_by_their_numbers():
    frame = pd.DataFrame([["NaCl", 1]])
    with pytest.raises(UserError, match="choose one of 0, 1"):
        list(read_all(frame, {"formula": "x"}))
    (given,) = read_all(frame, {"formula": "0"})
    assert set(given.record.parts) == {"composition"}


def test_precision_is_chosen_and_costs_little(packed, records):
    exact = omnimat.load(packed, "cpu", precision="fp32").predict(records[:20])
    fast = omnimat.load(packed, "cpu", precision="bf16").predict(records[:20])
    # bfloat16 keeps eight bits: a relative error of 2**-9 a rounding, over some layers.
    np.testing.assert_allclose(fast[TARGET], exact[TARGET], rtol=0.05)
    assert (fast[TARGET] != exact[TARGET]).any()
    vectors = [
        omnimat.load(packed, "cpu", precision=one).embed(records[:20]).vectors
        for one in ("fp32", "bf16")
    ]
    assert (vectors[0] != vectors[1]).any()
    np.testing.assert_allclose(np.linalg.norm(vectors[1], axis=1), 1, rtol=1e-5)


def test_the_command_takes_a_table(storage, frame, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    package("pre", storage, tmp_path / "pre")
    frame.to_csv("candidates.csv", index=False)
    run = ["embed", "pre", "candidates.csv", "NaCl", "-o", "v.npz", "--modality", "composition"]
    done = CliRunner().invoke(main, [*run, "--precision", "fp32"])
    assert done.exit_code == 0, done.output
    with np.load("v.npz", allow_pickle=False) as file:
        found = dict(file)
    names = ["candidates.csv:crystal 1", "candidates.csv:crystal 2", "NaCl"]
    assert found["names"].tolist()[1:] == names
    assert np.isfinite(found["vectors"]).all()
