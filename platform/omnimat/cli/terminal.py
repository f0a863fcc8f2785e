"""How text is shown in a terminal."""

from __future__ import annotations

import sys

import click

from omnimat.base.characters import escaped

LOG_WIDTH = 180


def width() -> int | None:
    """Give None on a terminal, which knows its own width; a file or the log of a job has none."""
    return None if sys.stdout.isatty() else LOG_WIDTH


def say(text: str, *, to_stderr: bool = False) -> None:
    """Print lines that may hold what strangers wrote; a terminal obeys none of it."""
    click.echo(escaped(text), err=to_stderr)
