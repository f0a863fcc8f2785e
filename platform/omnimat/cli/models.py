"""The commands that pack a trained model, and those that use one."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from omnimat.cli.tables import TABLES, check_ending, shown, write_table
from omnimat.cli.terminal import say, width

if TYPE_CHECKING:
    from rich.text import Text

    from omnimat.base.precision import Precision

_INPUTS = """\b
Each INPUT is a file, a folder, a pattern in quotes, a table with a crystal or a
formula in each row, a data set (dataset:NAME), a formula, or a sentence in quotes.
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
@click.option(
    "--about",
    type=click.File(encoding="utf-8", errors="replace"),
    metavar="FILE",
    help="What you say of the model, in Markdown, for its card.",
)
@click.option("--half", is_flag=True, help="Keep weights in 16 bits, in half the room.")
def package(
    run_name: str, out: Path | None, variant: str | None, about: TextIO | None, *, half: bool
) -> None:
    """Pack the model of a finished RUN for use anywhere: its weights, its card, its limits.

    The package of a pretrain job embeds; that of a finetune job predicts too, by the mean over the
    seeds, with intervals that were measured on the validation split.
    """
    from omnimat.base.workspace import Workspace
    from omnimat.inference.build import package as pack

    where = out or Path(run_name)
    text = about.read() if about else ""
    card = pack(run_name, Workspace.open(), where, variant, about=text, half=half)
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
_precision = functools.partial(
    click.option,
    "--precision",
    type=click.Choice(["fp32", "bf16"]),
    help="How exactly to compute.",
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
@_precision(show_default="that of the training")
@_strict
def predict(
    model_path: Path,
    inputs: tuple[str, ...],
    out: Path | None,
    device: str | None,
    precision: Precision | None,
    strict: bool,
) -> None:
    """Predict properties with a packed MODEL, a row for each crystal of each INPUT."""
    check_ending(out, TABLES)
    from omnimat.inference.model import load

    table = load(model_path, device, precision=precision).predict(inputs, strict=strict)
    write_table(table, out)


@click.command(epilog=_INPUTS)
@_model
@_inputs
@_out(required=True, help="Vectors to write: .npz with names and vectors, or .parquet.")
@click.option("--modality", metavar="NAME", help="Whose encoder embeds, if MODEL has several.")
@_device
@_precision(show_default="fp32")
@_strict
def embed(
    model_path: Path,
    inputs: tuple[str, ...],
    out: Path,
    modality: str | None,
    device: str | None,
    precision: Precision | None,
    strict: bool,
) -> None:
    """Embed each crystal of each INPUT with a packed MODEL."""
    check_ending(out, (".npz", ".parquet"))
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from omnimat.inference.model import load
    from omnimat.inference.parts import stamped

    model = load(model_path, device, precision=precision)
    found = model.embed(inputs, modality, strict=strict)
    for name, why in zip(found.names, found.notes, strict=True):
        if why:
            say(shown(f"{name}: {why}"), to_stderr=True)
    if out.suffix == ".npz":
        np.savez(out, allow_pickle=False, names=np.array(found.names), vectors=found.vectors)
        return
    vectors = pa.array(list(found.vectors), pa.list_(pa.float32()))
    table = pa.table({"name": found.names, "vector": vectors, "notes": found.notes})
    networks = model.networks
    encoder = networks.encoders.fingerprint_of(networks.modality(modality))
    pq.write_table(stamped(table, encoder), out)


@click.group()
def models() -> None:
    """Look at packed models."""


@models.command()
@_model
def show(model_path: Path) -> None:
    """Print what is known about a MODEL: what it predicts, how well, and of what it learned."""
    from omnimat.inference.package import Package
    from omnimat.inference.readme import model_card
    from omnimat.inference.shipped import located

    say(model_card(Package(located(model_path)).card).partition("\n---")[2].strip())


@models.command("list")
@click.argument(
    "folder",
    required=False,
    type=click.Path(path_type=Path),
)
def list_(folder: Path | None) -> None:
    """List the packed models of FOLDER; without one, those that come with omnimat."""
    from rich.console import Console
    from rich.table import Table

    from omnimat.inference.columns import column_name
    from omnimat.inference.compare import models_in, size
    from omnimat.inference.shipped import SHIPPED

    if folder is None and not SHIPPED.is_dir():
        say("no model comes with this omnimat; name a FOLDER of packed models")
        return
    table = Table("model", "embeds", "predicts", "learned from", "size")
    for found in models_in(folder or SHIPPED):
        if found.card is None:
            say(shown(found.why), to_stderr=True)
            continue
        card = found.card
        predicted = () if card.predictor is None else card.predictor.predicted
        told = (
            found.path.name,
            ", ".join(card.encoders),
            ", ".join(column_name(one.task) for one in predicted),
            ", ".join(dict.fromkeys(one.dataset for one in card.trained)),
            size(card),
        )
        table.add_row(*map(_cell, told))
    Console(width=width()).print(table)


@models.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
def compare(first: Path, second: Path) -> None:
    """Lay the cards of two models side by side, and mark where they differ.

    Two errors can be compared only where they were measured on the same materials.
    """
    from rich.console import Console
    from rich.table import Table

    from omnimat.inference.compare import compared
    from omnimat.inference.package import Package
    from omnimat.inference.shipped import located

    cards = [Package(located(path)).card for path in (first, second)]
    table = Table("", "")
    for path in (first, second):
        table.add_column(_cell(str(path)))
    for fact in compared(*cards):
        table.add_row("≠" if fact.differs else "", *map(_cell, (fact.what, *fact.values)))
    Console(width=width()).print(table)


def _cell(text: str) -> Text:
    """Show what a card says as it is: it may hold what looks like markup, or worse."""
    from rich.text import Text

    return Text(str(shown(text)))


@models.command()
@_model
def check(model_path: Path) -> None:
    """Hold every file of a MODEL against its card."""
    from omnimat.inference.package import Package
    from omnimat.inference.shipped import located

    package = Package(located(model_path))
    package.check()
    say(f"{model_path}: {len(package.card.files)} files are as the card says")
