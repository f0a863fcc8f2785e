"""One job file: on the GPUs of a cluster that has them, on the CPUs of one that has none."""

import pytest
import torch
from click.testing import CliRunner

from omnimat.cli.main import main
from omnimat.evaluation.settings import EvaluateSettings
from omnimat.job import here
from omnimat.job.here import left_open
from omnimat.job.load import load
from omnimat.job.train import gpus_of_all


def gpus(job, who: str) -> float:
    """Number of GPUs that each of these processes asks for."""
    [ask] = [ask for phase in job.phases() for ask in phase if ask.who == who]
    return ask.each.get("GPU", 0.0)


@pytest.mark.parametrize(
    ("overrides", "num_gpus", "expected"),
    [
        ((), 0, 0),
        ((), 1, 1),
        (("training.num_workers=2",), 1, 0),  # one of two would wait for ever
        (("training.num_workers=2",), 2, 1),
        (
            ("training.num_workers=4", "training.min_workers=2", "training.global_batch_size=12"),
            2,
            1,
        ),
        (("training.use_gpu=false",), 8, 0),
        (("training.use_gpu=true",), 0, 1),  # which pre-flight then refuses
    ],
)
def test_workers_take_gpus_where_each_can_have_one(tiny_jobs, overrides, num_gpus, expected):
    job = load(tiny_jobs / "jobs" / "pretrain.yaml", overrides)
    there = job.on_devices(num_gpus)
    assert gpus(there, "trainers") == expected
    before = job.settings.training
    assert there.settings.model_copy(update={"training": before}) == job.settings  # nothing else
    assert there.header == job.header


@pytest.mark.parametrize(
    ("overrides", "num_gpus", "expected"),
    [((), 0, 0), ((), 1, 1), (("gpus_per_trial=0",), 8, 0), (("gpus_per_trial=0.25",), 8, 0.25)],
)
def test_trials_take_a_gpu_where_there_is_one(finetune, overrides, num_gpus, expected):
    job = load(finetune, overrides)
    assert gpus(job.on_devices(num_gpus), "trials") == expected


@pytest.mark.parametrize(
    ("num_here", "num_gpus", "expected"), [(None, 8, 16), (None, 0, 0), (8, 8, 16), (8, 7, 0)]
)
def test_under_torchrun_each_machine_looks_at_its_own_gpus(
    num_here, num_gpus, expected, monkeypatch
):
    """Sixteen workers: all on this machine (of 16 GPUs or none), or eight on each of two."""
    if num_here is None:
        monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
        num_gpus *= 2
    else:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "run")
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(num_here))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: num_gpus)
    assert gpus_of_all(16) == expected


def test_encoders_take_a_gpu_each_where_there_is_one(tmp_path):
    path = tmp_path / "evaluate.yaml"
    path.write_text("{kind: evaluate, name: judged, dataset: tiny-data, run: tiny}")
    job = load(path)
    assert len(job.on_devices(0).phases()) == 1  # this process embeds
    assert gpus(job.on_devices(2), "encoders") == 1
    job = load(path, ["gpus_per_encoder=0"])
    assert len(job.on_devices(2).phases()) == 1


def test_a_run_goes_on_elsewhere(tiny_jobs, finetune):
    for path in (tiny_jobs / "jobs" / "pretrain.yaml", finetune):
        on_cpus, on_gpus = (load(path).on_devices(number).settings for number in (0, 8))
        assert on_cpus != on_gpus
        assert on_cpus.fingerprint() == on_gpus.fingerprint()


def test_an_evaluation_goes_on_elsewhere():
    asked = {"dataset": "tiny-data", "run": "tiny"}
    here = EvaluateSettings(**asked)
    there = EvaluateSettings(**asked, num_featurizers=8, featurizer_num_cpus=0.5, num_threads=4)
    assert there.fingerprint() == here.fingerprint()
    assert EvaluateSettings(**asked, split="train").fingerprint() != here.fingerprint()


def test_other_kinds_are_left_as_they_are(tiny_jobs):
    job = load(tiny_jobs / "jobs" / "data.yaml")
    assert job.on_devices(8) is job


