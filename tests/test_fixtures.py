"""What earlier releases wrote is opened, or refused in one sentence (see fixtures/README.md)."""

import json
import runpy
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from click.testing import CliRunner
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.settings import fingerprint
from omnimat.base.workspace import Workspace
from omnimat.cli.main import main
from omnimat.cli.recomputation import recomputation
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.materials.split import split_sha256
from omnimat.modalities.charge_density.features import ChargeDensityGrid
from omnimat.models.inputs import featurizers_of, read_cards
from omnimat.search.encoders import Encoders
from omnimat.search.of_run import open_index
from omnimat.shards.codec import decode
from omnimat.shards.manifest import Manifest
from omnimat.shards.reader import read_records
from omnimat.sources.finished import finished
from omnimat.sources.settings import IngestSettings
from omnimat.stream.location import StoreLocation
from omnimat.stream.store import FeatureStore
from omnimat.training.resume import found_checkpoints
from omnimat.verification.verify import verify

FIXTURES = Path(__file__).parent / "fixtures"
RELEASES = sorted(path.parent.name for path in FIXTURES.glob("*/storage.tar.xz"))
SPLITS = {
    "train": {"A_cP1_221_a-Po", "A_hR2_166_c-O2", "AB2_mC6_12_a_i-Te2Au", "AB2_tI6_139_a_e-Si2Mo"},
    "validation": {"A_hP2_194_c-Mg", "A_hR3_166_ac-Sm", "A_tI4_141_a-Sn", "AB_oI4_44_a_b-GaAs"},
    "test": {"A_tI2_139_a-Pa", "AB2_hP3_191_a_d-AlB2", "AB_cF8_216_c_a-ZnS", "AB_hR2_166_a_b-CuPt"},
}


@pytest.fixture(scope="module", params=RELEASES)
def workspace(request, tmp_path_factory) -> Workspace:
    """The storage of a release."""
    root = tmp_path_factory.mktemp(request.param)
    with tarfile.open(FIXTURES / request.param / "storage.tar.xz") as archive:
        archive.extractall(root, filter="data")
    return Workspace(UPath(root))


@pytest.fixture
def dataset(workspace) -> UPath:
    return workspace.dataset("tiny-data")


@pytest.fixture
def store(workspace) -> UPath:
    (folder,) = (workspace.root / "features").iterdir()
    return folder


def test_a_data_set_keeps_its_materials_and_splits(dataset):
    manifest = Manifest.load(dataset)
    records = manifest.records(dataset)
    assert records.groupby("split")["material_id"].agg(set).to_dict() == SPLITS
    assert manifest.split_sha256 == split_sha256(
        zip(records.material_id, records.split, strict=True)
    )
    assert set(records["reduced_formula"]) >= {"GaAs", "Po", "Si2Mo"}


def test_its_records_give_the_features_of_then(workspace, dataset, store):
    records = Manifest.load(dataset).records(dataset)
    then = pa.concat_tables(
        pa.ipc.open_file(str(path)).read_all() for path in sorted(store.glob("*.arrow"))
    )
    assert then["material_id"].to_pylist() == records["material_id"].to_list()
    for modality, featurizer in featurizers_of(read_cards(workspace.run("tiny"))).items():
        for row, raw in enumerate(
            raw for _, rows in records.groupby("shard") for raw in read_records(dataset, rows)
        ):
            arrays = featurizer(decode(raw.material_id, raw.members))
            for name, values in arrays.items():
                expected = np.array(then[f"{modality}.{name}"][row].as_py())
                np.testing.assert_allclose(values.ravel(), expected.ravel(), rtol=1e-6)


def test_a_record_holds_what_it_held(dataset):
    records = Manifest.load(dataset).records(dataset)
    (raw,) = read_records(dataset, records[records["material_id"] == "AB_cF8_216_c_a-ZnS"])
    record = decode(raw.material_id, raw.members)
    assert record.structure.atomic_numbers.tolist() == [16, 30]
    volume_angstrom3 = np.linalg.det(record.structure.lattice_angstrom)
    np.testing.assert_allclose(volume_angstrom3, 5.41**3 / 4, rtol=0.01)
    density = ChargeDensityGrid(scale="raw")(record)["density"]
    assert density.shape == (32, 32, 32)
    np.testing.assert_allclose(density.mean(), 16 + 30, rtol=0.01)
    assert record.properties["space_group_number"] == 216
    assert record.provenance["licence"] == "MIT (pymatgen)"


def test_its_ingest_job_finds_it_finished_and_another_does_not(dataset):
    job = yaml.safe_load((FIXTURES / "jobs" / "data.yaml").read_text())
    del job["kind"], job["name"]
    assert finished(IngestSettings.model_validate(job), "tiny-data", dataset) == Manifest.load(
        dataset
    )
    others = (
        {"records_per_shard": 5},
        {"split": {**job["split"], "seed": 3}},
        {"source": {**job["source"], "max_atoms": 4}},
        {"missing_text": {}},
    )
    for other in others:
        with pytest.raises(UserError, match="other settings: choose another name or delete it"):
            finished(IngestSettings.model_validate(job | other), "tiny-data", dataset)


