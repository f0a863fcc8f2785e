"""The tables that commands write."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnimat.base.characters import escaped
from omnimat.base.errors import UserError
from omnimat.cli.terminal import say

if TYPE_CHECKING:
    import pandas as pd

TABLES = (".csv", ".jsonl", ".parquet")


def check_ending(out: Path | None, endings: tuple[str, ...]) -> None:
    """Check that a file can be written before anything is computed for it.

    Raises:
        UserError: its ending does not say how, or its folder is not there.
    """
    if out is None:
        return
    if out.suffix not in endings:
        raise UserError(f"--out: {out} ends in none of {', '.join(endings)}")
    if not out.parent.is_dir():
        raise UserError(f"--out: {out.parent} is no folder; make it first, or write elsewhere")


def write_table(table: pd.DataFrame, out: Path | None) -> None:
    """Write a table as the ending of a file says, or print it."""
    if out is None:
        say(_cells(table, shown).to_string(index=False, na_rep="-"))
    elif out.suffix == ".csv":
        from omnimat.leaderboard.exchange import as_cell

        _cells(table, as_cell).to_csv(out, index=False)
    elif out.suffix == ".jsonl":
        from omnimat.base.json_records import as_records

        lines = (json.dumps(row, allow_nan=False) for row in as_records(table))
        out.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    else:
        table.to_parquet(out, index=False)


def _cells(table: pd.DataFrame, harmless: Callable[[Any], Any]) -> pd.DataFrame:
    """Write names of files, labels and headings, which strangers chose, so that they do no harm."""
    return table.map(harmless).rename(columns=harmless)


def shown(cell: Any) -> Any:
    """Escape what a terminal would obey."""
    return escaped(cell, allowed="") if isinstance(cell, str) else cell
