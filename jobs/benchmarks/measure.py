"""Functions for timing and printing that the benchmarks share."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def interleaved(functions: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Time functions in turn, so that a busy moment of the machine affects all of them alike.

    Returns:
        The median seconds of each function, not counting a first call to warm up.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def omnimat(folder: Path, *arguments: str) -> str:
    """Run a command in a folder, with a storage inside it, and return what it prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"OMNIMAT_STORAGE": str(folder / "storage"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "omnimat.cli", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


def report(title: str, rows: Sequence[Mapping[str, Any]], **conditions: Any) -> None:
    """Print rows as a table, and as one line of JSON with the conditions of the run."""
    table = Table(title=title)
    for column in rows[0]:
        table.add_column(column, justify="left" if isinstance(rows[0][column], str) else "right")
    for row in rows:
        table.add_row(*(_text(value) for value in row.values()))
    Console().print(table)
    machine = {"cpu_count": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps({"title": title, "rows": rows, "machine": machine, **conditions}))


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
