"""Tutorials: scripts in cells, as notebooks open them, become pages."""

from __future__ import annotations

import re

from documentation.markdown import code_block

_CELL = re.compile(r"^# %%(?P<mark>.*)\n", re.MULTILINE)


def page(script: str) -> str:
    """Write the page of a script.

    Args:
        script: cells that begin with ``# %%``, or with ``# %% [markdown]`` if all their lines are
            comments that hold text.

    Returns:
        The text as it is, and between it the code in blocks.
    """
    _, *cells = _CELL.split(script)
    parts = []
    for mark, text in zip(cells[::2], cells[1::2], strict=True):
        if mark.strip() == "[markdown]":
            parts.append(re.sub(r"^# ?", "", text, flags=re.MULTILINE).strip())
        elif text.strip():
            parts.append(code_block(text.strip("\n"), "python"))
    return "\n\n".join(parts) + "\n"
