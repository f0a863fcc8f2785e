"""The command that chooses materials of an index by what is known and predicted of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from omnimat.base.errors import UserError
from omnimat.cli.search import JSON_OPTION, opened_index
from omnimat.cli.tables import TABLES, check_ending, write_table
from omnimat.cli.terminal import say, width

_SCREEN_EXAMPLES = """\b
Examples:
  omnimat screen moduli mp118k-index --where "bulk_modulus_gpa > 200" --near target.cif
  omnimat screen moduli mp118k-index --elements O --exclude-elements Pb,Hg --stable 0.05 \\
    --largest shear_modulus_gpa --top 50 -o table.csv
  omnimat screen moduli mp118k-index \\
    --where 'crystal_system in ("cubic", "hexagonal") and predicted.band_gap_ev_low > 1'
"""


class _Symbols(click.ParamType[tuple[str, ...]]):
    """Symbols of elements, with commas between them."""

    name = "symbols"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        return tuple(one.strip() for one in value.split(",") if one.strip())


@click.command(epilog=_SCREEN_EXAMPLES)
@click.argument("model_name", metavar="MODEL")
@click.argument("index_path", metavar="INDEX")
@click.option(
    "--where",
    metavar="EXPRESSION",
    help="Comparisons of known and predicted properties, joined by and, or, not.",
)
@click.option("--near", metavar="QUERY", help="Order by similarity to this file, formula or text.")
@click.option("--modality", metavar="NAME", help="Modality of --near, if it holds more than one.")
@click.option(
    "--elements", type=_Symbols(), default="", metavar="A,B", help="Elements that all must contain."
)
@click.option(
    "--exclude-elements",
    type=_Symbols(),
    default="",
    metavar="A,B",
    help="Elements that none may contain.",
)
@click.option(
    "--stable",
    type=float,
    metavar="EV_PER_ATOM",
    help="Most energy above the convex hull.",
)
@click.option("--largest", metavar="PROPERTY", help="Order by this, the largest first.")
@click.option("--smallest", metavar="PROPERTY", help="Order by this, the smallest first.")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    metavar="N",
    help="How many materials to give.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    show_default="print",
    help="Table to write: .csv, .jsonl or .parquet.",
)
@JSON_OPTION
def screen(
    model_name: str,
    index_path: str,
    where: str | None,
    near: str | None,
    modality: str | None,
    elements: tuple[str, ...],
    exclude_elements: tuple[str, ...],
    stable: float | None,
    largest: str | None,
    smallest: str | None,
    top: int,
    out: Path | None,
    is_json: bool,
) -> None:
    """Choose materials of an INDEX that MODEL made by what is known and predicted of them.

    In an EXPRESSION, a plain name is the known value of a material, or else the predicted one;
    known.NAME and predicted.NAME are either alone, and NAME_low and NAME_high the ends of the
    interval of a prediction. Materials of which too little is known are left out and counted.
    Without --near, --largest or --smallest they are in the order of their names.
    """
    if is_json and out is not None:
        raise UserError("--json, --out: give one of them; a FILE that ends in .jsonl holds JSON")
    check_ending(out, TABLES)
    import json

    from omnimat.base.json_records import as_records
    from omnimat.search.screen import Criteria, Ranking, screened
    from omnimat.search.show import print_hits

    encoders, opened = opened_index(model_name, index_path)
    criteria = Criteria(where, elements, exclude_elements, stable)
    ranking = Ranking(near, modality, largest, smallest)
    found = screened(encoders, opened, criteria, ranking, top)
    head = f"{found.num_chosen} of {found.num_materials} materials of {opened.card.origin.source}"
    if is_json:
        click.echo(json.dumps(as_records(found.hits), indent=1, allow_nan=False))
    elif out is None:
        print_hits(head, found.hits, found.notes, width(), found.columns)
    else:
        write_table(found.hits, out)
        say(f"{head}; {out} has {len(found.hits)} of them")
    if is_json or out is not None:
        for note in found.notes:
            say(note, to_stderr=True)
