"""How far each run has come, while it goes on and afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

from omnimat_dashboard.artifacts import Artifacts, Found, attempt
from omnimat_dashboard.run_files import RunFiles, Times, at_once
from omnimat_dashboard.waiting import waits_for

State = Literal["running", "silent", "finished"]

SILENT_AFTER_S = 600  # most steps, trials and evaluations take less time
MAX_REMEMBERED = 4096  # finished runs, whose lines take some hundred bytes each


@dataclass(frozen=True, slots=True)
class RunLine:
    """How far a run has come.

    Attributes:
        name: the name of the run.
        kind: the kind of its job.
        state: ``silent`` if it has said nothing for long: it hangs, has died, or is slow.
        done: how many steps or trials are done; None for a kind that has neither.
        total: how many there will be; None if that is not known yet.
        at: when the run last said something.
        samples_per_s: how many samples a pretraining run sees in a second.
        waits_for: what a pretraining run waits for most; empty if that is not known.
    """

    name: str
    kind: str
    state: State
    done: int | None
    total: int | None
    at: datetime
    samples_per_s: float | None = None
    waits_for: str = ""

    @property
    def age_s(self) -> float:
        """How long ago the run last said something."""
        return max(0.0, (datetime.now(UTC) - self.at).total_seconds())

    @property
    def unit(self) -> str:
        """What is counted: trials or steps."""
        return "trials" if self.kind == "finetune" else "steps"


@dataclass(frozen=True, slots=True)
class TrialLine:
    """What a trial of a sweep has reached so far, or when it ended or was stopped early.

    Attributes:
        name: the name of the trial.
        state: ``running``, ``finished`` or ``stopped``.
        epoch: the best epoch of a finished trial, else the last one.
        validation_error: the error in that epoch: 0 is perfect, and 1 is as good as guessing.
        wall_time_s: how long it took, or has taken so far; None if it was stopped.
    """

    name: str
    state: str
    epoch: int
    validation_error: float
    wall_time_s: float | None


def run_lines(artifacts: Artifacts) -> dict[str, Found[RunLine]]:
    """Say how far each run has come; those that spoke last come first.

    Raises:
        RunError: the storage is out of reach.
    """
    runs = artifacts.runs()
    found = at_once(lambda run: attempt(lambda: run_line(*run)), runs.items())
    lines = dict(zip(runs, found, strict=True))
    never = datetime.min.replace(tzinfo=UTC)
    order = sorted(lines, key=lambda name: one.at if (one := lines[name].value) else never)
    return {name: lines[name] for name in reversed(order)}


def run_line(name: str, files: RunFiles) -> RunLine:
    """Say how far a run has come."""
    times = files.times()
    read = _read_line if times.finished_at is None else _finished_line
    return read(name, files, times)


def _read_line(name: str, files: RunFiles, times: Times) -> RunLine:
    settings = files.settings
    if "training" in settings:
        return _pretraining(name, files, times, settings)
    is_sweep = "learning_rates" in settings
    ended = files.ended_trials() if is_sweep else {}
    at = times.finished_at or max([times.begun_at, *ended.values()])
    return RunLine(
        name=name,
        kind="finetune" if is_sweep else "evaluate",
        state=_state(at, times),
        done=len(ended) if is_sweep else None,
        total=_num_trials(settings) if is_sweep else None,
        at=at,
    )


# A finished run never changes; one that is made anew under the same name has other times.
_finished_line = lru_cache(MAX_REMEMBERED)(_read_line)


def _pretraining(name: str, files: RunFiles, times: Times, settings: dict[str, Any]) -> RunLine:
    report = files.newest_report()
    metrics = {} if report is None else report.metrics
    at = times.finished_at or max([times.begun_at, *([report.at] if report else [])])
    step, epoch = metrics.get("step", 0), metrics.get("epoch")
    num_epochs = settings["training"]["num_epochs"]
    return RunLine(
        name=name,
        kind="pretrain",
        state=_state(at, times),
        done=int(step),
        total=round(num_epochs * step / epoch) if epoch else None,
        at=at,
        samples_per_s=metrics.get("samples_per_s"),
        waits_for=waits_for(metrics),
    )


def _state(at: datetime, times: Times) -> State:
    if times.finished_at is not None:
        return "finished"
    return "silent" if (datetime.now(UTC) - at).total_seconds() > SILENT_AFTER_S else "running"


def _num_trials(settings: dict[str, Any]) -> int:
    """Count the trials of the grid; successive halving runs fewer."""
    axes = [settings[key] for key in ("variants", "train_fractions", "learning_rates", "seeds")]
    folds = settings.get("folds")  # unknown to runs of before
    axes += [folds["test"]] if folds else []
    return math.prod(len(axis) for axis in [*axes, *settings["grid"].values()])


def trial_line(name: str, state: str, left: dict[str, Any]) -> TrialLine:
    """Say what a trial reached by what it left."""
    is_finished = state == "finished"
    time_s = left.get("wall_time_s" if is_finished else "time_total_s")
    return TrialLine(
        name=name,
        state=state,
        epoch=int(left["best_epoch"] if is_finished else left["epoch"]),
        validation_error=float(left["validation_error"]),
        wall_time_s=None if time_s is None else float(time_s),
    )
