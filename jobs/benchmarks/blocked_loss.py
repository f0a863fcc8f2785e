"""Memory and time of the CLIP loss by batch size: blocks of similarities against the whole matrix.

    python jobs/benchmarks/blocked_loss.py

This is one forward and backward pass for a pair of modalities of width 128, each size in its own
process. Memory is the peak of the resident set minus its size before the pass, when the features
are in memory and torch is warm; the gradients of the features count.
"""

import json
import os
import sys
import time
from typing import Any

import click
import torch
from measure import in_fresh_process, peak_mb, report, start_peak_mb
from torch.nn import functional

from omnimat.objectives.clip import ClipSettings
from omnimat.objectives.embeddings import Embeddings

DIM = 128
BUDGET_ROWS, BUDGET_MB = 65_536, 1000
SIZES = (4096, 8192, 16_384, 32_768, 65_536)


@click.command()
@click.option("--rows", "sizes", multiple=True, default=SIZES, show_default=True)
@click.option("--largest-dense", default=8192, show_default=True)
@click.option("--block-size", default=2048, show_default=True)
@click.option("--threads", default=os.cpu_count(), show_default=True)
@click.option("--measure", "measured", nargs=2, type=int, hidden=True)
def main(
    sizes: tuple[int, ...],
    largest_dense: int,
    block_size: int,
    threads: int,
    measured: tuple[int, int] | None,
) -> None:
    """Measure every size in both ways; exit with 1 if the budget is broken or the ways disagree."""
    if measured:
        print(json.dumps(measure(*measured, threads)))
        return
    rows = []
    for num_rows in sizes:
        ways = {"blocked": block_size} | ({"dense": num_rows} if num_rows <= largest_dense else {})
        for way, size in ways.items():
            result = in_fresh_process("--threads", threads, "--measure", num_rows, size)
            rows.append({"rows": num_rows, "way": way} | result)
    report("CLIP loss of one pair of modalities", rows, threads=threads, load=os.getloadavg()[0])
    sys.exit(any(map(is_over_budget, rows)) or disagree(rows))


def measure(num_rows: int, block_size: int, num_threads: int) -> dict[str, float]:
    """Take one pass in this process."""
    torch.set_num_threads(num_threads)
    generator = torch.Generator().manual_seed(0)

    def features(count: int) -> Embeddings:
        values = {
            name: functional.normalize(
                torch.randn(count, DIM, generator=generator)
            ).requires_grad_()
            for name in ("structure", "text")
        }
        return Embeddings(values, {name: torch.ones(count, dtype=torch.bool) for name in values})

    objective = ClipSettings(block_size=block_size)
    logit_scale = torch.tensor([2.66], requires_grad=True)  # a temperature of 0.07
    warm = features(64)
    small = objective.model_copy(update={"block_size": 16})
    small(warm, warm, 0, logit_scale)["structure|text"].backward()
    batch = features(num_rows)
    before_mb, start_s, start_cpu_s = start_peak_mb(), time.perf_counter(), time.process_time()
    loss = objective(batch, batch, 0, logit_scale)["structure|text"]
    forward_s = time.perf_counter() - start_s
    loss.backward()
    return {
        "added_mb": peak_mb() - before_mb,
        "forward_s": forward_s,
        "backward_s": time.perf_counter() - start_s - forward_s,
        "cpu_s": time.process_time() - start_cpu_s,
        "loss": loss.item(),
        "gradient_norm": sum(v.grad.double().norm().item() for v in batch.values.values()),
    }


def is_over_budget(row: dict[str, Any]) -> bool:
    """Say whether a pass in blocks needs too much memory."""
    return row["way"] == "blocked" and row["rows"] == BUDGET_ROWS and row["added_mb"] >= BUDGET_MB


def disagree(rows: list[dict[str, Any]]) -> bool:
    """Say whether the two ways differ by more than float32 rounding at some size."""
    first: dict[int, dict[str, Any]] = {}
    return any(
        abs(row[key] - first.setdefault(row["rows"], row)[key]) > 1e-5 * abs(row[key])
        for row in rows
        for key in ("loss", "gradient_norm")
    )


if __name__ == "__main__":
    main()
