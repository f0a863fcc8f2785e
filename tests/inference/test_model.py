import json
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save as save_tensors

import omnimat
from omnimat.base.errors import UserError
from omnimat.cli.main import main
from omnimat.inference.build import package
from omnimat.inference.package import Package, stored
from omnimat.inference.unpacked import Unpacked
from omnimat.materials.crystals import to_pymatgen

REPOSITORY = Path(__file__).parents[2]
TARGET = "volume_angstrom3_per_atom"

# The run predicts in other batches than the package, so float32 sums differ in their last digits.
TOLERANCE = 1e-6


def card_of(folder):
    """Read a card as whoever changes it would: without the checksum of what it said before."""
    content = json.loads((folder / "card.json").read_text())
    del content["checksum"]
    return content


def test_a_package_predicts_what_its_run_predicts(packed, of_the_run, records):
    table = (
        omnimat.load(packed).predict(records).set_index(pd.Index([r.material_id for r in records]))
    )
    volumes = [one["volume"].set_index("material_id")["prediction"] for one in of_the_run]
    wanted = sum(volumes) / len(volumes)
    np.testing.assert_allclose(
        table.loc[wanted.index, TARGET], wanted.astype(float), rtol=TOLERANCE
    )
    assert len(wanted) == 20
    assert (table[f"{TARGET}_low"] < table[TARGET]).all()
    assert set(table["crystal_system"]) <= {r.properties["crystal_system"] for r in records}
    assert table["crystal_system_probability"].between(0, 1).all()


