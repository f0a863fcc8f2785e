"""A leaderboard of 100,000 rows: how large it is, and how long its overview takes.

    python jobs/benchmarks/leaderboard_store.py [--rows 100000] [--url postgresql://...]

The rows are like those of a fine-tuning sweep: 13 tasks on 3 data sets with three seeds each, where
the tasks that one network learned share a configuration. The overview needs the boards and the best
results of each; a page of one board needs all its results. Nothing is cached. For comparison, all
rows are read and averaged in Python.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
from measure import interleaved, report

from omnimat.base.settings import fingerprint
from omnimat.leaderboard.row import Row
from omnimat.leaderboard.store import LeaderboardStore

TASKS = (
    ("lattice lengths, scaled", "mae", "angstrom"),
    ("lattice lengths", "mae", "angstrom"),
    ("lattice angles", "mae", "degree"),
    ("formation energy", "mae", "eV/atom"),
    ("crystal system", "accuracy", ""),
    ("metal or not", "accuracy", ""),
    ("bulk modulus", "mae", "GPa"),
    ("bulk modulus, log10", "mae", "log10(GPa)"),
    ("shear modulus", "mae", "GPa"),
    ("shear modulus, log10", "mae", "log10(GPa)"),
    ("elastic tensor", "mae", "GPa"),
    ("elastic tensor, 15 components", "mae", "GPa"),
    ("band gap, HSE", "mae", "eV"),
)
DATASETS = ("mp20", "mp118k", "materials-project")
VARIANTS = ("finetuned", "frozen", "linear_probe", "from_scratch")
NUM_SEEDS = 3
ROWS_AT_A_TIME = 1000
BEST_OF_BOARD = 10
BUDGET_MB, BUDGET_MS = 200, 300
PLAIN = "all rows, averaged in Python"


def main() -> None:
    """Write the rows, then time the queries."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--url", help="URL of an empty database; default: an SQLite file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "leaderboard.sqlite"
        store = LeaderboardStore(arguments.url or f"sqlite:///{path}")
        insert_s = written(store, arguments.rows)
        one = next(made_rows(1))
        one_ms = 1000 * interleaved({"one": lambda: store.upsert([one])}, 15)["one"]
        counts = store.boards()
        board = counts[0].board
        timed = {
            "boards": store.boards,
            "best of each board": lambda: store.summaries(limit=BEST_OF_BOARD),
            "overview (both)": lambda: (store.boards(), store.summaries(limit=BEST_OF_BOARD)),
            "all of one board": lambda: store.summaries(board),
            "all of all boards": store.summaries,
            "version": store.version,
        }
        milliseconds = {
            name: 1000 * value for name, value in interleaved(timed, arguments.repeats).items()
        }
        start_s = time.perf_counter()
        averaged(store.rows())  # only once, since it takes a hundred times as long as the others
        milliseconds[PLAIN] = 1000 * (time.perf_counter() - start_s)
        files = [] if arguments.url else list(path.parent.iterdir())
        size_mb = sum(file.stat().st_size for file in files) / 1e6 or None
    lines = [{"what": name, "ms": value} for name, value in milliseconds.items()]
    overview_ms = milliseconds["overview (both)"]
    report(
        f"leaderboard of {arguments.rows:,} rows",
        lines,
        num_results=sum(count.num_results for count in counts),
        insert_s=insert_s,
        insert_one_ms=one_ms,
        size_mb=size_mb,
        overview_speedup=milliseconds[PLAIN] / overview_ms,
        within_budget=overview_ms < BUDGET_MS and (size_mb is None or size_mb < BUDGET_MB),
    )


def written(store: LeaderboardStore, count: int) -> float:
    """Write rows, some at a time as drivers do, and give the seconds that it took."""
    rows, seconds = made_rows(count), 0.0
    while batch := list(islice(rows, ROWS_AT_A_TIME)):
        start_s = time.perf_counter()
        store.upsert(batch)
        seconds += time.perf_counter() - start_s
    return seconds


def made_rows(count: int) -> Iterator[Row]:
    """Make ``count`` rows."""
    generator = np.random.default_rng(0)
    first = datetime(2026, 1, 1, tzinfo=UTC)
    number = 0
    for run in range(count):
        dataset, variant = DATASETS[run % len(DATASETS)], VARIANTS[run % len(VARIANTS)]
        config = made_config(run, dataset)
        config_hash = fingerprint(config)
        for task, metric, unit in TASKS:
            level = generator.lognormal(-1, 0.3)
            for seed in range(NUM_SEEDS):
                if number == count:
                    return
                number += 1
                yield Row(
                    task=task,
                    metric=metric,
                    unit=unit,
                    higher_is_better=metric == "accuracy",
                    model=f"structure (potnet) + xrd (cnn), concat fusion, from run-{run:05d}",
                    variant=variant,
                    seed=seed,
                    value=level * generator.normal(1, 0.01),
                    num_test=8959,
                    dataset=dataset,
                    dataset_uri=f"s3://materials/omnimat/datasets/{dataset}",
                    dataset_fingerprint=fingerprint(dataset),
                    split_sha256=fingerprint(dataset) * 4,
                    config_hash=config_hash,
                    config=config,
                    code_commit="9dca9ab2" * 5,
                    code_dirty=False,
                    checkpoint_uri=f"s3://materials/omnimat/runs/run-{run:05d}/trials/{variant}-"
                    f"lr0.001-seed{seed}/model.safetensors",
                    checkpoint_sha256=fingerprint([run, seed]) * 4,
                    predictions_uri=f"s3://materials/omnimat/runs/run-{run:05d}/predictions/"
                    f"{task.replace(' ', '-')}/{variant}-seed{seed}.parquet",
                    predictions_sha256=fingerprint([run, seed, task]) * 4,
                    parent_run=f"pretrain-{run:05d}",
                    run_name=f"run-{run:05d}",
                    hyperparameters={"lr": 1e-3, "best_epoch": int(generator.integers(1, 100))},
                    details={"num_train": 26251},
                    hardware={"cpu": "a processor", "cores": 2, "memory_gib": 15.6, "gpus": []},
                    wall_time_s=float(np.round(generator.uniform(60, 600), 1)),
                    samples_seen=int(generator.integers(1e6, 1e7)),
                    created_at=first + timedelta(seconds=number),
                )


def made_config(run: int, dataset: str) -> dict[str, object]:
    """Make a configuration as long as that of a fine-tuning job, about 4 kB."""
    encoder = {f"setting_{i}": i * 1.5 for i in range(40)}
    card = {"encoder": encoder, "featurizer": encoder, "embedding_dim": 128, "parent_run": "p"}
    tasks = [{"name": task, "metric": metric, "unit": unit} for task, metric, unit in TASKS]
    trial = {"num_epochs": 100, "batch_size": 64, "weight_decay": 1e-4, "number": run}
    cards = {"structure": card, "xrd": card}
    return {"dataset": dataset, "tasks": tasks, "trial": trial, "cards": cards}


def averaged(rows: list[Row]) -> dict[str, tuple[float, float | None]]:
    """Average over seeds outside the database."""
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        values[row.group_id].append(row.value)
    return {name: (fmean(of), stdev(of) if len(of) > 1 else None) for name, of in values.items()}


if __name__ == "__main__":
    main()
