#!/usr/bin/env python
"""Speed of the same training loop under torchrun and under Ray, and how long it waits for data.

    python jobs/benchmarks/launchers.py

It trains on the embedded crystals. From a feature store, torchrun and Ray take turns, and the ratio
is that of their median steps after the warm-up. From shards under Ray, the share of a step that is
spent waiting for data is shown for several numbers of featurizer actors.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any

import click
import pandas as pd
import yaml
from measure import DATA, omnimat, report
from upath import UPath

from omnimat.training.history import read_history

MODALITIES = {
    "structure": {"encoder": {"preset": "tiny"}},
    "xrd": {"encoder": {"preset": "tiny"}},
    "composition": {"encoder": {"preset": "tiny"}},
}
FEATURES = {
    "kind": "featurize",
    "name": "features",
    "needs": ["data.yaml"],
    "dataset": "data",
    "modalities": MODALITIES,
}
PRETRAIN = {
    "kind": "pretrain",
    "name": "run",
    "needs": ["features.yaml"],
    "dataset": "data",
    "modalities": MODALITIES,
    "embedding_dim": 64,
    "objective": {"type": "all_pairs_clip"},
    "stream": {"read_from": "store"},
    "training": {
        "num_workers": 1,
        "global_batch_size": 64,
        "num_epochs": 40,
        "report_interval_steps": 1,
        "checkpoint_interval_epochs": 40,
        "warmup_epochs": 0,
    },
}


def warm_steps(folder: Path, name: str, warm_up_steps: int) -> pd.DataFrame:
    """Return a run's history after the warm-up."""
    return read_history(UPath(folder / "storage" / "runs" / name)).iloc[warm_up_steps:]


def launcher_ratio(folder: Path, rounds: int, warm_up_steps: int) -> list[dict[str, Any]]:
    """Run under the two launchers in turn."""
    steps_s: dict[str, list[float]] = {"torchrun": [], "ray": []}
    waits: dict[str, list[float]] = {"torchrun": [], "ray": []}
    for turn in range(rounds):
        for launcher in steps_s:
            name = f"{launcher}-{turn}"
            omnimat(
                folder, "train", "pretrain.yaml", f"--launcher={launcher}", "--set", f"name={name}"
            )
            history = warm_steps(folder, name, warm_up_steps)
            steps_s[launcher].append(float(history["step_s"].median()))
            waits[launcher].append(float(history["data_wait_share"].median()))
    medians = {launcher: statistics.median(times) for launcher, times in steps_s.items()}
    return [
        {
            "launcher": launcher,
            "step, ms": 1e3 * medians[launcher],
            "samples/s": PRETRAIN["training"]["global_batch_size"] / medians[launcher],  # type: ignore[index]
            "data wait": statistics.median(waits[launcher]),
            "samples/s against torchrun": medians["torchrun"] / medians[launcher],
        }
        for launcher in medians
    ]


def waits_by_actors(folder: Path, actors: tuple[int, ...], warm_up: int) -> list[dict[str, Any]]:
    """Train from shards with each of these numbers of featurizer actors."""
    rows = []
    for number in actors:
        name = f"actors-{number}"
        settings = {"name": name, "stream.read_from": "shards", "stream.num_featurizers": number}
        settings |= {"stream.featurizer_num_cpus": 0.1, "training.num_epochs": 12}
        settings |= {"training.checkpoint_interval_epochs": 12}
        pairs = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        omnimat(folder, "run", "pretrain.yaml", *pairs)
        history = warm_steps(folder, name, warm_up)
        rows.append(
            {
                "featurizer actors": number,
                "samples/s": float(history["samples_per_s"].median()),
                "data wait, mean": float(history["data_wait_s"].sum() / history["step_s"].sum()),
            }
        )
    return rows


@click.command()
@click.option("--rounds", default=3, show_default=True, help="Number of runs under each launcher.")
@click.option("--warm-up-steps", default=12, show_default=True)
@click.option("--actors", multiple=True, type=int, default=(1, 2, 3), show_default=True)
def main(rounds: int, warm_up_steps: int, actors: tuple[int, ...]) -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        jobs = {"data": DATA, "features": FEATURES, "pretrain": PRETRAIN}
        for job, values in jobs.items():
            (folder / f"{job}.yaml").write_text(yaml.safe_dump(values))
        omnimat(folder, "run", "features.yaml")
        report(
            "one loop, two launchers, from a feature store",
            launcher_ratio(folder, rounds, warm_up_steps),
            rounds=rounds,
        )
        report("waiting for data, from shards", waits_by_actors(folder, actors, warm_up_steps))


if __name__ == "__main__":
    main()
