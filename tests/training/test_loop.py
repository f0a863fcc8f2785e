"""The loop and its checkpoints on real processes, without Ray."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from upath import UPath

from omnimat.models.export import load
from omnimat.stream.source import Source
from omnimat.stream.timing import StreamMeter
from omnimat.stream.worker import in_process
from omnimat.testing.distributed import run_workers
from omnimat.training.checkpoint_store import newest_checkpoint
from omnimat.training.context import WorkerContext
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
    """Deliver the batches of an epoch and of one more step, then fail."""
    for step, table in enumerate(in_process(source, units, num_rows)):
        if step == 5:
            raise Killed
        yield table


def train(plan: RunPlan, folder: Path, killed_once: bool) -> list[int]:
    """Train, if asked with one failure and restart; return the steps that a watcher saw."""
    seen = []
    watchers = (lambda metrics: seen.append(metrics["step"]),)
    context = WorkerContext(UPath(folder), torch.device("cpu"), watchers)
    if killed_once:
        with pytest.raises(Killed):
            train_worker(plan, context, dying)
    train_worker(plan, context, in_process)
    return seen


def losses(folder: Path) -> pd.Series:
    history = pd.DataFrame(read_reports(UPath(folder)))
    return history.set_index("step")["loss"]


@pytest.mark.parametrize(("world_size", "zero_stage"), [(1, 1), (2, 1), (2, 3)])
def test_a_killed_run_ends_like_one_that_was_not(
    world_size, zero_stage, workspace, new_settings, tmp_path
):
    settings = new_settings(num_workers=world_size, zero_stage=zero_stage)
    plan = make_plan("run", settings, workspace)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    seen = {}
    for folder in (whole, killed):
        folder.mkdir()
        seen[folder], *others = run_workers(train, world_size, plan, folder, folder == killed)
        assert others == [[]] * (world_size - 1)
    expected, resumed = losses(whole), losses(killed)
    assert expected.index.tolist() == list(range(1, plan.num_steps + 1))
    assert resumed.index.tolist() == [
        *range(1, 6),
        *range(plan.steps_per_epoch + 1, plan.num_steps + 1),
    ]
    # A watcher sees each start before its first step, because it may hang there.
    assert seen[whole] == [0, *expected.index]
    assert seen[killed] == [0, *range(1, 6), *range(plan.steps_per_epoch, plan.num_steps + 1)]
    # Equal bit for bit: as many processes add the same numbers in the same order.
    assert (resumed == expected[resumed.index].to_numpy()).all()
    assert expected.iloc[-1] < expected.iloc[0]
    for modality in ("text", "charge_density"):
        newest = [newest_checkpoint(UPath(folder)) for folder in (whole, killed)]
        (one, card), (other, _) = (load(folder / "export" / modality) for folder in newest)
        torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)
        assert card.samples_seen == plan.num_steps * 8


def meter_readings() -> list[dict[str, float]]:
    meter = Meter(4, Stopwatch(torch.device("cpu")), StreamMeter())
    readings = []
    for value in (1.0, 5.0, math.nan, math.inf):
        for _ in meter.waiting(range(2)):
            meter.add({"a|b": torch.tensor(value), "a|c": torch.tensor(0.0)})
        readings.append(meter.read())
    return readings


def test_a_reading_starts_the_meter_anew():
    ((first, second, *lost),) = run_workers(meter_readings, 1)
    assert (first["loss"], first["loss/a|b"], first["loss/a|c"]) == (0.5, 1.0, 0.0)
    assert (second["loss"], second["loss/a|b"]) == (2.5, 5.0)
    assert [reading["loss_is_finite"] for reading in (first, second, *lost)] == [1, 1, 0, 0]
    assert 0 <= second["data_wait_share"] < 1
    phases = [second[f"{name}_s"] for name in PHASES]
    assert sum(phases) == pytest.approx(second["step_s"])
    assert second["samples_per_s"] > 0
    line = progress_line(first | {"step": 2, "lr": 1e-3}, num_steps=4)
    assert line.startswith("step 2/4  loss 0.5000  [a|b 1.000  a|c 0.000]  lr 1.00e-03")


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
