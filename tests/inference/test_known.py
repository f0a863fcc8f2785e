"""What tables say of the materials of an index, and what of them is not used."""

import numpy as np
import pandas as pd
import pytest

import omnimat
from omnimat.base.errors import UserError
from omnimat.inference.known import known_labels, labelled, unused
from omnimat.inference.read import read_all
from omnimat.materials.crystals import to_pymatgen
from omnimat.search.materials import Chunk

NAMES = ["in/m1.cif", "t.csv:m2", "in/m3.cif"]


@pytest.fixture
def labels(tmp_path):
    lines = ["file,gap_ev", "m1.cif,1.5", "m2,wide", "elsewhere,2", "nowhere,3"]
    (tmp_path / "known.csv").write_text("\n".join(lines))
    return known_labels(str(tmp_path / "known.csv"), "file")


def test_labels_go_to_the_materials_that_they_name(labels):
    chunk = Chunk(NAMES, np.zeros((3, 2), np.float32), [""] * 3, {})
    assert labelled(chunk, labels).columns == {"known.gap_ev": [1.5, None, None]}


def test_what_is_not_used_is_counted(labels):
    strange, bad = unused(labels, NAMES)
    assert ": 2, first 'elsewhere'" in strange
    assert ": 1, first m2: gap_ev: " in bad
    assert "wide" in bad


def test_a_table_that_names_no_material_is_refused(labels):
    with pytest.raises(UserError, match=r"^known: none of its ids .*'m1\.cif'.*'other'"):
        unused(labels, ["other"])


COLUMNS = {
    "hardness (GPa)": [7.5, None, 3.0, 3.0],
    "phase": ["a", "b", "a", "b"],
    "remark": ["x", "y", "z", "w"],  # of no two materials the same, so that it is no class
}


def table_of(folder, ending):
    frame = pd.DataFrame({"sample": [*"pqrs"], "formula": ["NaCl", "KCl", "KBr", "KI"], **COLUMNS})
    if ending is None:
        return frame
    path = folder / f"table.{ending}"
    frame.to_parquet(path) if ending == "parquet" else frame.to_csv(path, index=False)
    return str(path)


@pytest.mark.parametrize("ending", [None, "csv", "parquet"])
def test_what_is_no_part_of_a_material_is_known_of_it(tmp_path, ending):
    """As ``--known`` would tell it, and under the same names."""
    found = [one.record.properties for one in read_all(table_of(tmp_path, ending))]
    assert found == [
        {"hardness_gpa": 7.5, "phase": "a"},
        {"phase": "b"},
        {"hardness_gpa": 3.0, "phase": "a"},
        {"hardness_gpa": 3.0, "phase": "b"},
    ]
    labels = known_labels(table_of(tmp_path, "csv"), "sample")
    assert {name: labels.usable("p")[name] for name in found[0]} == found[0]


def test_only_what_columns_name_is_known_where_they_are_given(tmp_path):
    columns = {"formula": "formula", "properties": {"hardness": "hardness (GPa)"}}
    found = [one.record.properties for one in read_all(table_of(tmp_path, "csv"), columns)]
    assert found == [{"hardness": 7.5}, {}, {"hardness": 3.0}, {"hardness": 3.0}]


def test_crystals_in_a_column_are_known_by_the_others(records):
    crystals = [to_pymatgen(one.structure) for one in records[:4]]
    frame = pd.DataFrame({"crystal": crystals, "batch": [4, 5, 6, 7], **COLUMNS})
    found = [one.record.properties for one in read_all(frame)]
    assert found[0] == {"batch": 4.0, "hardness_gpa": 7.5, "phase": "a"}
    named = [*read_all(frame, {"id": "batch"})]
    assert [one.name for one in named] == ["4", "5", "6", "7"]
    assert [one.record.properties for one in named] == [{}] * 4
    columns = {"id": "batch", "properties": {"hardness": "hardness (GPa)"}}
    found = [one.record.properties for one in read_all(frame, columns)]
    assert found == [{"hardness": 7.5}, {}, {"hardness": 3.0}, {"hardness": 3.0}]
    with pytest.raises(UserError, match=r"properties.hardness: there is no column 'hard'"):
        list(read_all(frame, {"properties": {"hardness": "hard"}}))


def test_two_columns_that_would_be_one_label_are_refused(records, tmp_path):
    crystals = [to_pymatgen(one.structure) for one in records[:2]]
    twice = {"gap (eV)": [1.0, 2.0], "gap_ev": [1.0, 2.0]}
    sentence = "columns 'gap \\(eV\\)' and 'gap_ev' of the table would both be the label 'gap_ev'"
    with pytest.raises(UserError, match=sentence):
        list(read_all(pd.DataFrame({"crystal": crystals, **twice})))
    formulas = pd.DataFrame({"formula": ["NaCl", "KCl"], **twice})
    with pytest.raises(UserError, match=sentence):
        list(read_all(formulas))
    formulas.to_csv(tmp_path / "table.csv", index=False)
    (given,) = read_all(str(tmp_path / "table.csv"))
    assert "would both be the label" in given.record.reason
    (one,) = read_all(formulas.head(1), {"formula": "formula", "properties": {"gap": "gap_ev"}})
    assert one.record.properties == {"gap": 1.0}


def test_an_index_of_a_table_knows_its_columns(packed, records, tmp_path):
    """Those of a table of known values go before them."""
    texts = [to_pymatgen(one.structure).to(fmt="cif") for one in records[:4]]
    frame = pd.DataFrame({"sample": [*"pqrs"], "cif": texts, **COLUMNS})
    frame.to_parquet(tmp_path / "table.parquet")
    model = omnimat.load(packed)
    made = omnimat.index(model, tmp_path / "table.parquet", tmp_path / "index")
    assert made.materials["known.hardness_gpa"].fillna(0).tolist() == [7.5, 0, 3, 3]
    hits = omnimat.screen(model, made, where="hardness_gpa > 5 and phase == 'a'")
    assert hits["name"].tolist() == [f"{tmp_path}/table.parquet:p"]
    (tmp_path / "known.csv").write_text("material_id,hardness (GPa)\nq,9\n")
    made = omnimat.index(
        model, tmp_path / "table.parquet", tmp_path / "other", known=tmp_path / "known.csv"
    )
    assert made.materials["known.hardness_gpa"].fillna(0).tolist() == [0, 9, 0, 0]
    assert made.materials["known.phase"].tolist() == ["a", "b", "a", "b"]
