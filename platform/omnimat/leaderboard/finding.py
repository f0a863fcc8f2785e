"""A number that a run found, before it is a row of the leaderboard."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from omnimat.base.settings import fingerprint
from omnimat.leaderboard.row import Row

CHANCE = "chance"
"""The key of a row's ``details`` that tells what guessing scores."""


def chance_in(details: Any) -> float | None:
    """Read it from a row's ``details``; None where it is not there or no number."""
    told = details.get(CHANCE) if isinstance(details, Mapping) else None
    if isinstance(told, bool) or not isinstance(told, int | float) or not math.isfinite(told):
        return None
    return float(told)


@dataclass(frozen=True, slots=True)
class Finding:
    """One number about a run: found when the run ends, and again when its row is verified.

    Attributes:
        task: what was asked (``retrieval text -> structure``).
        metric: how it is scored (``top-5``).
        value: the score.
        higher_is_better: whether a higher score is better.
        num_test: how many materials were scored.
        predictions: the name of the file in the run's folder that the value follows from; empty
            where whoever makes the row knows the file.
        unit: the unit of ``value``; empty where it has none.
        details: what helps to read it, such as the chance level or the scores of each class.
        settings: the settings it depends on, as ``{"zero_shot": {...}}``. They become part of the
            row's ``config``, so that only seeds of equal settings are averaged.
    """

    task: str
    metric: str
    value: float
    higher_is_better: bool
    num_test: int
    predictions: str = ""
    unit: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def row(self, config: Mapping[str, Any], **others: Any) -> Row:
        """Make a row of it.

        Args:
            config: the job without its seed; the finding's own settings are added.
            others: the fields of ``Row`` that a finding does not know.
        """
        whole = {**config, **self.settings}
        return Row(
            task=self.task,
            metric=self.metric,
            unit=self.unit,
            higher_is_better=self.higher_is_better,
            value=self.value,
            num_test=self.num_test,
            details=dict(self.details),
            config=whole,
            config_hash=fingerprint(whole),
            **others,
        )
