#!/usr/bin/env python
"""CPU time to disturb a powder pattern and to learn from it, by the settings of jobs/rruff.

    python jobs/benchmarks/patterns.py

The patterns are drawn: a hundred lines at random angles each, as many as a mineral shows.
"""

import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch
import yaml
from torch.nn.functional import cross_entropy

from omnimat.modalities.xrd.augment import XrdAugmentation
from omnimat.modalities.xrd.cnn import XrdCnnSettings
from omnimat.modalities.xrd.features import Reflections, XrdPattern

RRUFF = Path(__file__).parents[1] / "rruff"
NUM_LINES = 100


def drawn_patterns(count: int, pattern: XrdPattern) -> np.ndarray:
    """Draw patterns, shape (count, num_points)."""
    generator = np.random.default_rng(0)
    lowest, highest = pattern.two_theta_min_degree, pattern.two_theta_max_degree
    curves = []
    for _ in range(count):
        angles = generator.uniform(lowest, highest, NUM_LINES)
        lines = Reflections(angles, generator.exponential(size=NUM_LINES), np.zeros((NUM_LINES, 3)))
        curves.append(pattern.curve(lines))
    return np.stack(curves).astype(np.float32)


def cpu_ms(work: Callable[[], object], repeats: int) -> float:
    """Give the least CPU time of some repetitions, after one to warm up."""
    times_s = []
    for _ in range(repeats + 1):
        start_s = time.process_time()
        work()
        times_s.append(time.process_time() - start_s)
    return 1000 * min(times_s[1:])


@click.command()
@click.option("--batch-size", default=64, show_default=True)
@click.option("--repeats", default=5, show_default=True)
def main(batch_size: int, repeats: int) -> None:
    """Print CPU milliseconds a pattern."""
    torch.set_num_threads(1)
    xrd = yaml.safe_load((RRUFF / "pretrain.yaml").read_text())["modalities"]["xrd"]
    trained = yaml.safe_load((RRUFF / "train.yaml").read_text())
    pattern = XrdPattern.model_validate(xrd["featurizer"])
    augmentation = XrdAugmentation.model_validate(trained["augmentation"]["xrd"])
    curves = drawn_patterns(batch_size, pattern)

    def vary(rows: slice) -> None:
        count = len(curves[rows])
        generators = [np.random.default_rng(seed) for seed in range(count)]
        augmentation.vary({"intensity": curves[rows]}, pattern, generators)

    def one_by_one() -> None:
        for row in range(batch_size):
            vary(slice(row, row + 1))

    networks = {
        "the network of jobs/rruff": xrd["encoder"],
        "a narrower first layer, twice as many points": {"widths": [8, 16, 32, 64, 96, 128]},
    }
    works: dict[str, Callable[[], None]] = {
        "disturbed together": lambda: vary(slice(None)),
        "disturbed one by one": one_by_one,
        **{name: learning(encoder, curves) for name, encoder in networks.items()},
    }
    for name, work in works.items():
        print(f"{cpu_ms(work, repeats) / batch_size:.3f} ms  {name}", flush=True)


def learning(encoder: object, curves: np.ndarray) -> Callable[[], None]:
    """Give what makes a step without the optimizer, in bf16."""
    network = XrdCnnSettings.model_validate(encoder).build(128)
    wanted, patterns = torch.zeros(len(curves), dtype=torch.long), torch.from_numpy(curves)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = network({"intensity": patterns})
        cross_entropy(outputs.float(), wanted).backward()

    return step


if __name__ == "__main__":
    main()
