"""A checkpoint that is not what its manifest says is named and left out, and never unpickled."""

import contextlib
import io
import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from upath import UPath

from omnimat.base.errors import RunError
from omnimat.base.lease import Fence
from omnimat.stream.worker import in_process
from omnimat.testing.distributed import run_workers
from omnimat.testing.poison import OLD_NAMES, listed, poison, put, seal
from omnimat.training.checkpoint_folders import FOLDER
from omnimat.training.checkpoint_manifest import MANIFEST
from omnimat.training.context import WorkerContext
from omnimat.training.loop import build_model, build_or_resume, train_worker
from omnimat.training.plan import RunPlan, make_plan
from omnimat.training.result import finish
from omnimat.training.resume import _bring, newest_state

pytestmark = pytest.mark.slow

BEFORE, NEWEST = 6, 9


def write(plan: RunPlan, folder: Path) -> None:
    train_worker(plan, WorkerContext(UPath(folder), torch.device("cpu")), in_process)


@pytest.fixture(scope="module")
def plan(workspace, new_settings) -> RunPlan:
    return make_plan("run", new_settings(num_workers=2, zero_stage=2), workspace)


@pytest.fixture(scope="module")
def whole(plan, tmp_path_factory) -> Path:
    """The folder of a run of two workers with checkpoints of steps 6 and 9."""
    folder = tmp_path_factory.mktemp("whole")
    run_workers(write, 2, plan, folder)
    assert [int(path.name[:9]) for path in both(folder)] == [BEFORE, NEWEST]
    return folder


def both(run: Path) -> list[Path]:
    return sorted((run / FOLDER).iterdir())


def newest(run: Path) -> Path:
    return both(run)[-1]


def resume(plan: RunPlan, folders: list[Path]) -> list[tuple[int, str]]:
    """Resume each run; give the step that was reached, or -1, and what was said."""
    outcomes = []
    for folder in folders:
        context, said = WorkerContext(UPath(folder), torch.device("cpu")), io.StringIO()
        step = -1
        with contextlib.redirect_stdout(said):
            try:
                model = build_model(plan.settings)
                with newest_state(context) as saved:
                    build_or_resume(model, plan.settings.training, context, saved)
                    step = saved.progress.step
            except RunError as error:
                print(error)
        outcomes.append((step, said.getvalue()))
    return outcomes


def flip_a_bit(name: str, run: Path) -> None:
    file = newest(run) / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


def cut_short(name: str, run: Path) -> None:
    file = newest(run) / name
    file.write_bytes(file.read_bytes()[:-1])


def remove(name: str, run: Path) -> None:
    (newest(run) / name).unlink()


def make_a_pipe(name: str, run: Path) -> None:
    remove(name, run)
    os.mkfifo(newest(run) / name)


def link_out(name: str, run: Path) -> None:
    elsewhere = run / "elsewhere"
    (newest(run) / name).rename(elsewhere)
    (newest(run) / name).symlink_to(elsewhere)


def poison_file(name: str, run: Path) -> None:
    put(newest(run), [name], poison(run / "executed"))


def poison_and_seal(name: str, run: Path) -> None:
    poison_file(name, run)
    seal(newest(run))


def point_outside(run: Path) -> None:
    text = (newest(run) / MANIFEST).read_text()
    (newest(run) / MANIFEST).write_text(text.replace("progress.json", "../progress.json"))


def pretend_more_workers(run: Path) -> None:
    text = (newest(run) / MANIFEST).read_text()
    manifest = json.loads(text) | {"world_size": 10**15}
    (newest(run) / MANIFEST).write_text(json.dumps(manifest))


def leave_out(name: str, run: Path) -> None:
    manifest = json.loads((newest(run) / MANIFEST).read_text())
    del manifest["files"][name]
    (newest(run) / MANIFEST).write_text(json.dumps(manifest))


def add_old_files(run: Path) -> None:
    put(newest(run), OLD_NAMES, poison(run / "executed"))


def put_an_old_one(run: Path) -> None:
    """Leave nothing but a checkpoint that DeepSpeed might have written."""
    for checkpoint in both(run):
        shutil.rmtree(checkpoint)
    put(run / FOLDER / f"{9:09d}-{1:019d}", OLD_NAMES, poison(run / "executed"))


def poison_all(run: Path) -> None:
    for checkpoint in both(run):
        put(checkpoint, listed(checkpoint), poison(run / "executed"))


