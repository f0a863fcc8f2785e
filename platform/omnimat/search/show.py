"""Shows materials that were found on the terminal, as tables for people or JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from omnimat.base.characters import escaped
from omnimat.base.json_records import as_records
from omnimat.search.cells import cell, group, similarity, with_interval
from omnimat.search.hits import CRYSTAL_SYSTEM, RANK, SIMILARITY
from omnimat.search.materials import FORMULA, NAME
from omnimat.search.search import Answer


def as_json(answers: Sequence[Answer]) -> str:
    """Return a JSON list of answers with the keys of ``Answer``, and rows of ``hits_of``."""
    told = [
        {field.name: getattr(one, field.name) for field in fields(one)}
        | {"hits": as_records(one.hits)}
        for one in answers
    ]
    return json.dumps(told, indent=1, allow_nan=False)


def print_tables(answers: Sequence[Answer], width: int | None) -> None:
    """Print a table of the given width for each answer; None is the width of the terminal."""
    for answer in answers:
        head = (
            f"{answer.query}: {answer.modality} -> {answer.against}, "
            f"{answer.num_candidates} materials of {answer.source}"
        )
        print_hits(head, answer.hits, answer.notes, width)


def print_hits(
    head: str,
    hits: pd.DataFrame,
    notes: Sequence[str],
    width: int | None,
    properties: Sequence[str] = (),
) -> None:
    """Print a table of hits under a line, and notes below it.

    Args:
        head: the line.
        hits: rows of ``hits_of``.
        notes: whole sentences.
        width: width of the table; None is that of the terminal.
        properties: columns of ``hits`` to show besides what every table shows.
    """
    console = Console(width=width)
    console.print(_text(head))
    table = Table("rank", "material", "formula", "space group", "crystal system")
    is_near = SIMILARITY in hits
    for name in [*([SIMILARITY] if is_near else []), *properties]:
        table.add_column(_text(name))
    for _, hit in hits.iterrows():
        cells = [hit[RANK], hit[NAME], hit[FORMULA], group(hit), hit[CRYSTAL_SYSTEM]]
        near = [similarity(hit)] if is_near else []
        told = [with_interval(hit, name) for name in properties]
        table.add_row(*(_text(cell(one)) for one in [*cells, *near, *told]))
    console.print(table)
    for note in notes:
        console.print(_text(note, style="yellow"))


def _text(words: str, style: str = "") -> Text:
    """Show words as they are: rich would read brackets as markup, and a terminal obey an escape."""
    return Text(escaped(words), style=style)
