"""The commands that pack a trained model, and those that use one."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import click

from omnimat.cli.tables import TABLES, check_ending, shown, write_table
from omnimat.cli.terminal import say

_INPUTS = """\b
Each INPUT is a file, a folder, a pattern in quotes, a formula, or a sentence in quotes.
"""


@click.command()
@click.argument("run_name", metavar="RUN")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="PATH",
    show_default="RUN",
    help="Folder to write, or a zip where the name ends in .zip.",
)
@click.option(
    "--variant",
    metavar="NAME",
    show_default="the one of the least validation error",
    help="Which variant of a sweep to pack.",
)
def package(run_name: str, out: Path | None, variant: str | None) -> None:
    """Pack the model of a finished RUN for use anywhere: its weights, its card, its limits.

    The package of a pretrain job embeds; that of a finetune job predicts too, by the mean over the
    seeds, with intervals that were measured on the validation split.
    """
    from omnimat.base.workspace import Workspace
    from omnimat.inference.build import package as pack

    where = out or Path(run_name)
    card = pack(run_name, Workspace.open(), where, variant)
    num_bytes = sum(file.size_bytes for file in card.files.values())
    say(f"{where}: {len(card.files)} files, {num_bytes / 2**20:.1f} MiB")


_model = click.argument("model_path", metavar="MODEL", type=click.Path(path_type=Path))
_inputs = click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
_strict = click.option(
    "--strict",
    is_flag=True,
    help="End with an error, and write nothing, if anything cannot be used.",
)
_out = functools.partial(
    click.option, "-o", "--out", type=click.Path(path_type=Path), metavar="FILE"
)
_device = click.option(
    "--device",
    metavar="NAME",
    show_default="a GPU where there is one",
    help="Where to compute: cpu, cuda:0.",
)


@click.command(epilog=_INPUTS)
@_model
@_inputs
@_out(help="Table to write: .csv, .jsonl or .parquet.", show_default="print")
@_device
@_strict
def predict(
    model_path: Path, inputs: tuple[str, ...], out: Path | None, device: str | None, strict: bool
) -> None:
    """Predict properties with a packed MODEL, a row for each crystal of each INPUT."""
    check_ending(out, TABLES)
    from omnimat.inference.model import load

    table = load(model_path, device).predict(inputs, strict=strict, progress=out is not None)
    write_table(table, out)


@click.command(epilog=_INPUTS)
@_model
@_inputs
@_out(required=True, help="Vectors to write: .npz with names and vectors, or .parquet.")
@click.option("--modality", metavar="NAME", help="Whose encoder embeds, if MODEL has several.")
@_device
@_strict
def embed(
    model_path: Path,
    inputs: tuple[str, ...],
    out: Path,
    modality: str | None,
    device: str | None,
    strict: bool,
) -> None:
    """Embed each crystal of each INPUT with a packed MODEL."""
    check_ending(out, (".npz", ".parquet"))
    import numpy as np
    import pandas as pd

    from omnimat.inference.model import load

    found = load(model_path, device).embed(inputs, modality, strict=strict)
    for name, why in zip(found.names, found.notes, strict=True):
        if why:
            say(shown(f"{name}: {why}"), to_stderr=True)
    if out.suffix == ".npz":
        np.savez(out, allow_pickle=False, names=np.array(found.names), vectors=found.vectors)
        return
    columns: dict[str, Any] = {"name": found.names, "vector": list(found.vectors)}
    pd.DataFrame({**columns, "notes": found.notes}).to_parquet(out, index=False)


@click.group()
def models() -> None:
    """Look at packed models."""


@models.command()
@_model
def show(model_path: Path) -> None:
    """Print what is known about a MODEL: what it predicts, how well, and of what it learned."""
    from omnimat.inference.package import Package
    from omnimat.inference.readme import model_card

    say(model_card(Package(model_path).card).partition("\n---")[2].strip())


@models.command()
@_model
def check(model_path: Path) -> None:
    """Hold every file of a MODEL against its card."""
    from omnimat.inference.package import Package

    package = Package(model_path)
    package.check()
    say(f"{model_path}: {len(package.card.files)} files are as the card says")
