"""What a pretraining run spends its time on, in words: computing, or waiting for what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

RECENT = 20  # reports, over which shares are averaged
SHOWN_FROM = 0.01  # of the time
MUCH = 0.2  # of the time

# Phases of `training.meter`, which loads torch, and what a step does in each of them.
_PHASES = {
    "backward": "computes gradients and adds them up over the workers",
    "forward": "computes embeddings",
    "optimizer": "moves the weights",
    "loss": "computes the loss",
    "rest": "does all else",
    "data_wait": "waits for data",
    "gather": "waits for the embeddings of other workers",
    "checkpoint": "writes checkpoints",
}
_WAITS = {"data_wait": "data", "gather": "other workers", "checkpoint": "checkpoints"}
_REMEDIES = {
    "data_wait": "Give it more featurizers (num_featurizers), or featurize once and for all.",
    "gather": "One worker may be slower than the others, or the network between them is.",
    "checkpoint": "Checkpoint less often (checkpoint_interval_minutes).",
}


@dataclass(frozen=True, slots=True)
class Spent:
    """A part of a run's time.

    Attributes:
        what: what the run does then, as a verb with its object.
        share: the share of the time, from 0 to 1.
        is_wait: whether it only waits.
    """

    what: str
    share: float
    is_wait: bool


def spent(history: pd.DataFrame) -> list[Spent]:
    """Say what a run spends its time on, by its newest reports, the largest part first."""
    shares = _shares(_recent(history))
    found = [Spent(_PHASES[name], share, name in _WAITS) for name, share in shares.items()]
    return sorted(
        (one for one in found if one.share >= SHOWN_FROM), key=lambda one: one.share, reverse=True
    )


def verdict(history: pd.DataFrame) -> str:
    """Say in one or two sentences whether a run waits, for what, and what helps; else nothing."""
    shares = _shares(_recent(history))
    waits = {name: share for name, share in shares.items() if name in _WAITS}
    if not waits:
        return ""
    most = max(waits, key=lambda name: waits[name])
    if waits[most] >= MUCH:
        return f"It {_PHASES[most]} for {waits[most]:.0%} of its time. {_REMEDIES[most]}"
    return f"It computes for {1 - sum(waits.values()):.0%} of its time, so little is lost to waits."


def waits_for(metrics: Mapping[str, float]) -> str:
    """Name in a few words what a run waits for most by one report: ``data, 12 %``."""
    waits = {name: share for name, share in _shares(metrics).items() if name in _WAITS}
    if not waits:
        return ""
    most = max(waits, key=lambda name: waits[name])
    return f"{_WAITS[most]}, {waits[most]:.0%}" if waits[most] >= SHOWN_FROM else "nothing"


def _recent(history: pd.DataFrame) -> dict[str, float]:
    means = history.tail(RECENT).mean(numeric_only=True)
    return {str(name): float(mean) for name, mean in means.items()}


def _shares(metrics: Mapping[str, float]) -> dict[str, float]:
    """Give the share of each phase in a step; none if a report of another version lacks them."""
    step_s = metrics.get("step_s", 0.0)
    if not step_s:
        return {}
    return {name: metrics[f"{name}_s"] / step_s for name in _PHASES if f"{name}_s" in metrics}
