#!/usr/bin/env python
"""Two workers of one thread beside one worker of two, on the same two cores and batches.

    python jobs/benchmarks/two_workers.py

The encoders normalise within a material, so that workers meet only for the embeddings and the
gradients. With ``--batch-norm`` those have it whose tiny presets do, and every such layer meets
twice a step. The mark is 0.95 per core without batch normalisation.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any

import click
import yaml
from launchers import PRETRAIN, warm_steps
from measure import DATA, omnimat, report

GATED = {
    "featurizer": {
        "neighbors": "within_cutoff",
        "cutoff_angstrom": 8,
        "max_neighbors": 12,
        "lattice_sums": "none",
    },
    "encoder": {"type": "gated_graph", "preset": "tiny"},
}
MODALITIES = {
    False: {
        "structure": GATED,
        "dos": {"encoder": {"preset": "tiny"}},
        "text": {"featurizer": {"source": "hashed"}, "encoder": {"preset": "tiny"}},
    },
    True: {
        "structure": {"encoder": {"type": "potnet", "preset": "tiny"}},
        "xrd": {"encoder": {"preset": "tiny"}},
        "composition": {"encoder": {"preset": "tiny"}},
    },
}
SPREADS = {
    "1 worker of 2 threads": {"num_workers": 1, "threads_per_worker": 2},
    "2 workers of 1 thread": {"num_workers": 2, "threads_per_worker": 1},
}
WARM_UP_STEPS = 5


def jobs(*, batch_norm: bool, batch_size: int, num_epochs: int) -> dict[str, dict[str, Any]]:
    """Write the jobs that both take part in."""
    modalities = MODALITIES[batch_norm]
    features = {"kind": "featurize", "name": "features", "needs": ["data.yaml"]}
    training = {
        "global_batch_size": batch_size,
        "num_epochs": num_epochs,
        "report_interval_steps": 1,
        "checkpoint_interval_epochs": num_epochs,
    }
    return {
        "data": DATA,
        "features": features | {"dataset": "data", "modalities": modalities},
        "pretrain": PRETRAIN | {"modalities": modalities, "training": training},
    }


def samples_per_s(folder: Path, name: str, spread: dict[str, int]) -> float:
    """Train once under torchrun, and give the median speed after the warm-up."""
    settings = {"name": name, **{f"training.{key}": value for key, value in spread.items()}}
    pairs = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    omnimat(folder, "train", "pretrain.yaml", "--launcher=torchrun", *pairs)
    return float(warm_steps(folder, name, WARM_UP_STEPS)["samples_per_s"].median())


@click.command()
@click.option("--rounds", default=3, show_default=True, help="Runs of each.")
@click.option("--batch-size", default=64, show_default=True)
@click.option("--epochs", default=6, show_default=True)
@click.option("--batch-norm", is_flag=True, help="Take encoders with batch normalisation.")
def main(rounds: int, batch_size: int, epochs: int, batch_norm: bool) -> None:
    """Print the speeds and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written = jobs(batch_norm=batch_norm, batch_size=batch_size, num_epochs=epochs)
        for job, values in written.items():
            (folder / f"{job}.yaml").write_text(yaml.safe_dump(values))
        omnimat(folder, "run", "features.yaml")
        found: dict[str, list[float]] = {spread: [] for spread in SPREADS}
        for turn in range(rounds):
            for number, (spread, keys) in enumerate(SPREADS.items()):
                found[spread].append(samples_per_s(folder, f"run-{number}-{turn}", keys))
    peer, ours = (statistics.median(each) for each in found.values())
    row = {
        "batch norm": "yes" if batch_norm else "no",
        "2 workers x 1 thread, samples/s": ours,
        "1 worker x 2 threads, samples/s": peer,
        "ratio": ours / peer,
    }
    report("two workers beside one on the same cores", [row], rounds=rounds, batch_size=batch_size)


if __name__ == "__main__":
    main()
