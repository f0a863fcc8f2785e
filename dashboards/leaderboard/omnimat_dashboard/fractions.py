"""How errors fall with the number of labels, where models were trained on parts of the split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from omnimat.leaderboard.board import Summary, untold_variant
from omnimat.leaderboard.contest import Contest
from omnimat_dashboard.figures import Figure, curves
from omnimat_dashboard.text import Scale, words

Configs = Mapping[str, Mapping[str, Any]]


def label_curves(contests: Iterable[Contest], configs: Configs) -> list[tuple[str, Figure]]:
    """Draw the score by the share of the training labels, where a model has several.

    Args:
        contests: results of any boards.
        configs: the configurations of results by their hashes.

    Returns:
        The title and the figure of each contest that has such results.
    """
    drawn = []
    for contest in contests:
        series = _series(contest, configs)
        if any(len(points) > 1 for points in series.values()):
            drawn.append((words(contest.board.task), _figure(contest, series)))
    return drawn


def _series(contest: Contest, configs: Configs) -> dict[str, dict[float, Summary]]:
    """Give the best result of each model by the share of labels in per cent."""
    found: dict[str, dict[float, Summary]] = defaultdict(dict)
    for one in contest.ranked:
        percent = 100 * _fraction(configs.get(one.config_hash, {}))
        name = one.model.removesuffix(f", {percent:g} % of training")
        told = untold_variant(name, one.variant), _folds(contest, one)
        line = ", ".join(filter(None, (name, *told)))
        found[line].setdefault(percent, one)
    return found


def _fraction(config: Any) -> float:
    told = config.get("train_fraction", 1.0) if isinstance(config, Mapping) else 1.0
    return float(told) if isinstance(told, int | float) and 0 < told <= 1 else 1.0


def _folds(contest: Contest, one: Summary) -> str:
    """Name the folds of a mean, since means over others cannot be compared."""
    mean = contest.means.get(one.group_id)
    if mean is None or len(mean.members) == mean.num_folds:
        return ""
    names = (member.board.task.rpartition(f", {mean.fold_property} ")[2] for member in mean.members)
    return f"fold {', '.join(sorted(name.partition(' of ')[0] for name in names))}"


def _figure(contest: Contest, series: Mapping[str, Mapping[float, Summary]]) -> Figure:
    scale = Scale.of(contest.board)
    lines = [
        {
            "name": name,
            "x": sorted(points),
            "y": [points[percent].mean * scale.factor for percent in sorted(points)],
            "spread": [(points[percent].std or 0) * scale.factor for percent in sorted(points)],
        }
        for name, points in series.items()
        if len(points) > 1
    ]
    return curves("share of the training labels (%)", scale.label, lines, scale="from zero")