def test_a_feature_store_is_made_again(workspace, dataset, store):
    featurizers = featurizers_of(read_cards(workspace.run("tiny")))
    with pytest.raises(UserError, match=r"stale: delete it and run its featurize job again$"):
        FeatureStore.open(dataset, store, featurizers)


def test_a_mended_featurizer_makes_another_one(workspace, monkeypatch):
    featurizers = featurizers_of(read_cards(workspace.run("tiny")))
    before = StoreLocation.of(workspace, "tiny-data", featurizers)
    monkeypatch.setattr(type(featurizers["dos"]), "revision", 2)
    after = StoreLocation.of(workspace, "tiny-data", featurizers)
    assert before.folder != after.folder


@pytest.mark.parametrize("modality", ["dos", "text"])
def test_an_export_embeds_as_it_did(workspace, modality):
    run = workspace.run("tiny")
    index = open_index(workspace, run, "tiny-data", modality, Encoders.of_run("tiny", run))
    position = {one: row for row, one in enumerate(index.materials["name"])}
    with np.load(workspace.run("tiny-evaluated") / "embeddings.npz") as then:
        rows = [position[one] for one in then["material_id"].tolist()]
        np.testing.assert_allclose(index.embeddings[rows], then[modality], atol=1e-6)


@pytest.mark.parametrize("name", ["tiny", "tiny-unfinished"])
def test_a_run_is_not_gone_on_with(workspace, name, monkeypatch):
    monkeypatch.chdir(FIXTURES)
    before = {path: path.stat().st_mtime_ns for path in workspace.run(name).rglob("*")}
    settings = (f"name={name}", f"storage_path={workspace.root}", "stream.read_from=shards")
    overrides = [f"--set={one}" for one in settings]
    refused = CliRunner().invoke(
        main, ["train", "jobs/pretrain.yaml", "--launcher=torchrun", *overrides]
    )
    assert refused.exit_code == 2
    (sentence,) = refused.stderr.strip().splitlines()
    assert repr(name) in sentence
    assert "--fresh" in sentence
    assert {path: path.stat().st_mtime_ns for path in workspace.run(name).rglob("*")} == before


def test_a_checkpoint_is_found_or_refused(workspace):
    """Those of 0.1.0 are DeepSpeed's, which nobody can read without unpickling them."""
    complete, refusal = found_checkpoints(workspace.run("tiny-unfinished"))
    assert bool(complete) != bool(refusal)
    assert refusal is None or "older version of omnimat" in refusal


def test_a_leaderboard_shows_its_rows(workspace):
    board = LeaderboardStore(workspace.leaderboard_url)
    rows = board.rows()
    assert {row.run_name for row in rows} == {"tiny-evaluated", "tiny-finetuned"}
    told = [
        row
        for name in ("tiny-evaluated", "tiny-finetuned")
        for row in json.loads((workspace.run(name) / "result.json").read_text())["rows"]
    ]
    assert len(rows) == len(told) == 32
    keys = ("task", "metric", "seed", "value", "config_hash", "dataset_fingerprint", "variant")
    assert {tuple(getattr(row, key) for key in keys) for row in rows} == {
        tuple(row[key] for key in keys) for row in told
    }
    assert all(row.config_hash == fingerprint(row.config) for row in rows)
    assert sum(one.num_rows for one in board.boards()) >= 32


def test_rows_that_name_another_place_are_not_followed_there(workspace):
    """They were written before names were relative, and the storage was moved since."""
    store = LeaderboardStore(workspace.leaderboard_url)
    outcomes = verify(store, workspace.files, recomputation)
    assert {one.verdict for one in outcomes} <= {"unverifiable", "failed"}
    for one in outcomes:
        assert "lies outside the storage, so it is not opened" in "\n".join(one.sentences)


@pytest.fixture(scope="module")
def defaults() -> dict:
    return runpy.run_path(str(FIXTURES / "defaults.py"))["defaults"]()


@pytest.mark.parametrize("release", RELEASES)
def test_a_changed_default_comes_with_a_raised_revision(release, defaults):
    """Else what was made under the old default would be taken for what the new one gives."""
    then = json.loads((FIXTURES / release / "defaults.json").read_text())
    changed = {
        f"{name}.{key}: was {old}, is {defaults[name]['defaults'][key]}; raise {name}.revision"
        for name, one in then.items()
        if name in defaults and defaults[name]["revision"] == one["revision"]
        for key, old in one["defaults"].items()
        if key in defaults[name]["defaults"] and defaults[name]["defaults"][key] != old
    }
    assert not changed
