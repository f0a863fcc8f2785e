"""Time and memory of exact retrieval ranks, with and without duplicates, compared with sorting.

    python jobs/benchmarks/retrieval.py --rows 10000 150000

The other way is to sort the whole matrix of similarities. It is left out above ``--largest-sort``
rows, since it takes 12 bytes a pair. Sizes and ways take turns, each in a process of its own.
Memory is the peak of the resident set above what it was with the embeddings in memory and torch
warm. A fifth of the materials have a duplicate.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable

from measure import in_fresh_process, peak_mb, report, start_peak_mb

ROWS = (5000, 10_000)


def main() -> int:
    """Measure every size in both ways; return 1 if they disagree."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--largest-sort", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--measure", metavar="ROWS:WAY", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        rows, way = options.measure.split(":")
        print(json.dumps(measure(int(rows), options.dim, way, options.threads)))
        return 0
    fixed = ("--threads", options.threads, "--dim", options.dim)
    results = [
        in_fresh_process(*fixed, "--measure", f"{rows}:{way}")
        for _ in range(options.repeats)
        for rows in options.rows
        for way in ("count", "sort")
        if way == "count" or rows <= options.largest_sort
    ]
    conditions = {"dim": options.dim, "threads": options.threads, "load": os.getloadavg()[0]}
    report("Retrieval ranks of one pair of modalities", results, **conditions)
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
    before_mb = start_peak_mb()
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    raw, with_duplicates = rank(queries, keys, groups)
    seconds, cpu_seconds = time.perf_counter() - start_s, time.process_time() - start_cpu_s
    return {
        "rows": num_rows,
        "way": way,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),  # which other work on the machine changes less
        "added_mb": round(peak_mb() - before_mb, 1),
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
