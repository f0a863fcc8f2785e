"""The curves of runs: of one pretraining, of several in one plot, and of trials."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from omnimat_dashboard.figures import AxisScale, Figure, curves

MAX_STEPS = 400  # how many are drawn; more than there are pixels would say no more

# The parts of a step in seconds, but no rates.
_PHASES = r"(?!step_s)(\w+)(?<!_per)_s"


def learning(history: pd.DataFrame) -> list[Figure]:
    """Draw the loss, its part for each pair, and the learning rate."""
    losses = {"loss": "minimised"} | _columns(history, r"loss/(.+)")
    return [
        _lines(history, "training loss", losses, "linear"),
        _lines(history, "learning rate", {"lr": "lr"}),
    ]


def speed(history: pd.DataFrame) -> list[Figure]:
    """Draw where the time goes, leaving out what a history of another version lacks."""
    panels = [
        _lines(history, "samples a second", _columns(history, "(samples_per_s)")),
        _lines(history, "seconds a step", _columns(history, _PHASES), stacked=True),
        _lines(history, "share of a step that waits", _columns(history, "(data_wait_share)")),
        _lines(history, "rows a second, if busy", _columns(history, r"(\w+)_rows_per_s"), "log"),
        _lines(history, "rows ready for the trainer", _columns(history, "(queued_rows)")),
        _lines(history, "records quarantined", _columns(history, "(quarantined_records)")),
    ]
    return [panel for panel in panels if panel["series"]]


def together(histories: Mapping[str, pd.DataFrame]) -> list[Figure]:
    """Draw several pretraining runs in one plot a metric, by the names of the runs.

    Short runs are drawn last, lest long ones hide them.
    """
    drawn = sorted(histories.items(), key=lambda named: len(named[1]), reverse=True)
    panels: tuple[tuple[str, str, AxisScale], ...] = (
        ("loss", "training loss", "linear"),
        ("lr", "learning rate", "from zero"),
        ("samples_per_s", "samples a second", "from zero"),
        ("data_wait_share", "share of a step that waits", "from zero"),
    )
    return [
        curves("step", title, series, scale=scale)
        for column, title, scale in panels
        if (series := [_series(h, column, name) for name, h in drawn if column in h])
    ]


def trials(
    left: Sequence[tuple[str, Mapping[str, Any]]], panels: Iterable[tuple[str, str]]
) -> list[Figure]:
    """Draw what trials report after each epoch; the epoch that was kept is marked.

    Args:
        left: the name of each line, and what ``trial.json`` of its trial holds.
        panels: the key of each metric, and the title of its axis.
    """
    return [
        curves(
            "epoch",
            title,
            [
                {
                    "name": name,
                    "x": [entry["epoch"] for entry in trial["history"]],
                    "y": [entry.get(key, float("nan")) for entry in trial["history"]],
                    "mark": trial.get("best_epoch"),
                }
                for name, trial in left
            ],
        )
        for key, title in panels
    ]


def _columns(history: pd.DataFrame, pattern: str) -> dict[str, str]:
    """Give the columns that match a pattern, each with what the pattern's group found."""
    found = {str(name): re.fullmatch(pattern, str(name)) for name in history.columns}
    return {name: match[1] for name, match in found.items() if match}


def _lines(
    history: pd.DataFrame,
    title: str,
    columns: Mapping[str, str],
    scale: AxisScale = "from zero",
    *,
    stacked: bool = False,
) -> Figure:
    """Draw named columns over the steps."""
    series = [_series(history, column, name.replace("_", " ")) for column, name in columns.items()]
    return curves("step", title, series, scale=scale, stacked=stacked)


def _series(history: pd.DataFrame, column: str, name: str) -> dict[str, Any]:
    shown = _thinned(history)
    return {"name": name, "x": shown["step"].tolist(), "y": shown[column].tolist()}


def _thinned(history: pd.DataFrame) -> pd.DataFrame:
    """Keep so many steps as can be seen, and the last one."""
    shown = history.iloc[:: max(1, -(-len(history) // MAX_STEPS))]
    is_whole = shown.empty or shown.index[-1] == history.index[-1]
    return shown if is_whole else pd.concat([shown, history.iloc[-1:]])
