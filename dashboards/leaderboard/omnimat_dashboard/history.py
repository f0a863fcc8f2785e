"""The curves of a pretraining run."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pandas as pd

from omnimat_dashboard.figures import AxisScale, Figure, curves

MAX_STEPS = 400  # how many are drawn; more than there are pixels would say no more

# The parts of a step in seconds, but no rates.
_PHASES = r"(?!step_s)(\w+)(?<!_per)_s"


def learning(history: pd.DataFrame) -> list[Figure]:
    """Draw the loss, its part for each pair, and the learning rate."""
    losses = {"loss": "minimised"} | _columns(history, r"loss/(.+)")
    return [
        _lines(history, "contrastive loss", losses, "linear"),
        _lines(history, "learning rate", {"lr": "lr"}),
    ]


def speed(history: pd.DataFrame) -> list[Figure]:
    """Draw where the time goes, leaving out what a history of another version lacks."""
    panels = [
        _lines(history, "samples a second", _columns(history, "(samples_per_s)")),
        _lines(history, "seconds a step", _columns(history, _PHASES), stacked=True),
        _lines(history, "share of a step that waits", _columns(history, "(data_wait_share)")),
        _lines(history, "rows a second while at it", _columns(history, r"(\w+)_rows_per_s"), "log"),
        _lines(history, "rows ready for the trainer", _columns(history, "(queued_rows)")),
        _lines(history, "records quarantined", _columns(history, "(quarantined_records)")),
    ]
    return [panel for panel in panels if panel["series"]]


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
    shown = history.iloc[:: -(-len(history) // MAX_STEPS)]
    if shown.index[-1] != history.index[-1]:
        shown = pd.concat([shown, history.iloc[-1:]])
    steps = shown["step"].tolist()
    series = [
        {"name": name.replace("_", " "), "x": steps, "y": shown[column].tolist()}
        for column, name in columns.items()
    ]
    return curves("step", title, series, scale=scale, stacked=stacked)
