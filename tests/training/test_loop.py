"""The loop and its checkpoints on real processes, without Ray."""

import math
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from upath import UPath

from omnimat.models.export import load
from omnimat.objectives.regression import RegressionSettings
from omnimat.stream.source import Source
from omnimat.stream.timing import StreamMeter
from omnimat.stream.worker import in_process
from omnimat.testing.distributed import run_workers
from omnimat.testing.waiting import LIMIT_S
from omnimat.training import loop
from omnimat.training.checkpoint_folders import checkpoints, newest_checkpoint
from omnimat.training.context import WorkerContext
from omnimat.training.engine import build_engine
from omnimat.training.gather import join_over_workers
from omnimat.training.history import read_reports
from omnimat.training.loop import train_worker
from omnimat.training.meter import PHASES, Meter, progress_line
from omnimat.training.plan import RunPlan, make_plan
from omnimat.training.step import seed_step
from omnimat.training.stopwatch import Stopwatch

pytestmark = pytest.mark.slow


class Killed(Exception):
    pass


def dying(source: Source, units, num_rows):
    """Deliver the batches of an epoch and of two more steps, then fail."""
    for step, table in enumerate(in_process(source, units, num_rows)):
        if step == 5:
            raise Killed
        yield table


def train(plans: dict[Path, RunPlan]) -> list[list[int]]:
    """Train in each folder, in those that say so with one failure and restart.

    Returns:
        The steps that a watcher saw in each.
    """
    return [train_in(folder, plan) for folder, plan in plans.items()]


def train_in(folder: Path, plan: RunPlan) -> list[int]:
    seen: list[int] = []
    watchers = (lambda metrics: seen.append(metrics["step"]),)
    context = WorkerContext(UPath(folder), torch.device("cpu"), watchers)
    folder.mkdir(exist_ok=True)
    if "killed" in folder.name:
        with pytest.raises(Killed):
            train_worker(plan, context, dying)
    train_worker(plan, context, in_process)
    return seen


def losses(folder: Path) -> pd.Series:
    history = pd.DataFrame(read_reports(UPath(folder)))
    return history.set_index("step")["loss"]


REGRESSION = (RegressionSettings(source="charge_density", target="text"),)
OF_ONE = [
    {"zero_stage": 1, "precision": "fast_fp32"},
    {"zero_stage": 3, "checkpoint_interval_steps": 4},
]
OF_TWO = [
    {"zero_stage": 0},
    {"zero_stage": 1},
    {"zero_stage": 2, "precision": "bf16", "checkpoint_interval_steps": 4},
    {"zero_stage": 3},
    {"zero_stage": 3, "precision": "bf16"},
]


@pytest.mark.parametrize(("world_size", "cases"), [(1, OF_ONE), (2, OF_TWO)])
def test_a_killed_run_ends_like_one_that_was_not(
    world_size, cases, workspace, new_settings, tmp_path
):
    plans = {}
    for number, case in enumerate(cases):
        settings = new_settings(num_workers=world_size, **case)
        settings = settings.model_copy(update={"regression": REGRESSION})
        plan = make_plan("run", settings, workspace)
        plans |= {tmp_path / f"{name}-{number}": plan for name in ("whole", "killed")}
    seen, *others = run_workers(train, world_size, plans)
    assert others == [[[]] * len(plans)] * (world_size - 1)
    runs = list(zip(plans.items(), seen, strict=True))
    for ((whole, plan), seen_whole), ((killed, _), seen_killed) in zip(
        runs[::2], runs[1::2], strict=True
    ):
        assert plan.steps_per_epoch == 3
        resumed_at = plan.settings.training.checkpoint_interval_steps or plan.steps_per_epoch
        expected, resumed = losses(whole), losses(killed)
        assert expected.index.tolist() == list(range(1, plan.num_steps + 1))
        retaken = range(resumed_at + 1, plan.num_steps + 1)
        assert resumed.index.tolist() == [*range(1, 6), *retaken]
        # A watcher sees each start before its first step, because it may hang there.
        assert seen_whole == [0, *expected.index]
        assert seen_killed == [0, *range(1, 6), resumed_at, *retaken]
        # Equal bit for bit: as many processes add the same numbers in the same order.
        assert (resumed == expected[resumed.index].to_numpy()).all(), plan.settings.training
        assert expected.iloc[-1] < expected.iloc[0]
        for modality in ("text", "charge_density"):
            newest = [newest_checkpoint(UPath(folder)) for folder in (whole, killed)]
            (one, card), (other, _) = (load(folder / "export" / modality) for folder in newest)
            torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)
            assert card.samples_seen == plan.num_steps * 8