def test_a_moved_package_needs_no_storage_and_no_ray(packed, records, tmp_path):
    moved = shutil.copytree(packed, tmp_path / "elsewhere")
    crystal = tmp_path / "crystal.cif"
    to_pymatgen(records[9].structure).to(str(crystal), fmt="cif")
    program = (
        "import sys, omnimat; table = omnimat.load(sys.argv[1]).predict(sys.argv[2]);"
        "assert not {'ray', 'deepspeed'} & set(sys.modules), 'an engine was loaded';"
        "print(table.to_json(orient='records'))"
    )
    command = [sys.executable, "-c", program, str(moved), str(crystal)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    (row,) = json.loads(done.stdout)
    here = omnimat.load(packed).predict(records[9])
    assert row[TARGET] == pytest.approx(here[TARGET][0], rel=1e-5)  # a CIF holds fewer digits


def test_all_kinds_of_inputs_are_one(packed, records, tmp_path):
    crystal = to_pymatgen(records[0].structure)
    file = tmp_path / "a.cif"
    crystal.to(str(file), fmt="cif")
    inputs = [records[0], crystal, crystal.to_ase_atoms(), str(file), file, str(tmp_path / "*.cif")]
    inputs.append(str(tmp_path))
    table = omnimat.load(packed).predict(inputs)
    assert len(table) == len(inputs)
    np.testing.assert_allclose(table[TARGET], table[TARGET][0], rtol=1e-5)
    assert table["name"].tolist()[:3] == ["#0", "#1", "#2"]


def test_bad_inputs_give_a_reason_and_cost_nothing_else(packed, records, tmp_path):
    (tmp_path / "empty.cif").write_text("")
    (tmp_path / "x.doc").write_text("?")
    inputs = [str(tmp_path / "empty.cif"), records[0], str(tmp_path / "x.doc"), 3, "LiFePO4"]
    table = omnimat.load(packed).predict(inputs)
    assert table[TARGET].notna().tolist() == [False, True, False, False, False]
    assert all(table["notes"][table[TARGET].isna()])
    vectors = omnimat.load(packed).embed(inputs)
    assert np.isfinite(np.asarray(vectors)).all(axis=1).tolist() == table[TARGET].notna().tolist()
    with pytest.raises(UserError, match=r"empty\.cif"):
        omnimat.load(packed).predict(inputs, strict=True)
    assert omnimat.load(packed).predict([]).empty


def test_a_crystal_of_an_unseen_element_carries_a_note(packed, records):
    crystal = records[0].structure
    plutonium = replace(crystal, atomic_numbers=np.full_like(crystal.atomic_numbers, 94))
    inputs = [records[0], records[0].with_part("structure", plutonium)]
    table = omnimat.load(packed).predict(inputs)
    assert "Pu" in table["notes"][1]
    assert "Pu" not in table["notes"][0]


def test_the_card_tells_what_the_model_is_worth(packed, of_the_run):
    predicted = {one.task.name: one for one in Package(packed).card.predictor.predicted}
    score = predicted["volume"].score
    errors = [(t["volume"]["prediction"] - t["volume"]["target"]).abs().mean() for t in of_the_run]
    assert score.of_each == pytest.approx(errors)
    assert score.num_test == 20
    assert score.coverage >= 0.5
    assert predicted["volume"].calibration.num_calibration == 40
    assert predicted["system"].calibration is None
    text = (packed / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: omnimat")
    assert f"intervals are to hold 90% and held {score.coverage:.0%} of these" in text
    assert "the share that it is to hold is approximate" in text


def test_the_package_of_a_pretraining_run_embeds_alone(storage, records, tmp_path):
    from omnimat.models.embed import ExportedEncoder

    package("pre", storage, tmp_path / "pre.zip")
    model = omnimat.load(tmp_path / "pre.zip")
    assert model.modalities == ("structure", "composition")
    for modality in model.modalities:
        encoder = ExportedEncoder.load(storage.run("pre") / "export" / modality)
        wanted = encoder.embed_record(records[0]).numpy()
        np.testing.assert_allclose(model.embed(records[0], modality).vectors[0], wanted, atol=1e-6)
    assert np.isfinite(model.embed("LiFePO4", "composition").vectors).all()
    with pytest.raises(UserError, match="only embeds"):
        model.predict(records[0])
    with pytest.raises(UserError, match="structure, composition"):
        model.embed(records[0], "dos")


def test_the_columns_are_the_same_whatever_is_given(packed, records, tmp_path):
    model = omnimat.load(packed)
    columns = ["name", TARGET, f"{TARGET}_low", f"{TARGET}_high", "crystal_system"]
    columns += ["crystal_system_probability", "distance", "notes"]
    for inputs in ([records[0]], ["LiFePO4", records[0]], ["LiFePO4"], []):
        table = model.predict(inputs)
        assert table.columns.tolist() == columns
        assert len(table) == len(inputs)
        assert table[TARGET].dtype == float
    (row,) = model.predict([str(tmp_path)]).itertuples()
    assert (row.name, row.notes) == (str(tmp_path), "it holds no file that can be read")


def test_strict_ends_at_the_first_part_with_what_cannot_be_used(packed, records, monkeypatch):
    monkeypatch.setattr("omnimat.inference.model.ROWS_AT_A_TIME", 2)
    for use in (omnimat.load(packed).predict, omnimat.load(packed).embed):
        given = iter([records[0], 3, records[1], records[2]])
        with pytest.raises(UserError, match="#1: int"):
            use(given, strict=True)
        assert len(list(given)) == 2


def test_an_infinite_prediction_is_left_out_with_a_note(packed, records, monkeypatch):
    model = omnimat.load(packed)
    outputs = Unpacked.outputs

    def infinite(unpacked, features):
        found = outputs(unpacked, features)
        found.values[:, 0, 0] = np.inf
        return found

    monkeypatch.setattr(Unpacked, "outputs", infinite)
    table = model.predict(records[:2])
    assert table[[TARGET, f"{TARGET}_low", f"{TARGET}_high"]].isna().all(axis=1).tolist() == [
        True,
        False,
    ]
    assert f"{TARGET} would not be finite" in table["notes"][0]
    assert "finite" not in table["notes"][1]


def test_an_infinite_embedding_is_left_out_with_a_note(packed, records):
    model = omnimat.load(packed)
    wanted = model.embed(records[:3]).vectors

    def infinite(module, given, found):
        return found.index_fill(0, torch.tensor([1]), torch.inf)

    with model.networks.encoder("structure").module.register_forward_hook(infinite):
        found = model.embed([records[0], records[1], 3, records[2]])
        with pytest.raises(UserError, match="#1: its embedding would not be finite"):
            model.embed(records[:2], strict=True)
    np.testing.assert_array_equal(found.vectors[[0, 3]], wanted[[0, 2]])
    assert np.isnan(found.vectors[[1, 2]]).all()
    assert found.notes[1] == "its embedding would not be finite"
    assert [found.notes[0], found.notes[3]] == ["", ""]
    assert "finite" not in found.notes[2]


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta"])
def test_a_device_that_is_not_here_is_refused_in_a_sentence(packed, name):
    with pytest.raises(UserError, match=f"'{name}' is not here; choose one of cpu"):
        omnimat.load(packed, name)


@pytest.mark.parametrize("name", ["members/seed0.safetensors", "domain.safetensors", "README.md"])
def test_a_flipped_bit_is_named(packed, records, tmp_path, name):
    damaged = shutil.copytree(packed, tmp_path / "damaged")
    data = bytearray((damaged / name).read_bytes())
    data[len(data) // 2] ^= 1
    (damaged / name).write_bytes(data)
    with pytest.raises(UserError, match=name):
        Package(damaged).check()
    if name.endswith("safetensors"):
        with pytest.raises(UserError, match=name):
            omnimat.load(damaged).predict(records[0])


def test_a_card_cannot_point_out_of_its_package(packed, tmp_path):
    hostile = shutil.copytree(packed, tmp_path / "hostile")
    card = card_of(hostile)
    for name in ("../secret", "/etc/passwd", "a/../../b", "a\\..\\b"):
        changed = card | {"files": card["files"] | {name: {"size_bytes": 1, "sha256": "0"}}}
        (hostile / "card.json").write_text(json.dumps(changed))
        with pytest.raises(UserError, match="does not lie within"):
            omnimat.load(hostile)
    (hostile / "card.json").write_text(json.dumps(card))
    (hostile / "README.md").unlink()
    (hostile / "README.md").symlink_to("/etc/hostname")
    with pytest.raises(UserError, match=r"README\.md"):
        Package(hostile).check()


@pytest.mark.parametrize("size", [{"num_convolutions": 20_000}, {"hidden_width": 200_000}])
def test_a_card_that_asks_for_more_than_the_weights_hold_builds_nothing(
    packed, records, tmp_path, size
):
    """To build 20,000 convolutions takes a minute, and the wide ones fill the memory."""
    hostile = shutil.copytree(packed, tmp_path / "hostile")
    card = card_of(hostile)
    assert set(size) <= card["encoders"]["structure"]["encoder"].keys()
    card["encoders"]["structure"]["encoder"] |= size
    (hostile / "card.json").write_text(json.dumps(card))
    for use in (omnimat.load(hostile).predict, omnimat.load(hostile).embed):
        with pytest.raises(UserError, match="do not belong together"):
            use(records[0])


def test_a_reference_of_other_embeddings_is_refused(packed, records, tmp_path):
    hostile = shutil.copytree(packed, tmp_path / "hostile")
    card = card_of(hostile)
    for shape in ((3,), (3, 3)):
        tensors = {"mean": torch.zeros(3), "whitening": torch.zeros(shape)}
        data = save_tensors(tensors)
        (hostile / "domain.safetensors").write_bytes(data)
        described = stored({"domain.safetensors": data})["domain.safetensors"].model_dump()
        card["files"]["domain.safetensors"] = described
        (hostile / "card.json").write_text(json.dumps(card))
        with pytest.raises(UserError, match="do not belong together"):
            omnimat.load(hostile).predict(records[0])


@pytest.mark.parametrize("settings", [{"type": "no-such"}, {"type": "crystal_graph", "x": 1}])
def test_a_card_with_a_featurizer_that_is_none_is_refused(packed, records, tmp_path, settings):
    hostile = shutil.copytree(packed, tmp_path / "hostile")
    card = card_of(hostile)
    card["encoders"]["structure"]["featurizer"] = settings
    (hostile / "card.json").write_text(json.dumps(card))
    for use in (omnimat.load(hostile).predict, omnimat.load(hostile).embed):
        with pytest.raises(UserError, match="do not belong together"):
            use(records[0])


def test_the_readme_names_what_the_package_offers():
    text = (REPOSITORY / "README.md").read_text()
    section = text.partition("## A model in the hand")[2].partition("\n## ")[0]
    named = set(re.findall(r"omnimat\.(\w+)", section))
    assert {"load", "Model"} <= named <= set(omnimat.__all__)
    assert all(getattr(omnimat, name) is not None for name in omnimat.__all__)


@pytest.mark.parametrize("content", [b"", b"{}", b"PK\x03\x04", b"[" * 100_000])
def test_what_is_no_package_is_refused_in_a_sentence(tmp_path, content):
    (tmp_path / "model.zip").write_bytes(content)
    with pytest.raises(UserError):
        omnimat.load(tmp_path / "model.zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("card.json", content)
    with pytest.raises(UserError):
        omnimat.load(tmp_path / "other.zip")
    with pytest.raises(UserError):
        omnimat.load(tmp_path / "missing")


def test_commands_give_what_python_gives(storage, records, tmp_path, monkeypatch):
    monkeypatch.setenv("OMNIMAT_STORAGE", str(storage.root))
    monkeypatch.chdir(tmp_path)
    to_pymatgen(records[0].structure).to("a.cif", fmt="cif")

    def run(*arguments):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        return result.output

    assert "files" in run("package", "sweep", "--out", "volume")
    assert "as the card says" in run("models", "check", "volume")
    assert "What it predicts" in run("models", "show", "volume")
    run("predict", "volume", "a.cif", "-o", "table.csv")
    model = omnimat.load("volume")
    assert pd.read_csv("table.csv")[TARGET][0] == pytest.approx(model.predict("a.cif")[TARGET][0])
    run("embed", "volume", "a.cif", "-o", "vectors.npz")
    run("embed", "volume", "a.cif", "-o", "vectors.parquet")
    vectors = np.load("vectors.npz", allow_pickle=False)["vectors"]
    np.testing.assert_allclose(vectors, model.embed("a.cif").vectors, rtol=1e-6)
    np.testing.assert_array_equal(pd.read_parquet("vectors.parquet")["vector"][0], vectors[0])
    refused = CliRunner().invoke(main, ["package", "sweep", "--out", "volume"])
    assert (refused.exit_code, "is there already" in refused.output) == (2, True)


def test_names_of_files_do_no_harm_where_they_are_shown(packed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["=1+1.cif", "a\x1b[2J\u202e.cif", "b\nc.cif"]
    for name in names:
        (tmp_path / name).write_text("")
    shown = CliRunner().invoke(main, ["predict", str(packed), *names])
    assert shown.exit_code == 0
    assert len(shown.output.splitlines()) == 1 + len(names)
    assert r"a\x1b[2J\u202e.cif" in shown.output
    assert not {"\x1b", "\u202e"} & set(shown.output)
    CliRunner().invoke(main, ["predict", str(packed), *names, "-o", "table.csv"])
    found = pd.read_csv("table.csv")["name"].tolist()
    assert found == ["'=1+1.cif", r"a\x1b[2J\u202e.cif", r"b\nc.cif"]
    told = CliRunner().invoke(main, ["embed", str(packed), *names, "-o", "vectors.npz"])
    assert (told.exit_code, len(told.stderr.splitlines())) == (0, len(names))
    assert "\x1b" not in told.stderr
