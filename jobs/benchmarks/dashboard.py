#!/usr/bin/env python
"""How long the server takes for a page when the leaderboard holds 100,000 rows.

    python jobs/benchmarks/dashboard.py

The rows are results of three seeds, spread over boards, each with a configuration of its own. A
page is asked for in the same process, through the whole application: ``after a write`` if a row has
just been written, so that nothing is remembered; ``again`` if nothing has changed.

A second table is of pages of materials and of searches, among a data set and an index of 150,000
materials: ``first`` opens the index and loads the model, ``again`` is any later one.
"""

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
from fastapi.testclient import TestClient
from many_materials import DATASET, write_materials
from measure import report
from upath import UPath

from omnimat.base.settings import fingerprint
from omnimat.leaderboard.row import Row
from omnimat.leaderboard.store import LeaderboardStore
from omnimat_dashboard.app import create_app
from omnimat_dashboard.links import model_slug

VARIANTS = ("finetuned", "frozen", "linear_probe", "from_scratch")
ROWS_AT_A_TIME = 5_000


def make_rows(number: int, boards: int, seeds: int = 3) -> Iterator[Row]:
    """Spread results over boards, each with a configuration as long as a usual job's."""
    noise = np.random.default_rng(0)
    for group in range(number // seeds):
        modalities = {f"modality {i}": {"encoder": {"width": 64 + i}} for i in range(4)}
        config = {"lr": 1e-3 * (1 + group % 7), "group": group, "modalities": modalities}
        level = noise.lognormal(-2, 0.5)
        for seed in range(seeds):
            yield Row(
                task=f"task {group % boards}",
                metric="mae",
                unit="eV/atom",
                higher_is_better=False,
                model=f"structure (potnet) + xrd (xrd_cnn), fusion, run {group}",
                variant=VARIANTS[group % len(VARIANTS)],
                seed=seed,
                value=float(level * noise.normal(1, 0.02)),
                num_test=8_959,
                dataset="mp20",
                dataset_fingerprint="0123456789abcdef",
                split_sha256="a" * 64,
                config=config,
                config_hash=fingerprint(config),
                code_commit="c" * 40,
                code_dirty=False,
                checkpoint_uri=f"/storage/runs/run-{group}/trials/seed{seed}/model.safetensors",
                checkpoint_sha256="b" * 64,
                predictions_uri=f"/storage/runs/run-{group}/predictions/seed{seed}.parquet",
                predictions_sha256="d" * 64,
                run_name=f"run-{group}",
                hardware={"cpu": "a cpu", "cores": 2, "memory_gib": 8.0, "gpus": []},
                wall_time_s=100.0,
                samples_seen=1_000_000,
                created_at=datetime(2026, 11, 20, tzinfo=UTC),
            )


def timed(ask: Callable[[], Any], before: Callable[[], Any], repeats: int) -> float:
    """Give the median milliseconds that asking takes, without what is done before it."""
    times_ms = []
    for _ in range(repeats):
        before()
        start = time.perf_counter()
        ask()
        times_ms.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times_ms)


def measure(url: str, store: LeaderboardStore, repeats: int) -> list[dict[str, Any]]:
    """Time each page after a write, and again when nothing has changed."""
    counter = itertools.count()
    changing = next(make_rows(3, 1))

    def write() -> None:
        store.upsert([changing.model_copy(update={"wall_time_s": float(next(counter))})])

    board = store.boards()[0].board.board_id
    model = model_slug(changing.model)
    pages = {
        "overview": "/",
        "overview, search": "/?q=frozen+fusion",
        "board": f"/board/{board}",
        "board, sorted": f"/board/{board}?sort=model",
        "board, CSV": f"/download/{board}.csv",
        "models": "/models",
        "models, search": "/models?q=fusion+1234",
        "model": f"/models/{model}",
        "runs": "/runs",
    }
    rows = []
    with TestClient(create_app(url), "http://127.0.0.1") as client:
        for name, path in pages.items():

            def ask(path: str = path) -> None:
                client.get(path).raise_for_status()

            ask()
            after_write, again = timed(ask, write, repeats), timed(ask, lambda: None, repeats)
            rows.append(
                {
                    "page": name,
                    "after a write, ms": after_write,
                    "again, ms": again,
                    "HTML, kB": len(client.get(path).content) / 1e3,
                }
            )
    return rows


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


def measure_materials(
    url: str, root: UPath, material_id: str, repeats: int
) -> list[dict[str, Any]]:
    """Time pages of materials and searches, when all is warm."""
    rows = []
    with TestClient(create_app(url, str(root)), "http://127.0.0.1") as client:
        asked: dict[str, Callable[[], Any]] = {
            "material": lambda: client.get(f"/materials/{DATASET}/{material_id}"),
            "materials by formula": lambda: client.get(f"/materials/{DATASET}?q=NaCl"),
            "search, form alone": lambda: client.get("/search"),
            "search by elements": lambda: client.get("/search?elements=O"),
            "search by a CIF": lambda: client.post("/search?file=salt.cif", content=CIF),
        }
        for name, ask in asked.items():
            start = time.perf_counter()
            check_answered(ask())
            first_ms = 1e3 * (time.perf_counter() - start)
            again_ms = timed(lambda ask=ask: check_answered(ask()), lambda: None, repeats)
            rows.append({"page": name, "first, ms": first_ms, "again, ms": again_ms})
    return rows


@click.command()
@click.option("--rows", "number", default=100_000, show_default=True)
@click.option("--boards", default=40, show_default=True)
@click.option("--materials", "num_materials", default=150_000, show_default=True)
@click.option("--repeats", default=20, show_default=True)
def main(number: int, boards: int, num_materials: int, repeats: int) -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "leaderboard.sqlite"
        url = f"sqlite:///{path}"
        store = LeaderboardStore(url)
        rows = make_rows(number, boards)
        while part := list(itertools.islice(rows, ROWS_AT_A_TIME)):
            store.upsert(part)
        size_mb = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
        report(
            f"server time of a page, {number:,} rows on {boards} boards, {size_mb:.0f} MB",
            measure(url, store, repeats),
            rows_stored=number,
            boards=boards,
            repeats=repeats,
        )
        root = UPath(folder) / "storage"
        material_id = write_materials(root, num_materials)
        report(
            f"server time of materials and searches among {num_materials:,} materials",
            measure_materials(url, root, material_id, repeats),
            materials=num_materials,
            repeats=repeats,
        )


if __name__ == "__main__":
    main()