WEIGHTS = "weights-00001-of-00002.safetensors"
OPTIMIZER = "optimizer-00000-of-00002.safetensors"
NAMES = (WEIGHTS, OPTIMIZER, "progress.json", "export/text/model.safetensors", MANIFEST)
# What is done to a run, the step that it goes on from, and what it says.
ATTACKS: list[tuple[Callable[[Path], None], int, tuple[str, ...]]] = [
    *((partial(poison_file, name), BEFORE, (name, "is damaged", "is looked at")) for name in NAMES),
    *((partial(flip_a_bit, name), BEFORE, (name, "sha256")) for name in NAMES[:-1]),
    (partial(cut_short, OPTIMIZER), BEFORE, (OPTIMIZER, "size")),
    (partial(remove, WEIGHTS), BEFORE, (WEIGHTS, "is missing")),
    (partial(make_a_pipe, WEIGHTS), BEFORE, (WEIGHTS, "no plain file")),
    (partial(make_a_pipe, MANIFEST), BEFORE, (MANIFEST, "no plain file")),
    (partial(link_out, WEIGHTS), BEFORE, (WEIGHTS, "no plain file")),
    (partial(remove, MANIFEST), BEFORE, ("is incomplete",)),
    (point_outside, BEFORE, (MANIFEST, "'../progress.json'", "inside the checkpoint")),
    (pretend_more_workers, BEFORE, (MANIFEST, "does not list weights-00000-of-1000000000000000")),
    *((partial(leave_out, name), BEFORE, (f"not list {name}",)) for name in (WEIGHTS, OPTIMIZER)),
    (partial(poison_and_seal, WEIGHTS), -1, (WEIGHTS, "no safetensors file")),
    (partial(poison_and_seal, OPTIMIZER), -1, (OPTIMIZER, "no safetensors file")),
    (partial(poison_and_seal, "progress.json"), BEFORE, ("progress.json", "is damaged")),
    (partial(poison_and_seal, "export/text/model.safetensors"), NEWEST, ()),
    (add_old_files, NEWEST, ()),
    (put_an_old_one, -1, ("older version of omnimat", "--fresh")),
    (poison_all, -1, ("no checkpoint of", "can be read", "--fresh")),
]


@pytest.mark.parametrize("world_size", [1, 2])
def test_it_is_named_and_the_one_before_is_taken(world_size, plan, whole, tmp_path):
    runs = []
    for number, (attack, *_) in enumerate(ATTACKS):
        runs.append(shutil.copytree(whole, tmp_path / str(number)))
        attack(runs[-1])
    outcomes, *others = run_workers(resume, world_size, plan, runs)
    for run, (_, step, words), outcome in zip(runs, ATTACKS, outcomes, strict=True):
        assert outcome[0] == step, outcome
        assert all(word in outcome[1] for word in words), outcome
        assert bool(outcome[1]) == bool(words), outcome
        assert not (run / "executed").exists()
    for worker in others:
        assert [step for step, _ in worker] == [step for step, _ in outcomes]


def test_the_poison_works(tmp_path):
    """Else the test above would show nothing."""
    data = poison(tmp_path / "executed")
    torch.load(io.BytesIO(data), weights_only=False)
    assert (tmp_path / "executed").exists()


def test_what_is_of_another_model_is_named(whole, new_settings, workspace):
    settings = new_settings().model_copy(update={"embedding_dim": 4})
    wider = make_plan("run", settings, workspace)
    (((step, said),),) = run_workers(resume, 1, wider, [whole])
    assert step == -1
    assert "weights-0000" in said
    assert "shape (8," in said
    assert "the model needs" in said


def handed_on(plan: RunPlan, run: UPath) -> None:
    finish(plan, Fence(run, 0, ""), wall_time_s=1.0)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("export/text/model.safetensors", flip_a_bit),
        ("progress.json", flip_a_bit),
        (MANIFEST, cut_short),
    ],
)
def test_a_damaged_export_is_not_handed_on(name, damage, plan, whole, tmp_path):
    run = shutil.copytree(whole, tmp_path / "run")
    damage(name, run)
    with pytest.raises(RunError, match=f"{name} is damaged.*submit the job again"):
        handed_on(plan, UPath(run))
    assert not (run / "export").exists()
    assert not (run / "result.json").exists()


def test_only_what_the_manifest_lists_is_handed_on(plan, whole, tmp_path):
    run = shutil.copytree(whole, tmp_path / "run")
    put(newest(run), ["export/planted/model.safetensors"], b"planted")
    handed_on(plan, UPath(run))
    assert {path.name for path in (run / "export").iterdir()} == {"text", "charge_density"}
    result = json.loads((run / "result.json").read_text())
    assert (run / result["checkpoint"] / MANIFEST).exists()


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
def test_on_object_storage_a_copy_is_checked(s3, plan, whole, tmp_path):
    run = UPath("s3://bucket/run", use_listings_cache=False)
    run.fs.put(f"{whole}/", run.path, recursive=True)
    checkpoint = run / FOLDER / newest(whole).name
    (here,) = _bring(checkpoint, tmp_path / "copy", 0).values()
    assert Path(here) == tmp_path / "copy"
    files = {p.relative_to(here).as_posix() for p in Path(here).rglob("*") if p.is_file()}
    assert files == {MANIFEST, *listed(newest(whole))}
    handed_on(plan, run)
    name = "export/text/model.safetensors"
    assert (run / name).read_bytes() == (newest(whole) / name).read_bytes()

    damaged = bytearray((checkpoint / name).read_bytes())
    damaged[-1] ^= 1
    (checkpoint / name).write_bytes(bytes(damaged))
    assert f"{name} is damaged" in _bring(checkpoint, tmp_path / "again", 0)["fault"]
    assert not (tmp_path / "again").exists()
    with pytest.raises(RunError, match=name):
        handed_on(plan, run)
    assert not (run / name).exists()
