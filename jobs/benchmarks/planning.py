#!/usr/bin/env python
"""The speed that ``omnimat plan`` predicts, compared with that of actual runs on this machine.

    python jobs/benchmarks/planning.py

It trains on the embedded crystals from shards: planned once, and then run with each of the given
numbers of workers and featurizers on the cores of this machine.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import click
import yaml
from measure import DATA, omnimat, report
from upath import UPath

from omnimat.training.history import read_history

PRETRAIN = {
    "kind": "pretrain",
    "name": "run",
    "needs": ["data.yaml"],
    "dataset": "data",
    "modalities": {
        "structure": {"encoder": {"preset": "tiny"}},
        "xrd": {"encoder": {"preset": "paper"}},
        "composition": {"encoder": {"preset": "tiny"}},
    },
    "embedding_dim": 64,
    "objective": {"type": "all_pairs_clip"},
    "stream": {"featurizer_num_cpus": 0.1},
    "training": {
        "use_gpu": False,
        "cpus_per_worker": 0.1,
        "global_batch_size": 64,
        "num_epochs": 30,
        "report_interval_steps": 1,
        "checkpoint_interval_epochs": 30,
        "warmup_epochs": 0,
    },
}


def settings(num_workers: int, num_featurizers: int) -> list[str]:
    """Give the settings that one point changes."""
    name = f"run-{num_workers}-{num_featurizers}"
    values = {
        "name": name,
        "training.num_workers": num_workers,
        "stream.num_featurizers": num_featurizers // num_workers,
    }
    return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


def predicted(folder: Path, cores: int, overrides: list[str]) -> dict[str, Any]:
    """Plan a point; the rates are measured only for the first."""
    arguments = ["plan", "pretrain.yaml", "--cores", str(cores), "--json", *overrides]
    forecast: dict[str, Any] = json.loads(omnimat(folder, *arguments))["forecasts"][-1]
    return forecast


def measured_samples_per_s(folder: Path, name: str, warm_up_steps: int) -> float:
    """Give the materials a second over all steps after the warm-up, waits included."""
    history = read_history(UPath(folder / "storage" / "runs" / name)).iloc[warm_up_steps:]
    global_batch_size: int = PRETRAIN["training"]["global_batch_size"]  # type: ignore[index]
    return float(global_batch_size * len(history) / history["step_s"].sum())


@click.command()
@click.option(
    "--points",
    default="1x1,1x2,2x2,2x4",
    show_default=True,
    help="Points to measure: number of workers x total number of featurizers.",
)
@click.option("--warm-up-steps", default=20, show_default=True)
def main(points: str, warm_up_steps: int) -> None:
    """Print a row for each point."""
    cores = len(os.sched_getaffinity(0))
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data.yaml").write_text(yaml.safe_dump(DATA))
        (folder / "pretrain.yaml").write_text(yaml.safe_dump(PRETRAIN))
        omnimat(folder, "run", "data.yaml")
        for num_workers, num_featurizers in (map(int, p.split("x")) for p in points.split(",")):
            overrides = settings(num_workers, num_featurizers)
            forecast = predicted(folder, cores, overrides)
            omnimat(folder, "run", "pretrain.yaml", *overrides)
            samples_per_s = measured_samples_per_s(folder, overrides[1][5:], warm_up_steps)
            rows.append(
                {
                    "workers": num_workers,
                    "featurizers": num_featurizers,
                    "predicted samples/s": forecast["samples_per_s"],
                    "measured samples/s": samples_per_s,
                    "predicted / measured": forecast["samples_per_s"] / samples_per_s,
                    "limit": forecast["bottleneck"],
                }
            )
    report("predicted and measured speed of a run", rows, cores=cores)


if __name__ == "__main__":
    main()
