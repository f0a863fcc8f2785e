"""How long an exact search of an index takes, beside the bare product that it cannot do without.

    python jobs/benchmarks/index_search.py [--rows 1000000]

The index is written to a folder and opened as a user's is, so that the embeddings are mapped from
its file. Ours is ``nearest``: the product block by block, what may be among the first ten, and
their exact ranking. The floor is NumPy's product of all embeddings with the query, nothing more;
sorting all of its result is what a plain program would do. They take turns. Set
``OMP_NUM_THREADS`` to the number of cores.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from measure import interleaved, report
from upath import UPath

from omnimat.search.card import Origin
from omnimat.search.index import Index, write_index
from omnimat.search.materials import Chunk, Contents
from omnimat.search.nearest import nearest

_TOP = 10
_AT_A_TIME = 100_000
_MARK_MS = 100.0


@click.command()
@click.option("--rows", "num_rows", default=1_000_000, show_default=True)
@click.option("--width", "widths", multiple=True, type=int, default=[64, 128], show_default=True)
@click.option("--repeats", default=15, show_default=True)
def main(num_rows: int, widths: tuple[int, ...], repeats: int) -> None:
    """Measure; exit with 1 if an index of 128 dimensions takes longer than it may."""
    rows = [measured(num_rows, width, repeats) for width in widths]
    report("exact search of an index", rows, num_threads=os.environ.get("OMP_NUM_THREADS"))
    sys.exit(any(row["search ms"] > _MARK_MS for row in rows))


def measured(num_rows: int, width: int, repeats: int) -> dict[str, object]:
    """Write, open and search an index."""
    with tempfile.TemporaryDirectory() as folder:
        place = UPath(Path(folder) / "index")
        write_index(
            place,
            Origin(model="m", encoder="0", modality="structure", source="s"),
            _made(num_rows, width),
        )
        start = time.perf_counter()
        index = Index.open(place)
        open_s = time.perf_counter() - start
        every, query = index.rows(), index.embeddings[num_rows // 2]
        keys = index.embeddings

        def search() -> np.ndarray:
            return nearest(query[None], keys, every, _TOP)[0][0]

        def sort() -> np.ndarray:
            return np.argsort(-(keys @ query), kind="stable")[:_TOP]

        assert search().tolist() == sort().tolist()  # random vectors have no ties
        seconds = interleaved(
            {"search": search, "product": lambda: keys @ query, "sort": sort}, repeats
        )
        return {
            "index": f"{num_rows:,} x {width}",
            "search ms": seconds["search"] * 1e3,
            "product ms": seconds["product"] * 1e3,
            "search / product": seconds["search"] / seconds["product"],
            "search core ms": _core_s(search, repeats) * 1e3,
            "product and sort ms": seconds["sort"] * 1e3,
            "open s": open_s,
        }


def _core_s(function: Callable[[], object], repeats: int) -> float:
    """Give the median CPU time of a call, which a busy machine does not lengthen as much."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def _made(num_rows: int, width: int) -> Contents:
    generator = np.random.default_rng(0)
    chunks = []
    for first in range(0, num_rows, _AT_A_TIME):
        names = [f"m{place:09}" for place in range(first, min(first + _AT_A_TIME, num_rows))]
        vectors = generator.standard_normal((len(names), width), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        known = {"known.band_gap_ev": generator.random(len(names)).tolist()}
        chunks.append(Chunk(names, vectors, [""] * len(names), known))
    return Contents.of(chunks)


if __name__ == "__main__":
    main()
