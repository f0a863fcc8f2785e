#!/usr/bin/env python
"""What a command costs before it begins: CPU and wall seconds of all its processes.

    python jobs/benchmarks/start.py

Commands that only look at a file are held against ``import torch``. A pretraining whose data set is
there is watched until it prints its first step: by ``omnimat run`` with a Ray of its own, without
Ray under torchrun, through ``ray job submit`` on a head that runs, and as a plain script that reads
the same records, featurizes a batch and makes one step. All take turns.
"""

import contextlib
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import psutil
from measure import omnimat, report

from omnimat.testing.ray_head import RayHead, clean_environment, start

JOBS = Path(__file__).parents[1]
JOB = "jobs/pretrain.yaml"
MARK = "OMNIMAT_START_BENCHMARK"
FIRST_STEP = "step 1/"
LOOKS = {
    "omnimat --help": ["-m", "omnimat.cli", "--help"],
    "omnimat check": ["-m", "omnimat.cli", "check", JOB],
    "omnimat schema": ["-m", "omnimat.cli", "schema"],
    "import torch": ["-c", "import torch"],
}
REPORTS = ["--set", "training.report_interval_steps=1"]
POLL_S = 0.05
LIMIT_S = 300


class Clock:
    """The CPU seconds of every process that has inherited a mark in its environment."""

    def __init__(self, mark: str) -> None:
        """Begin to count."""
        self._mark = f"{MARK}={mark}".encode()
        self._strangers = set(psutil.pids())
        self._cpu_s: dict[int, float] = {}

    def cpu_s(self) -> float:
        """Give what they have used by now; of one that has ended, what was seen last."""
        for pid in set(psutil.pids()) - self._strangers:
            with contextlib.suppress(psutil.Error, OSError):  # it has ended
                self._look_at(pid)
        return sum(self._cpu_s.values())

    def _look_at(self, pid: int) -> None:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        if pid in self._cpu_s or self._mark in environment.split(b"\0"):
            times = psutil.Process(pid).cpu_times()
            self._cpu_s[pid] = times.user + times.system


@dataclass(frozen=True)
class Start:
    """What is started, and how it is watched.

    Attributes:
        command: its words.
        environment: of the command.
        clock: counts its processes, and those of a head that works for it.
        folder: where its output goes.
        first: the text that ends the wait; None to wait for the end.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    clock: Clock
    folder: Path
    first: str | None = None

    def measure(self) -> dict[str, float]:
        """Give the CPU and wall seconds until then, and interrupt what goes on."""
        output = self.folder / f"{secrets.token_hex(8)}.txt"
        before_s, started_s = self.clock.cpu_s(), time.perf_counter()
        process = start(self.command, self.environment, output, JOBS.parent)
        while not self._is_over(process, output):
            time.sleep(POLL_S)
            self.clock.cpu_s()
            if time.perf_counter() - started_s > LIMIT_S:
                process.kill()
        found = {
            "CPU s": self.clock.cpu_s() - before_s,
            "wall s": time.perf_counter() - started_s,
        }
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(LIMIT_S)
        if self.first and self.first not in output.read_text(errors="replace"):
            sys.exit(output.read_text(errors="replace"))
        return found

    def _is_over(self, process: subprocess.Popen[bytes], output: Path) -> bool:
        """Say whether the text has come, or the process has ended, though nobody waited for it."""
        if self.first is not None and self.first in output.read_text(errors="replace"):
            return True
        return psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE


def looks(folder: Path) -> dict[str, Callable[[], dict[str, float]]]:
    """Give the commands that look at a file, by name."""

    def look(arguments: Sequence[str]) -> dict[str, float]:
        mark = secrets.token_hex(8)
        environment = clean_environment(OMNIMAT_STORAGE=str(folder / "storage"), **{MARK: mark})
        return Start([sys.executable, *arguments], environment, Clock(mark), folder).measure()

    return {name: partial(look, arguments) for name, arguments in LOOKS.items()}


def pretrainings(folder: Path, head: RayHead, clock: Clock) -> dict[str, Callable[[], Any]]:
    """Give the ways to pretrain, by name. Each run gets a name of its own."""
    storage = folder / "storage"

    def begin(command: Sequence[str], *ends: str) -> dict[str, float]:
        mark = secrets.token_hex(8)
        environment = clean_environment(OMNIMAT_STORAGE=str(storage), **{MARK: mark})
        named = [*command, "--set", f"name=start-{mark}", *REPORTS, *ends]
        return Start(named, environment, Clock(mark), folder, FIRST_STEP).measure()

    def submit() -> dict[str, float]:
        name = secrets.token_hex(8)
        command = ["ray", "job", "submit", f"--submission-id={name}", "--", JOB, *REPORTS]
        command += ["--set", f"name=start-{name}"]
        found = Start(command, head.environment, clock, folder, FIRST_STEP).measure()
        head.command("ray", "job", "stop", name, folder=folder)
        return found

    def script() -> dict[str, float]:
        mark = secrets.token_hex(8)
        environment = clean_environment(OMNIMAT_STORAGE=str(storage), **{MARK: mark})
        command = [sys.executable, "jobs/benchmarks/plain_step.py", JOB, str(storage)]
        return Start(command, environment, Clock(mark), folder, FIRST_STEP).measure()

    return {
        "omnimat run, a Ray of its own": partial(begin, ["omnimat", "run", JOB]),
        "ray job submit, a head that runs": submit,
        "omnimat train, torchrun": partial(
            begin, ["omnimat", "train", JOB, "--launcher", "torchrun"]
        ),
        "a plain script": script,
    }


def turns(ways: Mapping[str, Callable[[], dict[str, float]]], repeats: int) -> list[dict[str, Any]]:
    """Take each way in turn, once uncounted; give the median of each."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            measured = way()
            if turn:
                found[name].append(measured)
    return [
        {"": name, **{key: statistics.median(one[key] for one in them) for key in them[0]}}
        for name, them in found.items()
    ]


@click.command(help=__doc__.split("\n")[0])
@click.option("--repeats", default=3, show_default=True)
def main(repeats: int) -> None:
    """Measure all ways and print two tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        omnimat(folder, "run", str(JOBS / "ingest.yaml"))
        report("until its end", turns(looks(folder), repeats), repeats=repeats)
        mark = secrets.token_hex(8)
        clock = Clock(mark)
        head = RayHead.start(JOBS.parent, folder / "storage", **{MARK: mark})
        try:
            ways = pretrainings(folder, head, clock)
            report("until the first step", turns(ways, repeats), repeats=repeats)
        finally:
            head.stop()


if __name__ == "__main__":
    main()
