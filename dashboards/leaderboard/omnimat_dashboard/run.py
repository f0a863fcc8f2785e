"""One run: its curves and its log, what it waits for, what it was told, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from omnimat.leaderboard.board import Summary
from omnimat.leaderboard.origins import Origin
from omnimat_dashboard.artifacts import Artifacts, Found, attempt
from omnimat_dashboard.catalogue import Catalogue
from omnimat_dashboard.figures import Figure
from omnimat_dashboard.history import learning, speed, together, trials
from omnimat_dashboard.run_files import RunFiles
from omnimat_dashboard.runs import RunLine, TrialLine, run_line, trial_line
from omnimat_dashboard.text import Scale
from omnimat_dashboard.waiting import Spent, spent, verdict

MAX_TOGETHER = 8  # runs in one plot; there are so many colours
MAX_RESULTS = 50
NUM_REPORTS = 10  # that are told where a run has no log
_TRIAL_PANELS = (("train_loss", "training loss"), ("validation_error", "validation error"))


@dataclass(frozen=True, slots=True)
class RunPage:
    """One run.

    Attributes:
        line: how far it has come.
        figures: the curves of a pretraining run, or of the best trials of a sweep.
        trials: the trials of a sweep that have begun, best first.
        missing: why there is neither.
        waits: whether a pretraining run waits, and for what, in a sentence; empty if not known.
        spent: what it spends its time on.
        log: the end of its log, or its newest reports if it has none.
        log_name: the name of the log; empty if there is none.
        settings: the settings with which it was begun.
        dataset: the data set that it learns from, or is judged on; empty if not known.
        parent: the pretraining run that it starts from; empty if there is none.
        results: the results that it has left on the leaderboard, each with its scale.
        num_results: how many these are.
        descendants: the models that have started from it.
    """

    line: RunLine
    figures: Sequence[Figure]
    trials: Sequence[TrialLine]
    missing: str
    waits: str
    spent: Sequence[Spent]
    log: Sequence[str]
    log_name: str
    settings: Mapping[str, Any]
    dataset: str
    parent: str
    results: Sequence[tuple[Summary, Scale]]
    num_results: int
    descendants: Sequence[Origin]


@dataclass(frozen=True, slots=True)
class TogetherPage:
    """Several runs in one plot.

    Attributes:
        names: the runs that are drawn.
        left_out: the others, each with the reason.
        figures: their curves.
    """

    names: Sequence[str]
    left_out: Mapping[str, str]
    figures: Sequence[Figure]


def run_page(catalogue: Catalogue, artifacts: Artifacts, name: str) -> Found[RunPage]:
    """Collect what a run of ``artifacts.runs()`` has left so far."""
    return attempt(lambda: _page(catalogue, name, artifacts.run(name)))


def together_page(artifacts: Artifacts, names: Sequence[str]) -> TogetherPage:
    """Draw several runs in one plot a metric: pretrainings by step, sweeps by epoch."""
    wanted = list(dict.fromkeys(names))
    found = {name: _drawn(artifacts, name) for name in wanted[:MAX_TOGETHER]}
    drawn = {name: one.value for name, one in found.items() if one.value is not None}
    left_out = {name: one.reason for name, one in found.items() if one.value is None}
    left_out |= dict.fromkeys(wanted[MAX_TOGETHER:], f"only {MAX_TOGETHER} are drawn")
    histories = {name: one for name, one in drawn.items() if isinstance(one, pd.DataFrame)}
    best = [(name, one) for name, one in drawn.items() if not isinstance(one, pd.DataFrame)]
    figures = [*together(histories), *(trials(best, _TRIAL_PANELS) if best else ())]
    return TogetherPage(list(drawn), left_out, figures)


def _drawn(artifacts: Artifacts, name: str) -> Found[pd.DataFrame | dict[str, Any]]:
    """Read the history of a pretraining, or the best trial of a sweep."""
    found = attempt(lambda: _curve(artifacts.run(name)))
    if found.value is None:
        return Found(None, found.reason or "it has no curves yet")
    return Found(found.value)


def _curve(files: RunFiles) -> pd.DataFrame | dict[str, Any] | None:
    if "training" in files.settings:
        history = files.history()
        return None if history.empty else history
    kept = [left for _, left in files.trials().values() if left.get("history")]
    return min(kept, key=lambda left: float(left["validation_error"]), default=None)


def _page(catalogue: Catalogue, name: str, files: RunFiles) -> RunPage:
    line, settings = run_line(name, files), files.settings
    history = files.history() if line.kind == "pretrain" else pd.DataFrame()
    left = files.trials() if line.kind == "finetune" else {}
    going = {} if line.kind != "finetune" or line.state == "finished" else files.going_trials()
    log_name, log = _log(files, history)
    results = catalogue.store.summaries(run_name=name)
    return RunPage(
        line=line,
        figures=_figures(history, left),
        trials=_trials({**left, **{key: ("running", one) for key, one in going.items()}}),
        missing=_MISSING[line.kind],
        waits=verdict(history),
        spent=spent(history),
        log=log,
        log_name=log_name,
        settings=settings,
        dataset=str(settings.get("dataset") or ""),
        parent=str(settings.get("run") or "") if line.kind != "pretrain" else "",
        results=[(one, Scale.of(one.board)) for one in results[:MAX_RESULTS]],
        num_results=len(results),
        descendants=_descendants(catalogue, name),
    )


_MISSING = {
    "pretrain": "it has not reported a step yet",
    "finetune": "no trial has ended yet",
    "evaluate": "an evaluation leaves rows on the leaderboard, and no curves",
}


def _trials(left: Mapping[str, tuple[str, dict[str, Any]]]) -> list[TrialLine]:
    lines = (trial_line(name, *one) for name, one in left.items())
    return sorted(lines, key=lambda line: line.validation_error)


def _figures(
    history: pd.DataFrame, left: Mapping[str, tuple[str, Mapping[str, Any]]]
) -> list[Figure]:
    if not history.empty:
        return [*learning(history), *speed(history)]
    kept = [(name, one) for name, (_, one) in left.items() if one.get("history")]
    kept.sort(key=lambda named: float(named[1]["validation_error"]))
    return trials(kept[:MAX_TOGETHER], _TRIAL_PANELS) if kept else []


def _log(files: RunFiles, history: pd.DataFrame) -> tuple[str, list[str]]:
    found = attempt(files.log)
    if found.value is None:
        return "", [f"The log cannot be shown: {found.reason}."]
    name, lines = found.value
    if name or history.empty:
        return name, lines
    return "", [_report(one) for one in history.tail(NUM_REPORTS).to_dict("records")]


def _report(metrics: Mapping[Any, float]) -> str:
    known = (
        ("step", "step {:.0f}"),
        ("loss", "loss {:.4f}"),
        ("lr", "learning rate {:.2e}"),
        ("samples_per_s", "{:.0f} samples/s"),
        ("data_wait_share", "{:.0%} waiting for data"),
    )
    return ", ".join(told.format(metrics[key]) for key, told in known if key in metrics)


def _descendants(catalogue: Catalogue, name: str) -> list[Origin]:
    """Give what has started from a run, each model once."""
    found = catalogue.descendants(name)
    return list({one.model: one for one in found}.values())[:MAX_RESULTS]
