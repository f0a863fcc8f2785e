#!/usr/bin/env python
"""How long the server takes for pages of materials and searches among 150,000 materials.

    python jobs/benchmarks/many_materials.py --storage FOLDER

``first`` is by a server that has just started, which opens the index and loads the model; ``again``
is any later one.

The data set, its index and a map are written into the folder, unless they are there. The crystals
are a few prototypes over and over, and the embeddings are random; both are as large as real ones.
The index says that ``mp-small`` made it, so that a search embeds with that model.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from fastapi.testclient import TestClient
from measure import median_ms, report
from upath import UPath

from omnimat.inference.model import load
from omnimat.materials.record import Record
from omnimat.search.index import write_index
from omnimat.search.materials import Contents, facts_of, rows_as_columns, table_of
from omnimat.shards.manifest import shard_name
from omnimat.shards.writer import write_shard
from omnimat.sources.merge import ShardReport, merge
from omnimat.sources.prototypes import Prototypes
from omnimat_dashboard.app import create_app

DATASET, MODEL, MODALITY = "many", "mp-small", "structure"
INDEX = f"indexes/{DATASET}"
RECORDS_PER_SHARD = 5_000
NUM_CRYSTALS = 200
RUN, NUM_ON_MAP = "mapped", 10_000  # as many as a map has by default


def write_materials(root: UPath, number: int) -> None:
    """Write the data set, the map of a run and, last, the index."""
    read = Prototypes(num_materials=NUM_CRYSTALS).read(0, NUM_CRYSTALS)
    crystals = [one for one in read if isinstance(one, Record)]
    facts = [facts_of(one) for one in crystals]
    kinds = [(one, str(told["reduced_formula"])) for one, told in zip(crystals, facts, strict=True)]
    ids = [f"many-{place:07d}" for place in range(number)]
    folder = root / "datasets" / DATASET
    folder.mkdir(parents=True)
    reports = [
        _report(folder, start // RECORDS_PER_SHARD, ids[start : start + RECORDS_PER_SHARD], kinds)
        for start in range(0, number, RECORDS_PER_SHARD)
    ]
    merge(name=DATASET, source={}, settings_fingerprint="0", reports=reports, destination=folder)
    told = [facts[place % len(facts)] for place in range(number)]
    _write_map(root, ids[:NUM_ON_MAP], told)
    _write_index(root, ids, told)


def _report(
    folder: UPath, shard: int, ids: list[str], kinds: list[tuple[Record, str]]
) -> ShardReport:
    """Write a shard of materials, whose kinds take turns."""
    chosen = [kinds[(shard * RECORDS_PER_SHARD + place) % len(kinds)] for place in range(len(ids))]
    records = (replace(kind[0], material_id=one) for kind, one in zip(chosen, ids, strict=True))
    written = write_shard(folder / shard_name(shard), records)
    rows = tuple(
        row | {"split": "train", "reduced_formula": formula}
        for row, (_, formula) in zip(written.rows, chosen, strict=True)
    )
    return ShardReport(
        entry=written.entry,
        excluded_ids=(),
        rows=rows,
        failures=(),
        licences=("CC0-1.0",),
        database_versions=("1",),
    )


def _write_map(root: UPath, ids: list[str], facts: list[dict[str, object]]) -> None:
    folder = root / "runs" / RUN / "maps"
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "material_id": ids,
            "reduced_formula": [str(one["reduced_formula"]) for one in facts[: len(ids)]],
            "x": noise.normal(size=len(ids)),
            "y": noise.normal(size=len(ids)),
            "formation_energy_ev_per_atom": noise.normal(size=len(ids)),
        }
    )
    table.to_parquet(folder / "structure-umap.parquet")


def _write_index(root: UPath, ids: list[str], facts: list[dict[str, object]]) -> None:
    encoders = load(MODEL, "cpu").networks.encoders
    width = encoders.cards[MODALITY].embedding_dim
    noise = np.random.default_rng(0)
    vectors = noise.normal(size=(len(ids), width)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    predicted = {"predicted.band_gap_ev": noise.random(len(ids))}
    columns = {"name": ids} | rows_as_columns(facts) | predicted
    origin = encoders.origin(MODALITY, DATASET)
    write_index(root / INDEX, origin, Contents(table_of(columns), vectors, ()))


CIF = "data_x\n" + "\n".join(
    f"_cell_{name} {value}"
    for name, value in {
        "length_a": 5.64,
        "length_b": 5.64,
        "length_c": 5.64,
        "angle_alpha": 90,
        "angle_beta": 90,
        "angle_gamma": 90,
    }.items()
)
CIF += """
_symmetry_space_group_name_H-M 'F m -3 m'
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Na 0 0 0
Cl 0.5 0 0
"""


def check_answered(answer: Any) -> None:
    """Insist on an answer: the page of a search also says why there is none."""
    answer.raise_for_status()
    if 'class="missing' in answer.text.partition('id="answer"')[2]:
        raise SystemExit("a search was not answered; ask for it in a browser to see why")


def measure(url: str, root: UPath, material_id: str, repeats: int) -> list[dict[str, Any]]:
    """Time pages of materials and searches, one after the other."""
    rows = []
    with TestClient(create_app(url, str(root)), "http://127.0.0.1") as client:
        asked: dict[str, Callable[[], Any]] = {
            "material": lambda: client.get(f"/materials/{DATASET}/{material_id}"),
            "materials by id": lambda: client.get(f"/materials/{DATASET}?q={material_id[:9]}"),
            "materials by formula": lambda: client.get(f"/materials/{DATASET}?q=NaCl"),
            "data set": lambda: client.get(f"/dataset/{DATASET}"),
            "map": lambda: client.get(f"/map/{RUN}"),
            "search, form alone": lambda: client.get("/search"),
            "search by elements": lambda: client.get("/search?elements=O"),
            "search by a CIF": lambda: client.post("/search?file=salt.cif", content=CIF),
        }
        for name, ask in asked.items():

            def answered(ask: Callable[[], Any] = ask) -> None:
                check_answered(ask())

            first_ms, again_ms = median_ms(answered, 1), median_ms(answered, repeats)
            rows.append({"page": name, "first, ms": first_ms, "again, ms": again_ms})
    return rows


@click.command()
@click.option("--storage", type=click.Path(path_type=Path), required=True)
@click.option("--materials", "number", default=150_000, show_default=True)
@click.option("--repeats", default=20, show_default=True)
def main(storage: Path, number: int, repeats: int) -> None:
    """Print the table."""
    root = UPath(storage.absolute())
    if not (root / INDEX).exists():
        write_materials(root, number)
    report(
        f"server time of materials and searches among {number:,} materials",
        measure(f"sqlite:///{root}/leaderboard.sqlite", root, f"many-{number // 2:07d}", repeats),
        materials=number,
        repeats=repeats,
    )


if __name__ == "__main__":
    main()
