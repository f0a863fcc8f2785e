"""The commands that index materials, and find some of them again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimat.base.errors import UserError
from omnimat.cli.tables import shown
from omnimat.cli.terminal import say, width

if TYPE_CHECKING:
    from omnimat.search.encoders import Encoders
    from omnimat.search.index import Index

JSON_OPTION = click.option("--json", "is_json", is_flag=True, help="Print JSON.")
_INDEX_EXAMPLES = """\b
Examples:
  omnimat index volume 'candidates/*.cif' -o candidates-index --known measured.csv --id file
  omnimat index volume --dataset mp118k -o mp118k-index
  omnimat index volume vectors/ -o vectors-index      # Parquet tables of embeddings
"""
_SEARCH_EXAMPLES = """\b
Examples:
  omnimat search mp20-anchored quartz.cif --top 5
  omnimat search mp20-anchored sample.xy --against structure
  omnimat search mp20-anchored Li0.5CoO2 --against composition --split test
  omnimat search clac "a layered oxide with a wide band gap" --json
  omnimat search volume quartz.cif --index candidates-index
"""


@click.command(epilog=_INDEX_EXAMPLES)
@click.argument("model_path", metavar="MODEL", type=click.Path(path_type=Path))
@click.argument("inputs", metavar="INPUT...", nargs=-1)
@click.option("--dataset", metavar="NAME", help="Index this data set of the storage.")
@click.option(
    "-o", "--out", required=True, metavar="FOLDER", help="Folder to write the index to, or a URI."
)
@click.option("--modality", metavar="NAME", help="Whose encoder embeds, if MODEL has several.")
@click.option("--known", metavar="FILE", help="Table of known properties, by which to screen.")
@click.option(
    "--id",
    "id_column",
    default="material_id",
    show_default=True,
    metavar="COLUMN",
    help="Column of --known with the names of the materials or of their files.",
)
@click.option(
    "--device",
    metavar="NAME",
    show_default="a GPU where there is one",
    help="Where to compute: cpu, cuda:0.",
)
@click.option("--strict", is_flag=True, help="End with an error if anything cannot be embedded.")
def index(
    model_path: Path,
    inputs: tuple[str, ...],
    dataset: str | None,
    out: str,
    device: str | None,
    **chosen: Any,
) -> None:
    """Index materials with a packed MODEL: embed them, and predict them if MODEL predicts.

    Each INPUT is a file, a folder, a pattern in quotes, a formula, a sentence in quotes, or a
    Parquet table or a folder of tables of embeddings that were made with MODEL. The index is a
    folder that `omnimat search --index` and `omnimat screen` read. Properties that a file, a table
    or a data set gives with a material are known of it, and so is what --known says.

    This takes one process. Millions of materials are a job of kind index, which runs on a cluster
    and can be resumed.
    """
    if not inputs and dataset is None:
        raise UserError("INPUT: give at least one, or --dataset NAME")
    from omnimat.inference.indexing import index as make
    from omnimat.inference.known import known_labels, unused
    from omnimat.inference.model import load

    given = [*inputs, *([] if dataset is None else [f"dataset:{dataset}"])]
    made = make(load(model_path, device), given, out, **chosen)
    left_out = made.left_out()
    if (known := chosen["known"]) is not None:
        labels = known_labels(known, chosen["id_column"])
        for note in unused(labels, [*made.materials["name"], *left_out["name"]]):
            say(shown(note), to_stderr=True)
    for name, reason in left_out.head(20).itertuples(index=False):
        say(f"left out: {name}: {reason}", to_stderr=True)
    if len(left_out) > 20:
        say(
            f"left out: {len(left_out) - 20} more, see {made.place}/left_out.parquet",
            to_stderr=True,
        )
    say(f"{out}: {len(made)} materials indexed, {len(left_out)} left out")
    for name in made.materials.columns[1:]:
        say(f"  {name}: {made.materials[name].notna().sum()} values")


class _Search(click.Command):
    """Lists the formats of files in its help; they are imported only when it is asked for."""

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from omnimat.search.read import kinds_of_files

        super().format_help_text(ctx, formatter)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(f"Files are read as {kinds_of_files()}.")


@click.command(cls=_Search, epilog=_SEARCH_EXAMPLES)
@click.argument("model_name", metavar="MODEL_OR_RUN")
@click.argument("queries", metavar="QUERY...", nargs=-1, required=True)
@click.option("--index", "index_path", metavar="INDEX", help="Index to search.")
@click.option(
    "--dataset",
    metavar="NAME",
    show_default="the one that the run was pretrained on",
    help="Data set to search, without an index.",
)
@click.option("--split", metavar="NAME", help="Search the materials of this split alone.")
@click.option(
    "--modality", metavar="NAME", help="Modality to ask by, if a QUERY holds more than one."
)
@click.option(
    "--against",
    metavar="NAME",
    help="Modality of the materials that QUERY is compared with, without an index.",
    show_default="structure, if the run has an encoder of it",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    metavar="N",
    help="How many materials to print.",
)
@JSON_OPTION
def search(
    model_name: str,
    queries: tuple[str, ...],
    index_path: str | None,
    dataset: str | None,
    split: str | None,
    modality: str | None,
    against: str | None,
    top: int,
    is_json: bool,
) -> None:
    """Find the materials nearest to each QUERY in the embedding space of a model.

    With an INDEX of `omnimat index`, MODEL_OR_RUN is the packed model that made it. Without, it is
    a pretraining run, and the materials are those of a data set. A QUERY is a formula, a sentence
    in quotes, or a file that holds a crystal structure, a density of states, a diffraction pattern
    or a text. The table of a density of states has the columns (or arrays) energies_ev, measured
    from the Fermi level, and dos. The first search of a data set indexes it for the run and the
    modality; later ones are fast. Ray is not needed.
    """
    from omnimat.base.workspace import Workspace
    from omnimat.search.search import search_index, search_run
    from omnimat.search.show import as_json, print_tables

    if index_path is None:
        is_name = Path(model_name).name == model_name
        is_run = is_name and Workspace.open().run(model_name).exists()
        if not is_name or (Path(model_name).exists() and not is_run):
            raise UserError(f"--index: {model_name} is no run; give an index that it made")
        answers = search_run(
            model_name,
            queries,
            Workspace.open(),
            dataset=dataset,
            split=split,
            modality=modality,
            against=against,
            top=top,
        )
    else:
        if dataset is not None or against is not None:
            raise UserError("--dataset, --against: an index has its own; leave them out")
        encoders, opened = opened_index(model_name, index_path)
        answers = search_index(encoders, opened, queries, split=split, modality=modality, top=top)
    if is_json:
        click.echo(as_json(answers))
    else:
        print_tables(answers, width=width())


def opened_index(model_name: str, index_path: str) -> tuple[Encoders, Index]:
    """Open an index, and the packed model or the run that made it.

    Raises:
        UserError: there is no such index or model.
    """
    from omnimat.base.paths import expanded_path
    from omnimat.base.workspace import EXPORT, Workspace
    from omnimat.search.encoders import Encoders
    from omnimat.search.index import Index

    opened = Index.open(expanded_path(index_path, "INDEX"))
    is_name = Path(model_name).name == model_name and not Path(model_name).exists()
    if is_name and ((run := Workspace.open().run(model_name)) / EXPORT).exists():
        return Encoders.of_run(model_name, run), opened
    from omnimat.inference.model import load
    from omnimat.inference.shipped import located

    if not located(model_name).exists():
        raise UserError(f"MODEL: {model_name} is neither a packed model nor a run of the storage")
    return load(model_name).networks.encoders, opened
