"""Memory and time of the CLIP loss by batch size: blocks of similarities against the whole matrix.

    python jobs/benchmarks/blocked_loss.py --json blocked_loss.json

This is one forward and backward pass for a pair of modalities of width 128, each size in its own
process. Memory is the peak of the resident set minus its size before the pass, when the features
are in memory and torch is warm; the gradients of the features count.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

DIM = 128
BUDGET_ROWS, BUDGET_MB = 65_536, 1000
SIZES = (4096, 8192, 16_384, 32_768, 65_536)


def main() -> int:
    """Measure every size in both ways; return 1 if the budget is exceeded or they disagree."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--largest-dense", type=int, default=8192)
    parser.add_argument("--block-size", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", metavar="ROWS:BLOCK_SIZE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        num_rows, block_size = map(int, options.measure.split(":"))
        print(json.dumps(measure(num_rows, block_size, options.threads)))
        return 0
    print(f"{'rows':>7} {'way':>8} {'MB':>8} {'forward s':>10} {'backward s':>11} {'loss':>12}")
    results = []
    for num_rows in options.sizes:
        ways = {"blocked": options.block_size}
        if num_rows <= options.largest_dense:
            ways["dense"] = num_rows
        for way, block_size in ways.items():
            result = in_fresh_process(num_rows, block_size, options.threads) | {"way": way}
            results.append(result)
            print(line(result), flush=True)
        if len(ways) == 2:
            print(comparison(*results[-2:]), flush=True)
    if options.json:
        machine = {"cpu": cpu_name(), "threads": options.threads, "load": os.getloadavg()[0]}
        options.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1))
    return int(any(map(is_fault, results)) or disagree(results))


def measure(num_rows: int, block_size: int, num_threads: int) -> dict[str, float]:
    """Run one pass in this process."""
    import torch
    from torch.nn import functional

    from omnimat.objectives.clip import ClipSettings
    from omnimat.objectives.embeddings import Embeddings

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
    logit_scale = torch.tensor([2.66], requires_grad=True)  # temperature 0.07
    warm = features(64)
    small = objective.model_copy(update={"block_size": 16})
    small(warm, warm, 0, logit_scale)["structure|text"].backward()
    batch = features(num_rows)
    before_mb = resident_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    start_s = time.perf_counter()
    loss = objective(batch, batch, 0, logit_scale)["structure|text"]
    forward_s = time.perf_counter() - start_s
    loss.backward()
    backward_s = time.perf_counter() - start_s - forward_s
    norms = [value.grad.double().norm().item() for value in batch.values.values()]
    return {
        "rows": num_rows,
        "block_size": block_size,
        "added_mb": round(resident_mb("VmHWM") - before_mb, 1),
        "forward_s": round(forward_s, 3),
        "backward_s": round(backward_s, 3),
        "loss": loss.item(),
        "gradient_norm": sum(norms),
    }


def resident_mb(key: str) -> float:
    """Return a value of this process's status in units of 10^6 bytes."""
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024 / 1e6


def in_fresh_process(num_rows: int, block_size: int, num_threads: int) -> dict[str, float]:
    """Measure in a process in which nothing else has used memory before."""
    command = [sys.executable, __file__, "--threads", str(num_threads)]
    done = subprocess.run(
        [*command, "--measure", f"{num_rows}:{block_size}"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def line(result: dict) -> str:
    """Format a row of the table."""
    return (
        f"{result['rows']:7d} {result['way']:>8} {result['added_mb']:8.0f} "
        f"{result['forward_s']:10.2f} {result['backward_s']:11.2f} {result['loss']:12.7f}"
    )


def comparison(blocked: dict, dense: dict) -> str:
    """Format what blocks save and cost."""
    seconds = [result["forward_s"] + result["backward_s"] for result in (blocked, dense)]
    return (
        f"{'':16} dense / blocked: memory {dense['added_mb'] / blocked['added_mb']:.1f}, "
        f"time {seconds[1] / seconds[0]:.2f}"
    )


def is_fault(result: dict) -> bool:
    """Return whether a blocked pass exceeded the budget."""
    large = result["way"] == "blocked" and result["rows"] == BUDGET_ROWS
    return large and result["added_mb"] >= BUDGET_MB


def disagree(results: list[dict]) -> bool:
    """Return whether the two ways differ by more than float32 rounding at some size."""
    by_size: dict[int, list[dict]] = {}
    for result in results:
        by_size.setdefault(result["rows"], []).append(result)
    return any(
        abs(result[key] - group[0][key]) > 1e-5 * abs(group[0][key])
        for group in by_size.values()
        for result in group
        for key in ("loss", "gradient_norm")
    )


def cpu_name() -> str:
    """Return the name of the processor."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.processor()


if __name__ == "__main__":
    sys.exit(main())
