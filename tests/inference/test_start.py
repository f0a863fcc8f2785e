"""A packed model as the start of a fine-tuning job: the same encoders, and what they have seen."""

import json
import shutil

import pytest
import torch
import yaml
from pydantic import ValidationError
from upath import UPath

from omnimat.base.checked_json import write_checked_json
from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.evaluation.overlap import find_overlap, same_formula
from omnimat.finetune.settings import FinetuneSettings
from omnimat.inference.build import package
from omnimat.inference.card import PackageCard
from omnimat.inference.package import Package, stored
from omnimat.inference.start import as_run, opened, seen_by
from omnimat.job.run import checked
from omnimat.models.export import load as load_export
from omnimat.models.inputs import export_folder, featurizers_of, read_cards, read_pretraining
from omnimat.training.seen import Materials, UnknownPretrainingError, pretraining_of

TASK = {"name": "group", "target": "space_group_number"}
JOB = {"kind": "finetune", "name": "tune", "dataset": "data", "tasks": [TASK]}


@pytest.fixture(scope="module")
def pre(storage, tmp_path_factory):
    """The encoders of the pretraining run as a package, away from its storage."""
    folder = tmp_path_factory.mktemp("packed") / "pre"
    package("pre", storage, folder)
    return folder


@pytest.fixture
def elsewhere(tmp_path):
    return Workspace(UPath(tmp_path / "elsewhere"))


@pytest.fixture
def job(tmp_path, storage):
    """Write a fine-tuning job on the storage."""

    def job(**changes):
        path = tmp_path / "tune.yaml"
        path.write_text(yaml.safe_dump(JOB | {"storage_path": str(storage.root)} | changes))
        return path

    return job


def test_how_a_run_of_another_version_was_trained_hides_not_what_it_has_seen(storage):
    older = storage.run("older")
    shutil.copytree(storage.run("pre"), older)
    result = read_pretraining(older)
    result["settings"]["training"]["a_key_that_is_gone"] = 100
    write_checked_json(older / "result.json", result)
    seen = pretraining_of(storage, "older", read_cards(older))
    own = pretraining_of(storage, "pre", read_cards(storage.run("pre")))
    assert seen.materials.fingerprint == own.materials.fingerprint
    shutil.rmtree(older)


def test_its_encoders_become_a_run_that_is_named_by_their_content(storage, pre, elsewhere):
    name = as_run(Package(pre), elsewhere)
    assert name.startswith("pre-")
    cards = read_cards(elsewhere.run(name))
    assert cards == read_cards(storage.run("pre"))
    for modality in cards:
        folders = (
            export_folder(w.run(n), modality) for w, n in ((storage, "pre"), (elsewhere, name))
        )
        ours, theirs = (load_export(folder)[0].state_dict() for folder in folders)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    moved = shutil.copytree(pre, elsewhere.root / "moved")
    before = {path: path.stat().st_mtime_ns for path in elsewhere.run(name).rglob("*")}
    assert as_run(Package(moved), elsewhere) == name
    assert before == {path: path.stat().st_mtime_ns for path in elsewhere.run(name).rglob("*")}


def test_what_it_has_seen_is_known_where_its_data_is_not(storage, pre, elsewhere):
    """By formula the same as where it was trained; of no structure anybody knows."""
    name = as_run(Package(pre), elsewhere)
    there = pretraining_of(elsewhere, name, read_cards(elsewhere.run(name)))
    here = pretraining_of(storage, "pre", read_cards(storage.run("pre")))
    judging = Materials.of_splits(storage.dataset("data"), ("validation", "test"))
    seen = same_formula(judging, there.materials)
    assert seen == same_formula(judging, here.materials)
    assert 0 < len(seen) < len(judging.records)
    overlap = find_overlap(judging, there.materials)
    assert overlap.same_formula == overlap.not_compared == seen


def test_a_job_starts_from_it(storage, pre, job):
    path = job(model=str(pre))
    (there,) = checked(path)
    assert "have the formula of one of" in there.remarks()[0]
    ready = there.prepared()
    assert ready.settings.run == as_run(Package(pre), storage)
    assert not ready.settings.model
    assert read_cards(storage.run(ready.settings.run)) == read_cards(storage.run("pre"))
    # The row that comes of it says where from, and not where somebody's package lies.
    assert str(pre) not in json.dumps(ready.settings.method())


