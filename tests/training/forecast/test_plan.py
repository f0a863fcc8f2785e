"""``omnimat plan`` measures a job once, in this process alone, and predicts it from then on."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from omnimat.base.workspace import Workspace
from omnimat.cli.main import main
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings


@pytest.fixture(scope="module")
def storage(tmp_path_factory, write_dataset):
    folder = tmp_path_factory.mktemp("storage")
    settings = IngestSettings(
        source=Prototypes(num_materials=40, max_atoms=8), records_per_shard=20
    )
    write_dataset(Workspace.open(str(folder)), "tiny-data", settings)
    return folder


def environment(storage):
    return {"OMNIMAT_STORAGE": str(storage), "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(scope="module")
def measured(storage, tiny_jobs_folder):
    """The JSON that the command prints the first time."""
    command = [sys.executable, "-m", "omnimat.cli", "plan", "jobs/pretrain.yaml", "--json"]
    command += ["--set", "training.num_epochs=1"]  # fewer steps than are measured
    done = subprocess.run(
        command,
        cwd=tiny_jobs_folder,
        env=os.environ | environment(storage),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def plan(storage, measured, tiny_jobs_folder, monkeypatch):
    """A function that calls the command once more, with further options."""
    for name, value in environment(storage).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tiny_jobs_folder)
    return lambda *options: CliRunner().invoke(main, ["plan", "jobs/pretrain.yaml", *options])


def test_measures_once_and_then_predicts(measured, plan, storage):
    [alone] = measured["forecasts"]
    assert alone["num_workers"] == 1
    assert alone["device"] == "cpu"
    assert alone["samples_per_s"] > 0
    assert len(list((storage / "rates").iterdir())) == 1
    again = plan("--json", "--set", "training.num_workers=4", "--set", "stream.num_featurizers=2")
    found = json.loads(again.stdout)
    assert [row["num_workers"] for row in found["forecasts"]] == [1, 2, 4]
    assert [row["num_featurizers"] for row in found["forecasts"]] == [2, 4, 8]
    assert all(row["num_featurizers_needed"] >= 1 for row in found["forecasts"])
    assert found["assumptions"][0] == measured["assumptions"][0]  # it contains the date
    assert len(list((storage / "rates").iterdir())) == 1


def test_a_table_with_costs_and_what_it_assumes(plan):
    shown = plan("--gpus", "2", "--gpu-speedup", "50", "--gpu-hour", "3", "--core-hour", "0.05")
    assert shown.exit_code == 0, shown.output
    assert "cost" in shown.output
    assert "50 times as fast as the one measured: assumed, not measured" in shown.output


def test_cores_are_shared(plan):
    [free] = json.loads(plan("--json").stdout)["forecasts"]
    [crowded] = json.loads(plan("--json", "--cores", "0.5").stdout)["forecasts"]
    assert crowded["bottleneck"] == "cores"
    assert crowded["samples_per_s"] < free["samples_per_s"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gpus", "2"], "--gpu-speedup"),
        (["--gpus", "9", "--gpu-speedup", "9"], "num_workers 9"),
        (
            ["--set", "training.num_micro_batches=4", "--gpus", "4", "--gpu-speedup", "9"],
            "num_micro_batches 4",
        ),
        (["--set", "dataset=other"], "ingest"),
        (["--cores", "0"], "Invalid value for '--cores'"),
        (["--cores", "-1"], "Invalid value for '--cores'"),
        (["--interconnect", "0"], "Invalid value for '--interconnect'"),
        (["--gpus", "2", "--gpu-speedup", "0"], "Invalid value for '--gpu-speedup'"),
        (["--gpu-hour", "-3"], "Invalid value for '--gpu-hour'"),
        (["--core-hour", "-0.1"], "Invalid value for '--core-hour'"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_a_sentence(plan, options, message):
    refused = plan(*options)
    assert refused.exit_code == 2
    assert message in refused.output


def test_other_kinds_of_job_are_refused(plan):
    refused = CliRunner().invoke(main, ["plan", "jobs/data.yaml"])
    assert refused.exit_code == 2
    assert "jobs/data.yaml: kind ingest" in refused.output
    assert "a job of kind pretrain, predict or index" in refused.output


def test_damaged_rates_are_refused(plan, storage):
    [path] = (storage / "rates").iterdir()
    kept = path.read_text()
    path.write_text("{}")
    refused = plan()
    path.write_text(kept)
    assert refused.exit_code == 2
    assert str(path) in refused.output
    assert "--measure-again" in refused.output
