#!/usr/bin/env python
"""What it costs that each batch of crystals has a size of its own, and what ghosts save.

    python jobs/benchmarks/batch_sizes.py --dataset $OMNIMAT_STORAGE/datasets/unimat-mp20

The gated graph network learns from batches that are drawn anew each time, from the graphs as they
are and with ghost atoms and edges that round their sizes up, in fresh processes that take turns.
"""

import itertools
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import click
import numpy as np
import torch
from measure import in_fresh_process, peak_mb, report, start_peak_mb
from torch import Tensor
from upath import UPath

from omnimat.materials.record import Record
from omnimat.modalities.batch import collate, feature_table
from omnimat.modalities.structure.features import CrystalGraph
from omnimat.modalities.structure.gated import GatedGraphSettings
from omnimat.modalities.structure.gated_network import GatedGraph
from omnimat.modalities.structure.ghosts import with_ghosts
from omnimat.modalities.tensors import ModalityTensors
from omnimat.nn.precision import fast_products
from omnimat.stream.training_records import training_records
from omnimat.testing.materials import example_records

GRAPH = CrystalGraph(
    neighbors="within_cutoff", cutoff_angstrom=8.0, max_neighbors=12, lattice_sums="none"
)
PRECISIONS = ("float32", "fast_fp32", "bf16")


Embed = Callable[[Mapping[str, Tensor]], Tensor]


def ways(network: GatedGraph) -> Mapping[str, Embed]:
    """Give the ways to compare, whichever of them the network takes by itself."""
    return {
        "as they are": network.of_graphs,
        "ghosts": lambda arrays: network.of_graphs(with_ghosts(arrays))[:-1],
    }


def batches(records: Sequence[Record], size: int, count: int) -> list[Mapping[str, Tensor]]:
    """Draw batches of crystals, each with atoms and edges of its own number."""
    table = feature_table(records, {"structure": GRAPH})
    generator = np.random.default_rng(0)
    drawn = (generator.choice(len(table), size, replace=False) for _ in range(count))
    return [
        ModalityTensors.from_numpy(
            collate(table.take(rows), {"structure": GRAPH}).modalities["structure"]
        ).arrays
        for rows in drawn
    ]


def measured(
    network: GatedGraph, embed: Embed, drawn: Sequence[Mapping[str, Tensor]], precision: str
) -> None:
    """Learn from each batch once, and print what a step of the later half takes."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    before_mb, seconds = start_peak_mb(), []
    for arrays in drawn:
        started_s = time.process_time()
        with fast_products(precision == "fast_fp32"):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                outputs = embed(arrays)
            optimizer.zero_grad()
            outputs.float().square().mean().backward()
            optimizer.step()
        seconds.append(time.process_time() - started_s)
    later = statistics.fmean(seconds[len(seconds) // 2 :])
    print(json.dumps({"ms": 1e3 * later, "MB": peak_mb() - before_mb}))


@click.command(help=__doc__.split("\n")[0])
@click.option("--batch", default=64, show_default=True, help="Number of crystals in a batch.")
@click.option("--steps", default=100, show_default=True, help="Number of batches.")
@click.option("--repeats", default=2, show_default=True)
@click.option("--dataset", help="Folder of a data set; default: built-in prototypes.")
@click.option("--one", hidden=True, help="What a fresh process measures.")
def main(batch: int, steps: int, repeats: int, dataset: str | None, one: str | None) -> None:
    """Measure each way in fresh processes, and print CPU seconds of a step and memory."""
    if one is None:
        compare(repeats, batch, steps, dataset)
        return
    precision, way = one.split(",")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    kept = 4000
    if dataset is None:
        records: Sequence[Record] = example_records(kept, max_atoms=20)
    else:
        stream = training_records(UPath(dataset), ["structure"])
        records = tuple(itertools.islice(stream, kept))
    network = GatedGraphSettings().build(128)
    assert isinstance(network, GatedGraph)
    measured(network, ways(network)[way], batches(records, batch, steps), precision)


def compare(repeats: int, *conditions: object) -> None:
    """Let the processes take turns, and print the medians and their ratios."""
    options = dict(zip(("--batch", "--steps", "--dataset"), conditions, strict=True))
    given = [word for pair in options.items() if pair[1] is not None for word in pair]
    rows = []
    for precision in PRECISIONS:
        found: dict[str, list[dict[str, float]]] = {"as they are": [], "ghosts": []}
        for way in list(found) * repeats:
            found[way].append(in_fresh_process("--one", f"{precision},{way}", *given))
        row: dict[str, object] = {"precision": precision}
        for key, unit in (("ms", "CPU ms a step"), ("MB", "MB")):
            values = {n: statistics.median(one[key] for one in them) for n, them in found.items()}
            row |= {f"{unit}, {name}": value for name, value in values.items()}
            row[f"ratio of {key}"] = values["ghosts"] / values["as they are"]
        rows.append(row)
    report("gated_graph small", rows, **{name.strip("-"): one for name, one in options.items()})


if __name__ == "__main__":
    main()
