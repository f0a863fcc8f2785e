"""Indexes that packed models make, and what is found in them, in Python and by the command."""

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from torch.nn.modules.module import register_module_forward_hook

import omnimat
from omnimat.base.errors import UserError
from omnimat.cli.main import main
from omnimat.inference.build import package
from omnimat.materials.crystals import to_pymatgen
from omnimat.search.encoders import Encoders

TARGET = "volume_angstrom3_per_atom"
# A path through the command writes numbers as text and reads them again; both compute the same.
TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def model(packed):
    return omnimat.load(packed)


@pytest.fixture(scope="module")
def files(tmp_path_factory, records):
    """Twelve crystals as files, one that is none, and a table of what is known of some."""
    folder = tmp_path_factory.mktemp("candidates")
    for place, record in enumerate(records[:12]):
        to_pymatgen(record.structure).to(str(folder / f"m{place:02}.cif"), fmt="cif")
    (folder / "empty.cif").write_text("")
    known = {"file": ["m00.cif", "m01", "elsewhere"], "hardness_gpa": [7.5, 3, 1]}
    pd.DataFrame(known | {"phase": ["a", "b", "c"]}).to_csv(folder / "known.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def made(model, files, tmp_path_factory):
    place = tmp_path_factory.mktemp("made") / "index"
    pattern, known = str(files / "*.cif"), files / "known.csv"
    return omnimat.index(model, pattern, place, known=known, id_column="file")


def run(*arguments):
    result = CliRunner().invoke(main, [str(one) for one in arguments])
    assert result.exit_code == 0, result.output
    return result


WAYS = {
    "embed": lambda model, given, place: model.embed(given),
    "predict": lambda model, given, place: model.predict(given),
    "index": omnimat.index,
}


@pytest.mark.parametrize("way", WAYS)
def test_networks_compute_with_the_threads_that_torch_was_given(model, files, tmp_path, way):
    """As many as there are cores, unless somebody says otherwise; nothing takes them away."""
    seen, before = set(), torch.get_num_threads()
    torch.set_num_threads(3)
    hook = register_module_forward_hook(lambda *_: seen.add(torch.get_num_threads()))
    try:
        WAYS[way](model, str(files / "m00.cif"), tmp_path / "made")
    finally:
        hook.remove()
        torch.set_num_threads(before)
    assert seen == {3}


def test_it_holds_what_the_model_embeds_and_predicts(model, files, made):
    paths = [str(files / f"m{place:02}.cif") for place in range(12)]
    assert made.materials["name"].tolist() == paths
    vectors, table = model.embed(paths).vectors, model.predict(paths)
    # Batches of another size add up in another order.
    np.testing.assert_allclose(made.embeddings, vectors, atol=TOLERANCE)
    for name in (TARGET, f"{TARGET}_low", f"{TARGET}_high", "distance"):
        np.testing.assert_allclose(
            made.materials[f"predicted.{name}"], table[name].astype(float), rtol=TOLERANCE
        )
    assert made.materials["predicted.crystal_system"].tolist() == table["crystal_system"].tolist()
    (name, reason), *others = made.left_out().to_numpy().tolist()
    assert (name, others) == (str(files / "empty.cif"), [])
    assert reason


def test_it_holds_what_is_known(records, made):
    assert made.materials["known.hardness_gpa"].tolist()[:2] == [7.5, 3]
    assert made.materials["known.hardness_gpa"].isna().sum() == 10
    assert made.materials["known.phase"].tolist()[:3] == ["a", "b", None]
    groups = [record.properties["space_group_number"] for record in records[:12]]
    assert made.materials["known.space_group_number"].tolist() == groups
    formula = to_pymatgen(records[3].structure).composition.reduced_formula
    assert made.materials["reduced_formula"][3] == formula


def test_a_material_finds_itself(model, files, made, records):
    for query in (files / "m05.cif", to_pymatgen(records[5].structure), records[5]):
        if query is records[5]:
            query = query.__class__("x", {"structure": query.structure})
        hits = model.search(query, made, top=3)
        assert hits["name"][0] == str(files / "m05.cif")
        assert hits["similarity"][0] == pytest.approx(1, abs=1e-5)  # a CIF holds fewer digits
        assert hits.attrs["notes"] == []
    pd.testing.assert_frame_equal(
        model.search(files / "m05.cif", made), model.search(files / "m05.cif", made.place)
    )


def test_python_and_the_command_agree(packed, model, files, made, tmp_path):
    here = model.search(files / "m05.cif", made, top=5)
    arguments = ("search", packed, files / "m05.cif", "--index", made.place, "--top", 5, "--json")
    ((answer),) = json.loads(run(*arguments).stdout)
    there = pd.DataFrame(answer["hits"])
    assert there["name"].tolist() == here["name"].tolist()
    assert (answer["num_candidates"], answer["source"]) == (12, "index")
    np.testing.assert_allclose(there["similarity"], here["similarity"], atol=TOLERANCE)
    where = f"predicted.{TARGET} > 5 and not known.phase == 'a'"
    here = omnimat.screen(model, made, where=where, near=files / "m01.cif", exclude_elements=["O"])
    for name in ("table.csv", "table.parquet", "table.jsonl"):
        out = tmp_path / name
        done = run(
            *("screen", packed, made.place, "--where", where, "--near", files / "m01.cif"),
            *("--exclude-elements", "O", "-o", out),
        )
        read = {".csv": pd.read_csv, ".parquet": pd.read_parquet}.get(
            out.suffix, lambda path: pd.read_json(path, lines=True)
        )
        there = read(out)
        assert there["name"].tolist() == here["name"].tolist()
        assert list(there.columns) == list(here.columns)
        for column in ("similarity", f"predicted.{TARGET}", f"predicted.{TARGET}_low"):
            np.testing.assert_allclose(there[column], here[column], rtol=TOLERANCE)
        assert done.stderr.splitlines() == here.attrs["notes"]
    assert len(here.attrs["notes"]) == 1
    assert "where" in here.attrs["notes"][0]


def test_the_command_indexes_as_python_does(packed, files, made, tmp_path):
    arguments = ("index", packed, files / "*.cif", "-o", tmp_path / "i", "--id", "file")
    done = run(*arguments, "--known", files / "known.csv")
    there = omnimat.Index.open(tmp_path / "i")
    pd.testing.assert_frame_equal(there.materials, made.materials)
    np.testing.assert_array_equal(there.embeddings, made.embeddings)
    assert "12 materials indexed, 1 left out" in done.stdout
    assert "known.hardness_gpa: 2 values" in done.stdout
    assert "empty.cif" in done.stderr


def test_the_terminal_shows_values_with_their_intervals(packed, files, made):
    shown = run("screen", packed, made.place, "--largest", TARGET, "--top", 2).stdout
    assert "12 of 12 materials of index" in shown
    assert f"predicted.{TARGET}" in shown.replace("\n", "")
    value = made.materials[f"predicted.{TARGET}"].max()
    assert f"{value:.4g} [" in shown


def test_a_data_set_is_indexed_with_what_it_knows_and_its_splits(model, storage, tmp_path):
    index = omnimat.index(model, str(storage.dataset("data")), tmp_path / "i")
    records = pd.read_parquet(str(storage.dataset("data") / "records.parquet"))
    assert set(index.materials["name"]) == set(records["material_id"])
    assert (index.materials["split"] == "test").sum() == (records["split"] == "test").sum() == 20
    assert index.materials[f"known.{TARGET}"].notna().all()
    hits = omnimat.screen(model, index, where=f"split == 'test' and {TARGET} > 10", top=1000)
    assert 0 < len(hits) <= 20


def test_tables_of_embeddings_are_indexed_by_the_names_of_their_columns(
    packed, model, files, made, tmp_path
):
    """As `omnimat embed` writes them, and with further columns in several parts."""
    run("embed", packed, files / "*.cif", "-o", tmp_path / "vectors.parquet")
    index = omnimat.index(model, tmp_path / "vectors.parquet", tmp_path / "one")
    np.testing.assert_array_equal(index.embeddings, made.embeddings)
    assert len(index.left_out()) == 1
    parts = tmp_path / "parts"
    parts.mkdir()
    for place, rows in enumerate((slice(0, 5), slice(5, 12))):
        some = made.materials[rows]
        vectors = pa.array(list(made.embeddings[rows]), pa.list_(pa.float32()))
        table = pa.table(
            {"material_id": some["name"], "embedding": vectors, "gap_ev": [1.5] * len(some)}
        )
        column = pa.array(some[f"predicted.{TARGET}"])
        pq.write_table(table.append_column(TARGET, column), parts / f"part-{place}.parquet")
    index = omnimat.index(model, parts, tmp_path / "two")
    np.testing.assert_array_equal(index.embeddings, made.embeddings)
    for name in (f"predicted.{TARGET}", "known.gap_ev"):
        assert index.materials[name].notna().all()


VECTOR = pa.array([[1.0] + [0.0] * 15], pa.list_(pa.float32()))
FOREIGN = {
    "wide": ({"name": ["a"], "vector": pa.array([[1.0]], pa.list_(pa.float32()))}, "16 wide"),
    "long": ({"name": ["a"], "vector": pa.array([[1.0] * 16])}, "unit length"),
    "nameless": ({"formula": ["a"], "vector": VECTOR}, "material_id or name"),
    "texts": ({"name": ["a"], "vector": ["a"]}, "lists of numbers"),
    "nothing": ({"name": ["a"], "vector": pa.array([None], VECTOR.type)}, "no embedding"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_embeddings_that_cannot_be_of_the_model_are_refused(model, tmp_path, name):
    columns, reason = FOREIGN[name]
    pq.write_table(pa.table(columns), tmp_path / "vectors.parquet")
    with pytest.raises(UserError, match=reason):
        omnimat.index(model, tmp_path / "vectors.parquet", tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_embeddings_of_another_encoder_are_refused_by_their_stamp(storage, model, files, tmp_path):
    """They are as wide and as long as those of the model."""
    package("pre", storage, tmp_path / "pre")
    pre, vectors = omnimat.load(tmp_path / "pre"), tmp_path / "vectors.parquet"
    run("embed", tmp_path / "pre", files / "m0*.cif", "--modality", "composition", "-o", vectors)
    for other, modality in ((pre, "structure"), (model, None)):
        with pytest.raises(UserError, match=r"vectors\.parquet: .* by another model"):
            omnimat.index(other, vectors, tmp_path / "index", modality=modality)
    assert len(omnimat.index(pre, vectors, tmp_path / "index", modality="composition")) == 10


def test_what_cannot_be_indexed_is_said(model, files, made, tmp_path):
    with pytest.raises(UserError, match="there already"):
        omnimat.index(model, str(files), made.place)
    with pytest.raises(UserError, match="no encoder for 'dos'"):
        omnimat.index(model, str(files), tmp_path / "i", modality="dos")
    with pytest.raises(UserError, match=r"nothing in them can be embedded: .*empty\.cif"):
        omnimat.index(model, str(files / "empty.cif"), tmp_path / "i")
    with pytest.raises(UserError, match=r"empty\.cif"):
        omnimat.index(model, str(files / "*.cif"), tmp_path / "i", strict=True)
    with pytest.raises(UserError, match=r"known\.id: .*'material_id'"):
        omnimat.index(model, str(files), tmp_path / "i", known=files / "known.csv")
    assert list(tmp_path.iterdir()) == []


def test_another_model_is_refused_and_the_run_of_a_package_is_the_same(
    storage, made, files, tmp_path, monkeypatch
):
    package("pre", storage, tmp_path / "pre")
    other = omnimat.load(tmp_path / "pre")
    with pytest.raises(UserError, match="made by another model, 'sweep'"):
        other.search("NaCl", made)
    index = omnimat.index(other, str(files / "m0*.cif"), tmp_path / "index")
    run_encoders = Encoders.of_run("pre", storage.run("pre"))
    run_encoders.check_made(index.card.origin, index.place)
    monkeypatch.setenv("OMNIMAT_STORAGE", str(storage.root))
    shutil.rmtree(tmp_path / "pre")
    query = ("search", "pre", files / "m03.cif", "--index", tmp_path / "index", "--json")
    ((answer),) = json.loads(run(*query).stdout)
    assert answer["hits"][0]["name"] == str(files / "m03.cif")
    assert "known.space_group_number" not in answer["hits"][0]
    assert answer["hits"][0]["space_group_number"] is not None


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["search", "MODEL", "NaCl", "--index", "INDEX"], "needs an encoder of composition"),
        (["search", "MODEL", "FILE", "--index", "INDEX", "--split", "test"], "knows no splits"),
        (["search", "MODEL", "FILE", "--index", "INDEX", "--dataset", "x"], "leave them out"),
        (["search", "absent", "FILE", "--index", "INDEX"], "neither a packed model nor a run"),
        (["search", "MODEL", "FILE"], "--index: "),
        (["search", "/absent", "FILE", "--index", "INDEX"], "neither a packed model nor a run"),
        (["screen", "MODEL", "MODEL"], "is no index"),
        (["screen", "MODEL", "INDEX", "-o", "x.txt"], "ends in none of"),
        (["screen", "MODEL", "INDEX", "--where", "volume > 1"], "did you mean"),
        (["screen", "MODEL", "INDEX", "--stable", "0.05"], "energy_above_hull_ev_per_atom"),
        (["index", "MODEL", "-o", "x"], "give at least one"),
        (["index", "MODEL", "-o", "x", "--dataset", "absent"], "ingest the data set first"),
    ],
)
def test_a_wrong_command_ends_in_one_sentence(
    packed, files, made, storage, tmp_path, monkeypatch, arguments, reason
):
    monkeypatch.setenv("OMNIMAT_STORAGE", str(storage.root))
    monkeypatch.chdir(tmp_path)
    places = {"MODEL": packed, "INDEX": made.place, "FILE": files / "m00.cif"}
    result = CliRunner().invoke(main, [str(places.get(one, one)) for one in arguments])
    assert result.exit_code == 2, result.output
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1
