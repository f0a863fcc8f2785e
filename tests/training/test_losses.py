"""A run that loses records says so, and ends early if it loses more than it may."""

import shutil
from pathlib import Path

import pytest
import torch
from upath import UPath

from omnimat.base.checked_json import read_checked_json
from omnimat.base.errors import RunError
from omnimat.base.lease import Fence
from omnimat.base.workspace import Workspace
from omnimat.shards.manifest import shard_name
from omnimat.stream.losses import QUARANTINED, Losses
from omnimat.stream.store import StoreCard, store_fingerprint
from omnimat.stream.worker import in_process
from omnimat.testing.distributed import run_workers
from omnimat.training.context import WorkerContext
from omnimat.training.loop import train_worker
from omnimat.training.plan import RunPlan, make_plan
from omnimat.training.result import finish
from omnimat.training.settings import PretrainSettings, decisive


def train(plan: RunPlan, folder: Path) -> str:
    """Train; return why it ended, or what the last line says."""
    try:
        train_worker(plan, WorkerContext(UPath(folder), torch.device("cpu")), in_process)
    except RunError as error:
        return str(error)
    return ""


@pytest.fixture
def lost(workspace, tmp_path) -> Workspace:
    """The workspace without one of the four shards of its data set."""
    shutil.copytree(str(workspace.root), str(tmp_path / "storage"))
    lost = Workspace(UPath(tmp_path / "storage"))
    (lost.dataset("prototypes") / shard_name(2)).unlink()
    return lost


def test_a_lost_shard_ends_the_run_which_goes_on_where_more_may_be_lost(
    lost, new_settings, tmp_path, capsys
):
    settings = new_settings(num_epochs=1, num_workers=2)
    plan = make_plan("run", settings, lost)
    run = UPath(tmp_path / "run")
    num_lost = int((plan.records["shard"] == 2).sum())
    for why in run_workers(train, 2, plan, run):
        assert f"of {len(plan.records)} records are quarantined, more than max_quarantined" in why
        assert f"{shard_name(2)}: it does not exist" in why
        assert f"all are under quarantined in {run / QUARANTINED})" in why
    kept = read_checked_json(run / QUARANTINED, "")["quarantined"]
    lost_here = set(plan.records["material_id"][plan.records["shard"] == 2])
    assert set(kept) <= lost_here
    assert f"{len(kept)} of {len(plan.records)}" in why
    lenient = settings.model_copy(update={"max_quarantined": 0.5})
    assert lenient.fingerprint() == settings.fingerprint()
    assert decisive(lenient.model_dump(mode="json")) == decisive(settings.model_dump(mode="json"))
    plan = make_plan("run", lenient, lost)
    assert run_workers(train, 2, plan, run) == ["", ""]
    result = finish(plan, Fence(run, 0, ""), 1.0)
    assert 0 < len(result["quarantined"]) <= num_lost
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"run: {len(result['quarantined'])} of {len(plan.records)} records are")
    assert line.endswith(f"all are under quarantined in {run / 'result.json'})")


@pytest.mark.parametrize("is_trained_on", [True, False])
def test_of_a_store_only_what_is_trained_on_counts(is_trained_on, lost, new_settings):
    settings = PretrainSettings.model_validate(
        new_settings().model_dump() | {"stream": {"read_from": "store"}}
    )
    plan = make_plan("run", settings, lost)
    manifest = plan.manifest
    records = manifest.records(plan.dataset)
    faulty = records["material_id"][(records["split"] == "train") == is_trained_on]
    card = StoreCard(
        dataset_fingerprint=manifest.dataset_fingerprint,
        fingerprint=store_fingerprint(manifest, settings.modalities.featurizers()),
        num_records=manifest.num_records,
        quarantined=dict.fromkeys(faulty, "cut off"),
    )
    card.save(plan.store.folder)
    if is_trained_on:
        with pytest.raises(
            RunError, match=rf"^{len(faulty)} of {len(plan.records)} records .*store"
        ):
            plan.check_store()
    else:
        assert len(faulty) > settings.max_quarantined * len(records)
        plan.check_store()


@pytest.mark.parametrize(
    ("num_lost", "num_records", "allowed", "is_refused"),
    [(0, 0, 0, False), (0, 9, 0, False), (1, 99, 0.01, True), (1, 100, 0.01, False), (9, 9, 1, 0)],
)
def test_the_limit_is_a_share(num_lost, num_records, allowed, is_refused, capsys):
    reasons = {f"mp-{i}": "cut off" for i in range(num_lost)}
    losses = Losses(reasons, num_records, UPath("/x/result.json"))
    losses.say("job")
    assert bool(num_lost) == bool(capsys.readouterr().out)
    if is_refused:
        with pytest.raises(RunError, match=r"1 of 99 .*mp-0: cut off.*raise max_quarantined"):
            losses.check(allowed)
    else:
        losses.check(allowed)
