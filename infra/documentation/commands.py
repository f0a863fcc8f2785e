"""The reference of the command line: what every command prints with ``--help``."""

from __future__ import annotations

from collections.abc import Iterator

import click

from documentation.markdown import code_block

WIDTH = 100
"""Characters of a line of help."""


def page(root: click.Command, name: str) -> str:
    """Write the page of a command and of all below it.

    Args:
        root: the command.
        name: what a user calls it by.
    """
    parts = ["# Commands", f"What `{name} COMMAND --help` prints."]
    for context in below(click.Context(root, info_name=name, terminal_width=WIDTH)):
        parts += [f"## `{context.command_path}`", code_block(context.get_help(), "text")]
    return "\n\n".join(parts) + "\n"


def below(context: click.Context) -> Iterator[click.Context]:
    """Give the context of a command and of all below it."""
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            if command is not None and not command.hidden:
                yield from below(click.Context(command, context, name, terminal_width=WIDTH))
