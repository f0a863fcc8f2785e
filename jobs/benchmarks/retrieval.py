"""Time and memory of exact retrieval ranks, with and without duplicates, compared with sorting.

    python jobs/benchmarks/retrieval.py --rows 10000 150000 --json retrieval.json

The alternative sorts the whole matrix of similarities, as a simple implementation would. It takes
12 bytes per pair and is left out above ``--largest-sort`` rows. Sizes and ways take turns, each in
its own process. Memory is the peak of the resident set minus its size before ranking, when the
embeddings are in memory and torch is warm. A fifth of the materials have a duplicate.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from measure import report

ROWS = (5000, 10_000)


def main() -> int:
    """Measure every size in both ways; return 1 if they disagree."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--largest-sort", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", metavar="ROWS:WAY", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        rows, way = options.measure.split(":")
        print(json.dumps(measure(int(rows), options.dim, way, options.threads)))
        return 0
    results = [
        in_fresh_process(rows, way, options)
        for _ in range(options.repeats)
        for rows in options.rows
        for way in ("count", "sort")
        if way == "count" or rows <= options.largest_sort
    ]
    conditions = {"dim": options.dim, "threads": options.threads, "load": os.getloadavg()[0]}
    report("Retrieval ranks of one pair of modalities", results, **conditions)
    if options.json:
        options.json.write_text(json.dumps({"results": results, **conditions}, indent=1))
    return int(disagree(results))


def measure(num_rows: int, dim: int, way: str, num_threads: int) -> dict[str, float | int | str]:
    """Rank once in this process."""
    import numpy as np
    import torch

    torch.set_num_threads(num_threads)
    rank: Callable = {"count": by_counting, "sort": by_sorting}[way]
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(num_rows, dim, generator=generator)
    keys = queries + 4 * torch.randn(num_rows, dim, generator=generator)
    queries, keys = (torch.nn.functional.normalize(x, dim=1) for x in (queries, keys))
    groups = np.arange(num_rows)
    groups[:-1:10] += 1  # makes pairs of duplicates
    rank(queries[:64], keys[:64], groups[:64])
    before_mb = resident_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    raw, with_duplicates = rank(queries, keys, groups)
    seconds, cpu_seconds = time.perf_counter() - start_s, time.process_time() - start_cpu_s
    return {
        "rows": num_rows,
        "way": way,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),  # less affected by other work on the machine
        "added_mb": round(resident_mb("VmHWM") - before_mb, 1),
        "mean_rank": float(raw.mean()),
        "merged_mean_rank": float(with_duplicates.mean()),
    }


def by_counting(queries, keys, groups):  # noqa: ANN001, ANN201
    """Rank in the same way as an evaluation job."""
    from omnimat.evaluation.ranks import rank_pairs

    ranks = rank_pairs(queries, keys, groups)
    return ranks.own.expected, ranks.any_duplicate.expected


def by_sorting(queries, keys, groups):  # noqa: ANN001, ANN201
    """Rank by sorting the keys of every query and finding the place of the first right one."""
    import torch

    order = (queries @ keys.T).argsort(dim=1, descending=True)
    own = (order == torch.arange(len(keys)).unsqueeze(1)).int().argmax(dim=1) + 1
    labels = torch.from_numpy(groups)
    first = (labels[order] == labels.unsqueeze(1)).int().argmax(dim=1) + 1
    return own.double(), first.double()


def resident_mb(key: str) -> float:
    """Return a value of this process's status in units of 10^6 bytes."""
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024 / 1e6


def in_fresh_process(num_rows: int, way: str, options: argparse.Namespace) -> dict:
    """Measure in a process in which nothing else has used memory before."""
    command = [sys.executable, __file__, "--threads", str(options.threads)]
    command += ["--dim", str(options.dim), "--measure", f"{num_rows}:{way}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def disagree(results: list[dict]) -> bool:
    """Return whether the two ways differ in a mean rank at some size.

    Similarities closer than 1e-6, of which there are many among 10^8, count as ties here but have
    an order when sorted. The relative difference of mean ranks is at most 1e-4.
    """
    by_size: dict[int, list[dict]] = {}
    for result in results:
        by_size.setdefault(result["rows"], []).append(result)
    return any(
        abs(result[key] - group[0][key]) > 1e-4 * group[0][key]
        for group in by_size.values()
        for result in group
        for key in ("mean_rank", "merged_mean_rank")
    )


if __name__ == "__main__":
    sys.exit(main())
