"""A preset is laid over its file, under the overrides, and handed on to needed jobs."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from omnimat.base.errors import UserError
from omnimat.cli.main import main
from omnimat.job.load import load, load_tree

DATA = {
    "kind": "ingest",
    "name": "data",
    "source": {"type": "prototypes", "num_materials": 400},
    "presets": {"tiny": {"name": "data-tiny", "source": {"num_materials": 40}}},
}
PRETRAIN = {
    "kind": "pretrain",
    "name": "run",
    "needs": ["data.yaml"],
    "dataset": "data",
    "modalities": {
        "structure": {"encoder": {"type": "dimenetpp"}, "featurizer": {}},
        "dos": {"encoder": {"num_blocks": 3}},
    },
    "objective": {"type": "anchored_clip", "anchor": "dos"},
    "training": {"lr": 1.0e-4, "num_epochs": 500, "betas": [0.9, 0.95]},
    "presets": {
        "tiny": {
            "name": "run-tiny",
            "dataset": "data-tiny",
            "modalities": {
                "structure": {"encoder": {"type": "potnet", "preset": "tiny"}},
                "dos": {"encoder": {"preset": "tiny"}},
            },
            "objective": {"type": "clip"},
            "training": {"num_epochs": 2, "betas": [0.5, 0.6]},
        },
        "slow": {"name": "run-slow"},
    },
}
PRETRAIN["modalities"]["structure"]["featurizer"] = {
    "neighbors": "within_cutoff",
    "cutoff_angstrom": 7.0,
}
PLAIN = {"kind": "pipeline", "name": "between", "jobs": ["pretrain.yaml"]}
PIPELINE = {
    "kind": "pipeline",
    "name": "all",
    "jobs": ["between.yaml"],
    "presets": {"tiny": {"name": "all-tiny"}},
}


@pytest.fixture
def jobs(tmp_path) -> Path:
    files = {"data": DATA, "pretrain": PRETRAIN, "between": PLAIN, "all": PIPELINE}
    for name, values in files.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values))
    return tmp_path


def edit(path: Path, **changes: object) -> Path:
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))
    return path


def names(path: Path, *overrides: str) -> list[str]:
    return [job.name for job in load_tree(path, overrides)]


def test_mappings_are_joined_and_all_else_is_replaced(jobs):
    job = load(jobs / "pretrain.yaml", ["preset=tiny"])
    settings = job.settings
    assert (job.name, settings.dataset, job.header.preset) == ("run-tiny", "data-tiny", "tiny")
    assert (settings.training.lr, settings.training.num_epochs) == (1e-4, 2)
    assert settings.training.betas == (0.5, 0.6)
    dos = settings.modalities.dos.encoder
    assert (dos.num_blocks, dos.token_width) == (3, 32)
    assert settings.modalities.structure.featurizer.cutoff_angstrom == 7.0


def test_another_type_leaves_no_keys_of_the_old_one(jobs):
    job = load(jobs / "pretrain.yaml", ["preset=tiny"])
    assert job.settings.objective.type == "clip"
    assert job.settings.modalities.structure.encoder.type == "potnet"


def test_without_it_nothing_changes(jobs):
    job = load(jobs / "pretrain.yaml")
    assert (job.name, job.header.preset, job.settings.training.num_epochs) == ("run", None, 500)
    assert names(jobs / "all.yaml") == ["data", "run", "between", "all"]


@pytest.mark.parametrize("order", [1, -1])
def test_an_override_wins_over_the_preset_in_any_order(jobs, order):
    overrides = ["preset=tiny", "training.num_epochs=7", "presets.tiny.training.lr=1.0e-2"]
    job = load(jobs / "pretrain.yaml", overrides[::order])
    assert (job.settings.training.num_epochs, job.settings.training.lr) == (7, 1e-2)


def test_a_file_may_choose_and_an_override_may_choose_otherwise(jobs):
    path = edit(jobs / "pretrain.yaml", preset="tiny")
    assert load(path).name == "run-tiny"
    assert load(path, ["preset=slow"]).name == "run-slow"
    assert load(path, ["preset=null"]).name == "run"


def test_needed_jobs_take_theirs_also_through_one_that_has_none(jobs):
    expected = ["data-tiny", "run-tiny", "between", "all-tiny"]
    assert names(jobs / "all.yaml", "preset=tiny") == expected
    assert names(jobs / "pretrain.yaml", "preset=slow") == ["data", "run-slow"]


def test_the_choice_of_a_needed_file_is_its_own(jobs):
    edit(jobs / "pretrain.yaml", preset="slow")
    assert names(jobs / "all.yaml", "preset=tiny") == ["data", "run-slow", "between", "all-tiny"]


def test_one_file_under_two_presets_is_two_jobs(jobs):
    edit(jobs / "pretrain.yaml", preset="slow")
    edit(jobs / "all.yaml", jobs=["pretrain.yaml", "data.yaml"])
    assert names(jobs / "all.yaml", "preset=tiny") == ["data", "run-slow", "data-tiny", "all-tiny"]


@pytest.mark.parametrize(
    ("changes", "overrides", "expected"),
    [
        ({}, ["preset=tinny"], "preset: unknown preset 'tinny'; choose one of slow, tiny"),
        ({"presets": {}}, ["preset=tiny"], "unknown preset 'tiny'; this file has no presets"),
        ({}, ["preset=[1]"], "preset: Input should be a valid string"),
        ({"presets": ["tiny"]}, ["preset=tiny"], "presets: Input should be a valid"),
        ({"presets": {"tiny": 3}}, ["preset=tiny"], "presets.tiny holds a value, not keys"),
        ({"presets": {"tiny": {"trainig": {}}}}, ["preset=tiny"], "did you mean 'training'?"),
    ],
)
def test_a_mistake_is_one_sentence(jobs, changes, overrides, expected):
    path = edit(jobs / "pretrain.yaml", **changes)
    with pytest.raises(UserError) as caught:
        load_tree(path, overrides)
    assert str(caught.value).startswith(str(path))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_schema_knows_both_keys():
    schema = json.loads(CliRunner().invoke(main, ["schema"]).output)
    for name in ("IngestJob", "PretrainJob", "PipelineJob"):
        assert {"preset", "presets"} <= set(schema["$defs"][name]["properties"])
