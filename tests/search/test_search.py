import json
import mmap
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.cli.main import main
from omnimat.formats.format import FORMATS
from omnimat.models.embed import ExportedEncoder
from omnimat.models.export import load, save
from omnimat.models.inputs import export_folder, featurizers_of, read_cards
from omnimat.search import of_run
from omnimat.search.encoders import Encoders
from omnimat.search.of_run import open_index
from omnimat.search.search import search_run

MODALITIES = ("structure", "dos", "text", "xrd", "composition")


def opened(workspace, modality="composition"):
    run = workspace.run("pre")
    return open_index(workspace, run, "prototypes", modality, Encoders.of_run("pre", run))


def written(workspace, modality="composition"):
    """The folder of the index."""
    (folder,) = (workspace.run("pre") / "search" / "prototypes").glob(f"{modality}-*")
    return folder


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_material_is_found_by_what_is_known_of_it(workspace, query_files, sought, modality):
    (answer,) = search_run("pre", [query_files[modality]], workspace, against=modality, top=3)
    assert (answer.modality, answer.against, answer.source) == (modality, modality, "prototypes")
    assert answer.num_candidates == 30
    assert answer.hits["rank"].tolist() == [1, 2, 3]
    first, second = answer.hits.iloc[0], answer.hits.iloc[1]
    assert first["name"] == sought.material_id
    assert (first.reduced_formula, first.space_group) == ("Te2Au", "C12/m1")
    assert first.space_group_number == sought.properties["space_group_number"] == 12
    assert first.crystal_system == sought.properties["crystal_system"] == "monoclinic"
    # Rounding to single precision and to the digits of the file.
    assert first.similarity == pytest.approx(1, abs=1e-5)
    assert second.similarity < first.similarity


@pytest.mark.parametrize("modality", ["xrd", "composition"])
def test_a_structure_serves_encoders_of_what_follows_from_it(workspace, query_files, modality):
    files = [query_files["structure"], query_files[modality]]
    by_cif, by_itself = search_run("pre", files, workspace, modality=modality)
    assert by_cif.modality == modality
    found = [answer.hits["name"].tolist() for answer in (by_cif, by_itself)]
    assert found[0] == found[1]


def test_polymorphs_share_a_composition_and_come_in_the_order_of_names(workspace):
    (answer,) = search_run("pre", ["ZnS"], workspace, against="composition", top=3)
    assert answer.hits["name"].tolist()[:2] == ["AB_cF8_216_c_a-ZnS", "AB_hP4_186_b_b-ZnS"]
    first, second, third = answer.hits["similarity"]
    assert first == second > third


def test_one_split_alone_is_searched(workspace, query_files):
    materials = opened(workspace).materials
    for split in ("train", "test"):
        (answer,) = search_run("pre", [query_files["structure"]], workspace, split=split, top=100)
        expected = set(materials["name"][materials["split"] == split])
        assert set(answer.hits["name"]) == expected
        assert answer.num_candidates == len(expected) > 0


def test_the_help_lists_the_formats_of_files():
    result = CliRunner().invoke(main, ["search", "--help"])
    assert result.exit_code == 0
    words = " ".join(result.output.split())
    for one in FORMATS.load_all().values():
        assert f"{one.label} (" in words
        assert one.patterns[-1].removeprefix("*") in words


@pytest.fixture
def copy(workspace, tmp_path) -> Workspace:
    """A workspace to change."""
    shutil.copytree(str(workspace.root), str(tmp_path / "storage"))
    return Workspace(UPath(tmp_path / "storage"))


def test_an_index_is_made_once_and_mapped_into_memory(copy, capsys):
    first = opened(copy)
    card = written(copy) / "index.json"
    made_ns = card.stat().st_mtime_ns
    capsys.readouterr()
    values = opened(copy).embeddings
    np.testing.assert_array_equal(values, first.embeddings)
    while isinstance(values, np.ndarray):
        values = values.base
    assert isinstance(values.obj, mmap.mmap)
    assert card.stat().st_mtime_ns == made_ns
    assert not capsys.readouterr().err


def test_an_index_of_a_run_on_another_machine_is_read_whole(workspace):
    run, export = UPath("memory://pre"), workspace.run("pre") / "export" / "composition"
    for file in export.iterdir():
        (export_folder(run, "composition") / file.name).parent.mkdir(parents=True, exist_ok=True)
        (export_folder(run, "composition") / file.name).write_bytes(file.read_bytes())
    encoders = Encoders.of_run("pre", workspace.run("pre"))
    made, read = (
        open_index(workspace, run, "prototypes", "composition", encoders).embeddings
        for _ in range(2)
    )
    np.testing.assert_array_equal(made, read)
    np.testing.assert_array_equal(read, opened(workspace).embeddings)