@pytest.mark.parametrize(
    ("overrides", "num_cpus", "expected"),
    [
        ((), 64, 1),
        (("stream.num_featurizers=auto",), 64, 63),
        (("stream.num_featurizers=auto", "training.num_workers=4"), 64, 15),
        (("stream.num_featurizers=auto", "stream.featurizer_num_cpus=2"), 64, 31),
        (("stream.num_featurizers=auto",), 1, 1),
        (("stream={read_from: store, num_featurizers: auto}", "training.num_workers=4"), 64, 64),
    ],
)
def test_featurizers_take_the_cpus_that_are_left(tiny_jobs, overrides, num_cpus, expected):
    """Half a CPU is set aside for each worker."""
    job = load(tiny_jobs / "jobs" / "pretrain.yaml", overrides)
    there = job.on_devices(0, num_cpus)
    assert there.settings.stream.num_featurizers == expected
    assert there.settings.fingerprint() == job.settings.fingerprint()


def job_of(kind: str, folder, *others: str):
    """Load a job that leaves open how many featurizers it has."""
    keys = {
        "featurize": "dataset: tiny-data, modalities: {xrd: {}}",
        "evaluate": "dataset: tiny-data, run: tiny",
        "finetune": "dataset: tiny-data, run: tiny, modalities: [xrd], learning_rates: [0.1], "
        "seeds: [0], tasks: [{name: volume, target: volume, unit: A^3}]",
        "predict": "dataset: tiny-data, model: mp-small, num_models: 2",
        "index": "dataset: tiny-data, model: mp-small, num_models: 2",
    }
    path = folder / "jobs" / "open.yaml"
    told = f"kind: {kind}, name: open, {keys[kind]}, num_featurizers: auto"
    path.write_text(f"{{{told}}}")
    return load(path, others)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("featurize", [1, 8]),
        ("evaluate", [1, 8]),
        ("finetune", [1, 8]),
        ("predict", [1, 6]),
        ("index", [1, 6]),
    ],
)
def test_a_job_takes_every_cpu_if_it_may(tiny_jobs, kind, expected):
    """Models of a predict job have theirs at the same time."""
    job = job_of(kind, tiny_jobs)

    def asked(one) -> int:
        [count] = [ask.count for phase in one.phases() for ask in phase if "feat" in ask.who]
        return count

    there = [job.on_devices(0, number) for number in (0.5, 8)]
    assert [one.settings.num_featurizers for one in there] == expected
    assert [asked(one) for one in there] == expected
    assert {one.settings.fingerprint() for one in there} == {job.settings.fingerprint()}
    wide = job_of(kind, tiny_jobs, "featurizer_num_cpus=2").on_devices(0, 8)
    assert wide.settings.num_featurizers == expected[1] // 2
    told = job_of(kind, tiny_jobs, "num_featurizers=3").on_devices(0, 8)
    assert (told.settings.num_featurizers, left_open(told)) == (3, [])


def test_a_check_says_what_is_left_open_on_this_machine(tiny_jobs, monkeypatch):
    monkeypatch.setattr(here, "num_cores", lambda: 6)
    [line] = left_open(job_of("predict", tiny_jobs))
    assert line.startswith("num_featurizers: auto is 4 on a cluster of 6 CPUs")
    overrides = ["stream.num_featurizers=auto", "training.num_workers=4"]
    job = load(tiny_jobs / "jobs" / "pretrain.yaml", overrides)
    [line] = left_open(job, 64)
    assert line.startswith("stream.num_featurizers: auto is 15 on a cluster of 64 CPUs")
    told = CliRunner().invoke(main, ["check", str(tiny_jobs / "jobs" / "open.yaml")]).stdout
    assert "open: num_featurizers: auto is 4" in told


def test_a_store_has_as_many_readers_as_are_asked_for(tiny_jobs):
    asked = ["stream={read_from: store, num_readers: 3}", "training.num_workers=2"]
    _, (_, readers) = load(tiny_jobs / "jobs" / "pretrain.yaml", asked).phases()
    assert (readers.count, dict(readers.each)) == (6, {"CPU": 0.25})
