"""Shows answers on the terminal, as tables for people or JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from omnimat.base.characters import escaped
from omnimat.search.search import Answer


def as_json(answers: Sequence[Answer]) -> str:
    """Return a JSON list of answers with the keys of ``Answer`` and ``Hit``."""
    return json.dumps([asdict(answer) for answer in answers], indent=1)


def print_tables(answers: Sequence[Answer], width: int | None) -> None:
    """Print a table of the given width for each answer; None is the width of the terminal."""
    console = Console(width=width)
    for answer in answers:
        console.print(
            _text(
                f"{answer.query}: {answer.modality} -> {answer.against}, "
                f"{answer.num_candidates} materials of {answer.dataset}"
            )
        )
        console.print(_table(answer))
        for note in answer.notes:
            console.print(_text(note, style="yellow"))


def _table(answer: Answer) -> Table:
    table = Table("rank", "material", "formula", "space group", "crystal system", "similarity")
    for hit in answer.hits:
        group = f"{hit.space_group} ({hit.space_group_number})" if hit.space_group else "-"
        table.add_row(
            str(hit.rank),
            _text(hit.material_id),
            _text(hit.reduced_formula or "-"),
            _text(group),
            _text(hit.crystal_system or "-"),
            f"{hit.similarity:.4f}",
        )
    return table


def _text(words: str, style: str = "") -> Text:
    """Show words as they are: rich would read brackets as markup, and a terminal obey an escape."""
    return Text(escaped(words), style=style)