def test_an_index_of_another_encoder_is_not_used(copy):
    before = np.array(opened(copy).embeddings)
    folder = export_folder(copy.run("pre"), "composition")
    encoder, card = load(folder)
    next(encoder.parameters()).data.add_(1.0)
    save(folder, encoder, card)
    assert not np.array_equal(opened(copy).embeddings, before)
    assert written(copy).is_dir()  # the old one is gone


def test_a_feature_store_is_used_where_there_is_one(copy, write_features, monkeypatch):
    expected = np.array(opened(copy).embeddings)
    written(copy).rmdir(recursive=True)
    monkeypatch.setattr(of_run, "_MAX_FEATURIZED_HERE", 29)
    with pytest.raises(UserError, match="run an evaluate job"):
        opened(copy)
    write_features(copy, "prototypes", featurizers_of(read_cards(copy.run("pre"))))
    np.testing.assert_allclose(opened(copy).embeddings, expected, atol=1e-6)


def test_materials_without_the_modality_are_left_out_with_the_reason(copy, monkeypatch):
    of_all = opened(copy)
    embed = ExportedEncoder.embed_stored

    def all_but_the_fourth(self, store, positions):
        column = embed(self, store, positions)
        column.present[3] = False
        return column

    monkeypatch.setattr(ExportedEncoder, "embed_stored", all_but_the_fourth)
    written(copy).rmdir(recursive=True)
    index = opened(copy)
    (lost,) = set(of_all.materials["name"]) - set(index.materials["name"])
    assert index.left_out().to_numpy().tolist() == [[lost, "it has no composition"]]
    assert len(index.embeddings) == len(index.rows()) == 29


def invoke(*arguments):
    return CliRunner().invoke(main, ["search", *arguments])


def test_the_command_prints_tables_and_json(storage, query_files, sought):
    result = invoke("pre", query_files["xrd"], "ZnS", "--against", "xrd", "--top", "2")
    assert result.exit_code == 0, result.output
    assert sought.material_id in result.stdout
    assert "C12/m1 (12)" in result.stdout
    result = invoke("pre", query_files["xrd"], "ZnS", "--against", "xrd", "--json")
    first, second = json.loads(result.stdout)
    hit = first["hits"][0]
    assert (hit["name"], hit["space_group"]) == (sought.material_id, "C12/m1")
    assert hit["known.volume_angstrom3_per_atom"] == pytest.approx(
        sought.properties["volume_angstrom3_per_atom"]
    )
    assert (second["modality"], len(second["hits"])) == ("composition", 10)


def test_a_query_is_no_markup(storage):
    result = invoke("pre", "a [bold]cubic[/bold] oxide", "--against", "text")
    assert "[bold]cubic[/bold]" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["pre", "XxO2"], "Xx: no such element"),
        (["pre", "NaCl", "--against", "charge_density"], "choose one of structure, dos, text, xrd"),
        (["pre", "NaCl", "--modality", "xrd"], "a formula gives composition, not xrd"),
        (["pre", "NaCl", "--split", "exam"], "choose one of train, validation, test"),
        (["pre", "NaCl", "--dataset", "absent"], "ingest the data set first"),
        (["absent", "NaCl"], "run its pretrain job"),
        (["two", "a wide band gap", "--against", "xrd"], "a text needs an encoder of text"),
        (["two", "quartz.cif", "--against", "xrd"], "give --modality xrd"),
        (["stored", "a wide band gap", "--against", "text"], "text_tokens"),
    ],
)
def test_what_cannot_be_searched_is_the_users_error(
    storage, query_files, tmp_path, monkeypatch, arguments, reason
):
    shutil.copy(query_files["structure"], tmp_path / "quartz.cif")
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["embeddings.npy", "materials.parquet", "index.json"])
@pytest.mark.parametrize("num_bytes", [0, 60, -1, None])
def test_a_damaged_index_is_made_again_with_a_line(name, num_bytes, copy, capsys):
    expected = np.array(opened(copy).embeddings)
    path = written(copy) / name
    data = path.read_bytes()
    damaged = bytearray(data) if num_bytes is None else data[:num_bytes]
    if num_bytes is None:
        damaged[-20] ^= 1
    path.unlink()  # the file that is mapped stays as it is
    path.write_bytes(bytes(damaged))
    capsys.readouterr()
    np.testing.assert_array_equal(opened(copy).embeddings, expected)
    # That of JSON is a line feed.
    is_harmless = name == "index.json" and num_bytes == -1
    assert (str(path) in capsys.readouterr().err) != is_harmless
    assert is_harmless or path.read_bytes() == data


def test_an_index_of_an_older_omnimat_gives_way(copy):
    opened(copy)
    folder = written(copy)
    folder.rmdir(recursive=True)
    (folder.parent / "composition-0123-4567.npy").write_bytes(b"")
    opened(copy)
    assert [one.name for one in folder.parent.glob("composition-*")] == [folder.name]
