"""Outcomes of verification for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import get_args

from rich.table import Table
from rich.text import Text

from omnimat.base.characters import escaped
from omnimat.verification.outcome import Outcome, Verdict

_STYLES = {
    "recomputed": "green",
    "reproduced": "bold green",
    "failed": "red",
    "tampered": "bold red",
    "unverifiable": "yellow",
}


def outcome_table(outcomes: Sequence[Outcome]) -> Table:
    """Lay out what came of each row, and why."""
    table = Table("row", "outcome", "result and what was found")
    for one in outcomes:
        # Text, since rich would read a name in brackets as markup, and a terminal obey an escape.
        lines = (one.label, *(f"- {line}" for line in (*one.sentences, *one.notes)))
        found = [Text(escaped(line, allowed="")) for line in lines]
        verdict = Text(one.verdict, style=_STYLES[one.verdict])
        table.add_row(Text(escaped(one.row_id[:8])), verdict, Text("\n").join(found))
    return table


def tally(outcomes: Sequence[Outcome]) -> str:
    """Count outcomes in one line."""
    counts = Counter(one.verdict for one in outcomes)
    told = [f"{counts[verdict]} {verdict}" for verdict in get_args(Verdict) if counts[verdict]]
    if num_left := sum(one.is_not_rerun for one in outcomes):
        told.append(f"{num_left} of them not run again")
    return f"{len(outcomes)} rows: {', '.join(told)}"
