#!/usr/bin/env python
"""A predict job over many crystals whose driver is killed half way: is every row there once?

The crystals are those of mp118k, and copies of them whose atoms are moved at random by about a
thousandth of the cell; seven rows are broken. One crystal more of mp118k (mp-795950) has atoms 0.48
angstrom apart, so it and its copy are quarantined too. The model is tiny and has learned nothing,
unless one is given.
"""

import json
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from measure import report

import omnimat
from omnimat.base.paths import absolute_path
from omnimat.materials.record import Record
from omnimat.sources.tables.source import Table
from omnimat.testing.packages import write_package
from omnimat.testing.ray_head import clean_environment, start

MP118K = "$OMNIMAT_DATA/mp118k/structures.parquet"
COLUMNS = ["material_id", "a", "b", "c", "alpha", "beta", "gamma", "Z", "fx", "fy", "fz"]
NUM_BROKEN = 7
NUM_COMPARED = 1000
ROW_GROUP = 20_000
TOLERANCE = 1e-6  # float32 sums, in other batches


@click.command()
@click.option("--crystals", default=200_000, show_default=True, help="How many rows.")
@click.option("--structures", metavar="FILE", default=MP118K, show_default=True)
@click.option("--model", type=click.Path(path_type=Path), help="Package; default: a tiny one.")
@click.option("--featurizers", default=2, show_default=True, help="Actors that featurize.")
@click.option("--rows-per-part", default=2048, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Where; default: a temporary one.")
def main(
    crystals: int,
    structures: str,
    model: Path | None,
    featurizers: int,
    rows_per_part: int,
    folder: Path | None,
) -> None:
    """Make the table, run the job, kill it, run it again, and compare with what Python says."""
    with tempfile.TemporaryDirectory(prefix="omnimat-predict-") as temporary:
        folder = (folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        model = (model or write_model(folder / "model")).absolute()
        source = Path(absolute_path(structures, "--structures"))
        table = write_crystals(folder / "crystals.parquet", source, crystals)
        job = write_job(folder, model, featurizers, rows_per_part)
        num_parts = -(-crystals // rows_per_part)
        rows = run_twice(folder, job, num_parts)
        report("predict job", rows, **checked(folder, table, model), crystals=crystals)


def write_model(path: Path) -> Path:
    """Write a tiny model."""
    write_package(path)
    return path


def write_crystals(path: Path, structures: Path, count: int) -> pa.Table:
    """Write a table of so many crystals, perturbed copies among them."""
    source = pq.read_table(structures, columns=COLUMNS)
    copies = [
        perturbed(source.slice(0, min(len(source), count - start)), number)
        for number, start in enumerate(range(0, count, len(source)))
    ]
    table = pa.concat_tables(copies).combine_chunks()
    broken = np.random.default_rng(1).choice(count, NUM_BROKEN, replace=False)
    lengths = table["a"].to_numpy().copy()
    lengths[broken] = 0
    table = table.set_column(COLUMNS.index("a"), "a", pa.array(lengths, pa.float32()))
    table = table.replace_schema_metadata(source.schema.metadata)
    pq.write_table(table, path, row_group_size=ROW_GROUP)
    return table


def perturbed(table: pa.Table, number: int) -> pa.Table:
    """Move all atoms of a copy, and number its ids; copy 0 is the original."""
    if number == 0:
        return table
    generator = np.random.default_rng(number)
    ids = pc.binary_join_element_wise(table["material_id"], str(number), "-")
    table = table.set_column(0, "material_id", ids)
    for name in ("fx", "fy", "fz"):
        lists = table[name].combine_chunks()
        moves = generator.normal(0, 1_000, len(lists.flatten())).astype(np.int32)
        moved = pa.ListArray.from_arrays(
            pa.array(lists.offsets.to_numpy() - lists.offsets[0].as_py()),
            pa.array(lists.flatten().to_numpy() + moves, pa.int32()),
        )
        table = table.set_column(COLUMNS.index(name), name, moved.cast(table[name].type))
    return table


def source_of(path: Path) -> dict[str, Any]:
    """Say in a job file how the table is read."""
    return {"type": "table", "mapping": "cells", "path": str(path)}


def write_job(folder: Path, model: Path, featurizers: int, rows_per_part: int) -> Path:
    """Write the job file."""
    path = folder / "candidates.yaml"
    values = {
        "kind": "predict",
        "name": "candidates",
        "storage_path": str(folder / "storage"),
        "model": str(model),
        "source": source_of(folder / "crystals.parquet"),
        "output": "both",
        "rows_per_part": rows_per_part,
        "num_featurizers": featurizers,
        "featurizer_num_cpus": 0.5,
        "model_num_cpus": 0.5,
    }
    path.write_text(yaml.safe_dump(values))
    return path


def run_twice(folder: Path, job: Path, num_parts: int) -> list[dict[str, Any]]:
    """Kill the first start when it has made half of the parts; give what both starts made."""
    reports = folder / "storage" / "predictions" / "candidates" / "reports"
    starts = []
    for is_killed in (True, False):
        before = set(reports.glob("*.json"))
        started_s = time.perf_counter()
        command = [sys.executable, "-m", "omnimat.cli", "run", str(job)]
        driver = start(command, clean_environment(), folder / "log", folder)
        while driver.poll() is None:
            time.sleep(0.2)
            if is_killed and len(list(reports.glob("*.json"))) * 2 >= num_parts:
                driver.kill()
        if is_killed != (driver.wait() == -signal.SIGKILL):
            sys.exit((folder / "log").read_text())
        made = set(reports.glob("*.json")) - before
        name = "killed" if is_killed else "to the end"
        seconds = time.perf_counter() - started_s
        starts.append({"start": name, "parts made": len(made), "seconds": seconds})
    print([line for line in (folder / "log").read_text().splitlines() if "rows/s" in line][-1])
    return starts


def checked(folder: Path, table: pa.Table, model: Path) -> dict[str, Any]:
    """Insist that every row is there once, and that some say what Python says."""
    made = folder / "storage" / "predictions" / "candidates"
    result = json.loads((made / "result.json").read_text())
    files = [made / "parts" / one["name"] for one in result["parts"]]
    found = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
    bad = pd.read_parquet(made / "quarantined.parquet")
    everything = sorted([*found["material_id"], *bad["material_id"]])
    assert everything == sorted(table["material_id"].to_pylist())
    broken = table.filter(pc.equal(table["a"], 0))["material_id"].to_pylist()
    assert len(broken) == NUM_BROKEN
    assert set(broken) <= set(bad["material_id"])
    assert len(found) == result["num_rows"]
    difference = largest_difference(folder, table, found, model)
    assert difference <= TOLERANCE
    return {"num_rows": len(found), "num_quarantined": len(bad), "largest_difference": difference}


def largest_difference(folder: Path, table: pa.Table, found: pd.DataFrame, model: Path) -> float:
    """Compare random rows with what ``model.predict`` says of them."""
    chosen = found.sample(min(NUM_COMPARED, len(found)), random_state=0).sort_index()
    places = pd.Index(table["material_id"].to_pylist()).get_indexer(chosen["material_id"])
    path = folder / "compared.parquet"
    pq.write_table(table.take(pa.array(places)), path)
    source = Table.model_validate(source_of(path))
    records = [one for one in source.read(0, len(chosen)) if isinstance(one, Record)]
    wanted = omnimat.load(model).predict(records)
    numbers = wanted.select_dtypes("number").columns
    differences = chosen[numbers].to_numpy() / wanted[numbers].to_numpy() - 1
    return float(np.abs(differences).max())


if __name__ == "__main__":
    main()
