"""The metrics of retrieval, from ranks, and their table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from omnimat.evaluation.ranks import Ranks
from omnimat.evaluation.stored import EMBEDDINGS
from omnimat.leaderboard.finding import Finding

MERGED = ", merged"
TOP_K = (1, 5, 10, 25)  # MultiMat's


def everywhere(ranks: Ranks) -> Iterator[Finding]:
    """Score among all materials: ``top-k``, ``mean rank`` and ``median rank``."""
    yield from hits(ranks, TOP_K)
    expected, by_chance = ranks.expected, ranks.by_chance.expected
    yield _finding(ranks, "mean rank", np.mean(expected), np.mean(by_chance), False)
    yield _finding(ranks, "median rank", np.median(expected), np.median(by_chance), False)


def hits(ranks: Ranks, top_k: Sequence[int]) -> Iterator[Finding]:
    """Score ``top-k`` for each k."""
    by_chance = ranks.by_chance
    for k in top_k:
        yield _finding(ranks, f"top-{k}", ranks.hit_rate(k), by_chance.hit_rate(k))


def among_others(ranks: Ranks, num_choices: Sequence[int]) -> Iterator[Finding]:
    """Score ``1 of T``, for each T for which every query has enough wrong keys."""
    for num in num_choices:
        if num <= ranks.num_wrong.min() + 1:
            yield _finding(ranks, f"1 of {num}", ranks.choice_rate(num), 1 / num)


def _finding(
    ranks: Ranks, metric: str, value: Any, chance: Any, higher_is_better: bool = True
) -> Finding:
    return Finding(
        task="retrieval",
        metric=metric,
        value=float(value),
        higher_is_better=higher_is_better,
        num_test=len(ranks.nearer),
        predictions=EMBEDDINGS,
        details={"chance": float(chance)},
    )


def retrieval_table(title: str, findings: Sequence[Finding], metrics: Sequence[str]) -> Table:
    """Lay out chosen metrics: a line for each pair, and below it what guessing gives."""
    found = {(one.task, one.metric): one for one in findings}
    headers = [metric.removesuffix(MERGED) for metric in metrics]
    table = Table("query -> key", *headers, title=title, title_justify="left")
    for task in dict.fromkeys(one.task for one in findings):
        chosen = [found.get((task, metric)) for metric in metrics]
        values = [_cell(one, None if one is None else one.value) for one in chosen]
        chances = [_cell(one, None if one is None else one.details["chance"]) for one in chosen]
        table.add_row(task.removeprefix("retrieval "), *values)
        table.add_row("  by chance", *chances, style="dim")
    return table


def _cell(finding: Finding | None, number: float | None) -> str:
    if finding is None or number is None:
        return "-"
    return f"{100 * number:.1f} %" if finding.higher_is_better else f"{number:.1f}"