def train_with_an_engine_that_waits(plan: RunPlan, folder: Path) -> None:
    """Train with an engine that is built only once somebody makes features."""
    begun = threading.Event()

    def beginning(source: Source, units, num_rows):
        begun.set()
        yield from in_process(source, units, num_rows)

    def build(*arguments):
        assert begun.wait(LIMIT_S)
        return build_engine(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "build_engine", build)
        train_worker(plan, WorkerContext(UPath(folder), torch.device("cpu")), beginning)


def test_features_are_made_while_the_engine_is_built(workspace, new_settings, tmp_path):
    plan = make_plan("run", new_settings(num_epochs=1), workspace)
    run_workers(train_with_an_engine_that_waits, 1, plan, tmp_path)
    assert losses(tmp_path).index.tolist() == [1, 2, 3]


def kept_steps(plan: RunPlan, folder: Path) -> list[int]:
    """Train, and give the steps of the checkpoints that were kept."""
    train_worker(plan, WorkerContext(UPath(folder), torch.device("cpu")), in_process)
    return sorted(int(path.name.partition("-")[0]) for path in checkpoints(UPath(folder)))


def test_checkpoints_by_the_clock_are_due_at_reports_on_all_workers(
    workspace, new_settings, tmp_path
):
    settings = new_settings(
        num_workers=2,
        num_checkpoints_kept=9,
        report_interval_steps=2,
        checkpoint_interval_epochs=None,
        checkpoint_interval_minutes=1e-9,
    )
    plan = make_plan("run", settings, workspace)
    assert run_workers(kept_steps, 2, plan, tmp_path)[0] == [2, 4, 6, 8, 9]


def meter_readings() -> list[dict[str, float]]:
    meter = Meter(4, Stopwatch(torch.device("cpu")), StreamMeter())
    readings = []
    for value in (1.0, 5.0, math.nan, math.inf):
        for _ in meter.waiting(range(2)):
            meter.add({"loss": torch.tensor(value / 2), "loss/a|b": torch.tensor(value)})
        readings.append(meter.read())
    return readings


def test_a_reading_starts_the_meter_anew():
    ((first, second, *lost),) = run_workers(meter_readings, 1)
    assert (first["loss"], first["loss/a|b"]) == (0.5, 1.0)
    assert (second["loss"], second["loss/a|b"]) == (2.5, 5.0)
    assert [reading["loss_is_finite"] for reading in (first, second, *lost)] == [1, 1, 0, 0]
    assert 0 <= second["data_wait_share"] < 1
    phases = [second[f"{name}_s"] for name in PHASES]
    assert sum(phases) == pytest.approx(second["step_s"])
    assert second["samples_per_s"] > 0
    line = progress_line(first | {"step": 2, "lr": 1e-3}, num_steps=4)
    assert line.startswith("step 2/4  loss 0.5000  [a|b 1.000]  lr 1.00e-03")


def quarantined_everywhere() -> dict[str, str]:
    rank = torch.distributed.get_rank()
    return join_over_workers({"both": "seen", f"only {rank}": "bad"})


def test_a_record_two_workers_met_counts_once():
    joined = run_workers(quarantined_everywhere, 2)
    assert joined == [{"both": "seen", "only 0": "bad", "only 1": "bad"}] * 2


def test_a_steps_random_numbers_are_its_own():
    draws = {}
    for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]:
        seed_step(*key)
        draws[key] = torch.rand(3)
        torch.rand(100)
        seed_step(*key)
        assert torch.equal(torch.rand(3), draws[key])
    assert len({tuple(np.round(draw.tolist(), 6)) for draw in draws.values()}) == 4
