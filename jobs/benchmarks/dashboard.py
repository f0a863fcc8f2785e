#!/usr/bin/env python
"""How long the server takes for a page when the leaderboard holds 100,000 rows.

    python jobs/benchmarks/dashboard.py

The rows are results of three seeds, spread over boards, each with a configuration of its own. A
page is asked for in the same process, through the whole application: ``first`` by a server that has
just started, ``after a write`` if a row has just been written, ``again`` if nothing has changed.
"""

import itertools
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
from fastapi.testclient import TestClient
from measure import median_ms, report

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
    for name, path in pages.items():
        with TestClient(create_app(url), "http://127.0.0.1") as client:

            def ask(client: TestClient = client, path: str = path) -> None:
                client.get(path).raise_for_status()

            rows.append(
                {
                    "page": name,
                    "first, ms": median_ms(ask, 1),
                    "after a write, ms": median_ms(ask, repeats, before=write),
                    "again, ms": median_ms(ask, repeats),
                    "HTML, kB": len(client.get(path).content) / 1e3,
                }
            )
    return rows


@click.command()
@click.option("--rows", "number", default=100_000, show_default=True)
@click.option("--boards", default=40, show_default=True)
@click.option("--repeats", default=20, show_default=True)
def main(number: int, boards: int, repeats: int) -> None:
    """Print the table."""
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


if __name__ == "__main__":
    main()
