"""What `omnimat check` says about materials and labels that pretraining sees."""

import json
import re

import pytest
import yaml
from click.testing import CliRunner
from upath import UPath

from omnimat.base.workspace import RESULT, Workspace
from omnimat.cli.main import main
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings

DENSITY = "density_g_per_cm3"


@pytest.fixture(scope="module")
def storage(tmp_path_factory, write_dataset):
    """Two data sets of the same crystals, split in two ways."""
    storage = UPath(tmp_path_factory.mktemp("storage"))
    source = Prototypes(num_materials=40, max_atoms=6)
    for name, seed in (("seen", 0), ("other", 1)):
        settings = IngestSettings(source=source, split={"seed": seed}, records_per_shard=20)
        write_dataset(Workspace(storage), name, settings)
    return storage


@pytest.fixture
def check(tmp_path, storage):
    """Check a job that judges a run, which a job of its own pretrains."""

    def check(kind, held_out=(), pretrain=None, judge=None, **keys):
        pretrain = {
            "kind": "pretrain",
            "name": "pre",
            "dataset": "seen",
            "held_out": list(held_out),
            "modalities": {
                "structure": {"encoder": {"preset": "tiny"}},
                "properties": {"featurizer": {"numbers": [DENSITY], "classes": []}},
            },
            "objective": {"type": "clip"},
            "training": {"global_batch_size": 4},
        } | (pretrain or {})
        common = {"kind": kind, "name": "judge", "needs": ["pre.yaml"], "dataset": "other"}
        judge = common | {"run": "pre"} | keys | (judge or {})
        for name, values in (("pre", pretrain), ("judge", judge)):
            whole = values | {"storage_path": str(storage)}
            (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(whole))
        told = CliRunner().invoke(main, ["check", str(tmp_path / "judge.yaml")])
        return told.exit_code, told.output

    return check


def task(target):
    return {"name": "any", "target": target}


ZERO_SHOT = {
    "tasks": [
        {
            "name": "dense or not",
            "target": DENSITY,
            "threshold": {"value": 4, "below": "light", "above": "heavy"},
            "prompts": {"light": ["It is light."], "heavy": ["It is heavy."]},
        }
    ]
}


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("finetune", {"tasks": [task(DENSITY)]}),
        ("finetune", {"tasks": [task("volume_angstrom3_per_atom")]}),
        ("evaluate", {"zero_shot": ZERO_SHOT}),
    ],
)
def test_labels_that_pretraining_will_be_shown_are_refused(check, kind, keys):
    exit_code, told = check(kind, **keys)
    assert exit_code == 2
    assert all(part in told for part in ("shown to run 'pre'", "'other'", "held_out:", DENSITY))
    exit_code, _ = check(kind, held_out=[{"dataset": "other"}], **keys)
    assert exit_code == 0


def test_labels_that_pretraining_will_predict_are_refused(check):
    regression = {
        "modalities": {
            "structure": {"encoder": {"preset": "tiny"}},
            "properties": {"featurizer": {"numbers": [DENSITY]}, "encoder": None},
        },
        "objective": {"type": "none"},
        "regression": [{"from": "structure", "to": "properties"}],
    }
    task_of_density = {"tasks": [task(DENSITY)], "pretrain": regression}
    exit_code, told = check("finetune", **task_of_density)
    assert exit_code == 2
    assert all(part in told for part in ("shown to run 'pre'", "held_out:", DENSITY))
    exit_code, _ = check("finetune", held_out=[{"dataset": "other"}], **task_of_density)
    assert exit_code == 0


def test_an_input_that_judges_is_refused(check):
    keys = {"tasks": [task(DENSITY)], "modalities": ["structure", "properties"]}
    exit_code, told = check("finetune", held_out=[{"dataset": "other"}], **keys)
    assert exit_code == 2
    assert "modalities.properties" in told


def test_formulas_that_both_have_are_told(check):
    _, told = check("finetune", tasks=[task("num_atoms")])
    _, none = check("finetune", held_out=[{"dataset": "other"}], tasks=[task("num_atoms")])
    [count, total] = re.search(r"judge: (\d+) of (\d+) materials of data set other", told).groups()
    assert 0 < int(count) <= int(total)
    assert "held_out: [{dataset: other}]" in told
    assert f"judge: 0 of {total} materials" in none
    exit_code, told = check("finetune", tasks=[task(DENSITY)], variants=["from_scratch"])
    assert (exit_code, "judge: " in told) == (0, False)


