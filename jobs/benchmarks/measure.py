"""What the benchmarks share: timing, memory, processes of their own, and printing."""

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

# A job file that ingests the embedded crystals.
DATA = {
    "kind": "ingest",
    "name": "data",
    "source": {"type": "prototypes"},
    "records_per_shard": 50,
    "num_cpus_per_task": 0.5,
}
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def median_ms(
    ask: Callable[[], Any], repeats: int, before: Callable[[], Any] = lambda: None
) -> float:
    """Give the median milliseconds that asking takes, without what is done before it."""
    times_ms = []
    for _ in range(repeats):
        before()
        start = time.perf_counter()
        ask()
        times_ms.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times_ms)


def interleaved(functions: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Time functions in turn, so that a busy moment of the machine affects all of them alike.

    Returns:
        The median seconds of each; a first call of each is not counted.
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


def omnimat(folder: Path, *arguments: str, python: str | Path = sys.executable) -> str:
    """Run a command of omnimat in a folder, on a storage in that folder; give what it prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"OMNIMAT_STORAGE": str(folder / "storage"), "OMP_NUM_THREADS": "1"}
    command = [str(python), "-m", "omnimat.cli", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


def in_fresh_process(*arguments: object, **environment: str) -> dict[str, Any]:
    """Run this benchmark with other arguments in a process of its own.

    Returns:
        The JSON that it prints as its last line.
    """
    command = [sys.executable, "-W", "ignore", sys.argv[0], *map(str, arguments)]
    done = subprocess.run(
        command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def start_peak_mb() -> float:
    """Let the peak of this process's resident set begin anew; give its size now (10^6 bytes)."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status_mb("VmRSS")


def peak_mb() -> float:
    """Give the peak of this process's resident set (10^6 bytes)."""
    return _status_mb("VmHWM")


def _status_mb(key: str) -> float:
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024 / 1e6


def report(title: str, rows: Sequence[Mapping[str, Any]], **conditions: Any) -> None:
    """Print rows as a table, and on the last line as JSON with the conditions of the run."""
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
