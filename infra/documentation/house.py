"""The page of the rooms of the package: what each file in them is for, and who imports whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import import_graph

from documentation.markdown import cell, code_block


def page(package: Path) -> str:
    """Write the page.

    Args:
        package: folder of the package.
    """
    parts = [
        "# The rooms of the package",
        '<!-- section "The road" of README.md -->',
        code_block(import_graph.drawing(import_graph.module_graph()), "text"),
    ]
    for floor in reversed((*import_graph.FLOORS, import_graph.BESIDE)):
        parts += ["\n".join(_room(package / room)) for room in floor]
    return "\n\n".join(parts) + "\n"


def _room(folder: Path) -> Iterator[str]:
    yield from (f"## `{folder.name}`", "", "| file | what it is |", "|---|---|")
    for file in sorted(folder.rglob("*.py")):
        told = ast.get_docstring(ast.parse(file.read_text())) or ""
        if told:
            first = " ".join(told.partition("\n\n")[0].split()).replace("``", "`")
            yield f"| `{file.relative_to(folder).as_posix()}` | {cell(first)} |"
