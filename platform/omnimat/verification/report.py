"""Outcomes and comparisons for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import get_args

from rich.table import Table
from rich.text import Text

from omnimat.leaderboard.comparison import Comparison
from omnimat.verification.outcome import Outcome, Verdict

_STYLES = {"verified": "green", "failed": "red", "tampered": "bold red", "unverifiable": "yellow"}


def outcome_table(outcomes: Sequence[Outcome]) -> Table:
    """Lay outcomes out: what came of each row, and why."""
    table = Table("row", "outcome", "result and what was found")
    for one in outcomes:
        # Text everywhere, for a name in brackets would be read as markup.
        found = [Text(one.label), *(Text(f"- {line}") for line in (*one.sentences, *one.notes))]
        verdict = Text(one.verdict, style=_STYLES[one.verdict])
        table.add_row(Text(one.row_id[:8]), verdict, Text("\n").join(found))
    return table


def tally(outcomes: Sequence[Outcome]) -> str:
    """Count outcomes in one line."""
    counts = Counter(one.verdict for one in outcomes)
    told = [f"{counts[verdict]} {verdict}" for verdict in get_args(Verdict) if counts[verdict]]
    return f"{len(outcomes)} rows: {', '.join(told)}"


def comparison_text(comparison: Comparison) -> str:
    """Tell what two results are, on what they were compared, and what came of it."""
    paired = comparison.paired
    lines = []
    for name, rows, mean in (
        ("A", comparison.a, paired.mean_a),
        ("B", comparison.b, paired.mean_b),
    ):
        first = rows[0]
        seeds = f"{len(rows)} seed{'s' if len(rows) > 1 else ''}"
        lines.append(f"{name}: {first.model}, {first.variant} ({seeds}): {mean:.4g} {first.unit}")
    left_out = f", {comparison.num_not_shared} not in both" if comparison.num_not_shared else ""
    first = comparison.a[0]
    lines.append(
        f"{first.task}, {first.metric} on {paired.num_materials} materials{left_out}; each "
        f"material's score is averaged over seeds first; {paired.num_resamples} resamples"
    )
    return "\n".join([*lines, comparison.verdict])