def test_what_it_was_taught_does_not_judge_it(packed, job):
    task = {"name": "volume", "target": "volume_angstrom3_per_atom"}
    with pytest.raises(UserError, match="'volume_angstrom3_per_atom' was shown to run 'sweep'"):
        checked(job(model=str(packed), tasks=[task]))
    checked(job(model=str(packed), tasks=[task], variants=["from_scratch"]))
    checked(job(model=str(packed)))


def test_a_package_that_does_not_tell_is_judged_by_nothing_it_was_taught(packed, job, tmp_path):
    """Where nobody knows the materials, only the properties are left to go by."""
    silent = shutil.copytree(packed, tmp_path / "silent")
    card = json.loads((silent / "card.json").read_text())
    del card["checksum"]
    card["seen"]["num_materials"] = None
    (silent / "card.json").write_text(json.dumps(card))
    with pytest.raises(UnknownPretrainingError, match="package it anew"):
        seen_by(Package(silent)).pretraining("x")
    task = {"name": "volume", "target": "volume_angstrom3_per_atom"}
    with pytest.raises(UserError, match="was shown in pretraining"):
        checked(job(model=str(silent), tasks=[task]))
    (there,) = checked(job(model=str(silent)))
    assert "nobody knows" in there.remarks()[0]


def test_a_model_that_was_tuned_twice_has_learned_from_everything(
    storage, packed, sweep_in, write_features, tmp_path
):
    run = as_run(Package(packed), storage)
    write_features(storage, "data", featurizers_of(read_cards(storage.run(run))))
    choices = {
        "dataset": "data",
        "run": run,
        "tasks": [TASK],
        "variants": ["finetuned"],
        "learning_rates": [5e-3],
        "seeds": [0],
        "trial": {"num_epochs": 1, "batch_size": 64},
    }
    sweep_in("again", choices)
    card = package("again", storage, tmp_path / "again")
    assert [one.run for one in card.trained] == ["pre", "sweep", "again"]
    assert set(card.seen.properties) == {
        "volume_angstrom3_per_atom",
        "crystal_system",
        "space_group_number",
    }
    index = storage.dataset("data")
    judged = Materials.of_splits(index, ("train", "validation")).records
    assert card.seen.num_materials == judged["reduced_formula"].nunique()


@pytest.mark.parametrize("changes", [{}, {"run": "pre", "model": "x"}])
def test_a_job_starts_from_one_thing(changes):
    with pytest.raises(ValidationError, match="give run or model"):
        FinetuneSettings.model_validate({"dataset": "d", "tasks": [TASK]} | changes)


def test_what_is_wrong_is_told_before_any_cluster(pre, job, tmp_path):
    with pytest.raises(UserError, match="no-such"):
        checked(job(model="no-such"))
    with pytest.raises(UserError, match="has no encoder for dos; choose among structure, compo"):
        checked(job(model=str(pre), modalities=["dos"]))
    damaged = shutil.copytree(pre, tmp_path / "damaged")
    listed = damaged / "seen.json"
    listed.write_text(listed.read_text().replace("A", "B", 1))
    with pytest.raises(UserError, match=r"seen\.json"):
        checked(job(model=str(damaged)))


@pytest.mark.parametrize(
    "content", ["{", '{"formulas": ["NaCl"], "formulas": [], "ids": []}', "[1]"]
)
def test_a_forged_list_is_refused_in_a_sentence(pre, tmp_path, content):
    hostile = shutil.copytree(pre, tmp_path / "hostile")
    (hostile / "seen.json").write_text(content)
    card = json.loads((hostile / "card.json").read_text())
    del card["checksum"]
    card["files"]["seen.json"] = stored({"s": content.encode()})["s"].model_dump()
    (hostile / "card.json").write_text(json.dumps(card))
    with pytest.raises(UserError, match=r"seen\.json cannot be read"):
        seen_by(opened(str(hostile)))


def test_a_name_cannot_lead_out_of_the_storage(pre, elsewhere, tmp_path):
    hostile = shutil.copytree(pre, tmp_path / "hostile")
    card = json.loads((hostile / "card.json").read_text())
    del card["checksum"]
    card["name"] = "../../x"
    (hostile / "card.json").write_text(json.dumps(card))
    name = as_run(Package(hostile), elsewhere)
    assert elsewhere.run(name).parent == elsewhere.root / "runs"


def test_a_card_of_before_is_read(pre):
    card = json.loads((pre / "card.json").read_text())
    del card["seen"], card["checksum"]
    assert PackageCard.model_validate(card).seen is None
