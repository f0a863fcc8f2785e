#!/usr/bin/env python
"""The newcomer's road: how many minutes lie between a folder of CIFs and rows of a leaderboard.

The crystals are pymatgen's prototypes and decorations of them, and the label is their volume per
atom under a name that nobody knows.
"""

import csv
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import click
from measure import omnimat, report

from omnimat.materials.crystals import to_pymatgen
from omnimat.materials.record import Record
from omnimat.sources.prototypes import Prototypes

ROAD = {
    "omnimat ingest": ("ingest", "crystals", "--labels", "labels.csv"),
    "omnimat init": ("init", "crystals"),
    "omnimat run": ("run", "finetune.yaml"),
}


@click.command()
@click.option("--materials", default=400, show_default=True, help="How many crystals.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where; default: a temporary one.")
def main(materials: int, folder: Path | None) -> None:
    """Time the three commands, each in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="omnimat-newcomer-") as temporary:
        folder = folder or Path(temporary)
        write_files(folder, materials)
        rows: list[dict[str, Any]] = []
        for name, arguments in ROAD.items():
            start = time.perf_counter()
            click.echo(omnimat(folder, *arguments))
            rows.append({"command": name, "minutes": (time.perf_counter() - start) / 60})
        total = sum(row["minutes"] for row in rows)
        report("the newcomer's road", [*rows, {"command": "all", "minutes": total}], n=materials)
        click.echo(omnimat(folder, "leaderboard", "show"))


def write_files(folder: Path, num_materials: int) -> None:
    """Write a CIF of each crystal, and a table of their label."""
    (folder / "crystals").mkdir(parents=True, exist_ok=True)
    with (folder / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["sample", "response"])
        for record in Prototypes(num_materials=num_materials).read(0, num_materials):
            assert isinstance(record, Record)
            assert record.structure is not None
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of elements without an electronegativity
                crystal = to_pymatgen(record.structure)
                crystal.to(str(folder / "crystals" / f"{record.material_id}.cif"), fmt="cif")
            label = record.properties["volume_angstrom3_per_atom"]
            table.writerow([f"{record.material_id}.cif", label])


if __name__ == "__main__":
    main()