def test_a_run_that_is_there_is_asked_itself(check, storage, write_run):
    from omnimat.training.settings import PretrainSettings

    choices = {"structure": {"encoder": {"preset": "tiny"}}, "xrd": {"encoder": {"preset": "tiny"}}}
    settings = PretrainSettings(
        dataset="seen",
        modalities=choices,
        objective={"type": "clip"},
        training={"global_batch_size": 4},
    )
    write_run(Workspace(storage), "own", settings)
    keys = {"run": "own", "needs": [], "tasks": [task(DENSITY)]}
    exit_code, told = check("finetune", **keys)
    assert (exit_code, "that run own is pretrained on" in told) == (0, True)
    (Workspace(storage).run("own") / RESULT).write_text(json.dumps({}))
    exit_code, told = check("finetune", **keys)
    assert (exit_code, "nobody knows which materials run 'own' has seen" in told) == (0, True)


def test_a_data_set_held_out_that_another_job_ingests_first_is_waited_for(check, tmp_path):
    ingest = {"kind": "ingest", "name": "not-yet", "source": {"type": "prototypes"}}
    (tmp_path / "ingest.yaml").write_text(yaml.safe_dump(ingest))
    held_out, keys = [{"dataset": "not-yet"}], {"tasks": [task("num_atoms")]}
    waiting = {"pretrain": {"needs": ["ingest.yaml"]}}
    exit_code, told = check("finetune", held_out=held_out, **keys, **waiting)
    assert (exit_code, "seen" in told) == (0, False), told
    exit_code, told = check("finetune", held_out=held_out, **keys)
    assert exit_code == 2
    assert all(part in told for part in ("held_out: data set 'not-yet' is not in", "needs")), told


def test_what_a_sweep_holds_out_must_be_there(check):
    told = {"tasks": [task("num_atoms")], "variants": ["from_scratch"]}
    judge = {"held_out": [{"dataset": "nowhere"}]}
    exit_code, told = check("finetune", **told, judge=judge)
    assert (exit_code, "held_out: data set 'nowhere' is not in" in told) == (2, True), told


def test_what_trials_learn_from_of_another_data_set_that_judges_is_told(check):
    keys = {"tasks": [task("num_atoms")], "variants": ["from_scratch"], "test_dataset": "seen"}
    _, told = check("finetune", **keys)
    pattern = r"judge: (\d+) of (\d+) test materials of data set seen have the formula"
    [count, total] = re.search(pattern, told).groups()
    assert 0 < int(count) <= int(total)
    assert "held_out: [{dataset: seen, splits: [test]}]" in told
    held_out = [{"dataset": "seen", "splits": ["test"]}]
    _, told = check("finetune", **keys, judge={"held_out": held_out})
    assert f"judge: 0 of {total} test materials" in told


def test_what_a_pretraining_has_seen_of_another_data_set_that_judges_is_told_or_refused(check):
    exit_code, told = check("finetune", tasks=[task("num_atoms")], test_dataset="seen")
    assert exit_code == 0, told
    assert "of data set seen that judge have the formula of one of the" in told
    assert "test materials of data set seen have the formula of one of the" in told
    keys = {"tasks": [task(DENSITY)], "dataset": "seen", "test_dataset": "other"}
    exit_code, told = check("finetune", **keys)
    assert (exit_code, "was shown to run 'pre'" in told) == (2, True), told
    held_out = [{"dataset": "other", "splits": ["test"]}]
    exit_code, told = check("finetune", held_out=held_out, **keys)
    assert (exit_code, "0 of" in told) == (0, True), told


def test_an_augmentation_that_does_not_fit_is_refused_before_anything_runs(check):
    pattern = {"featurizer": {"radiation": "CuKa1"}, "encoder": {"preset": "tiny"}}
    choices = {"structure": {"encoder": {"preset": "tiny"}}, "xrd": pattern}
    keys = {
        "tasks": [task("num_atoms")],
        "modalities": ["xrd"],
        "variants": ["from_scratch"],
        "augmentation": {"xrd": {"second_line": 0.5}},
    }
    exit_code, told = check("finetune", pretrain={"modalities": choices}, **keys)
    assert (exit_code, "augmentation.xrd: radiation CuKa1" in told) == (2, True), told
