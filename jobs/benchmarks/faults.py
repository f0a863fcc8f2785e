#!/usr/bin/env python
"""Faults in the middle of every stage of a job: what is lost, and is anything wrong believed?

Each stage begins on what the stages before it left. In its middle comes a fault; the fault is
repaired, and the stage is submitted again until it ends well. What it then leaves is held against
what it left without a fault: data and features by their hashes, losses, encoders and rows bit by
bit. A flipped bit stays until something names it.

The storage is a small file system in memory, which only Linux can fill up or make read-only for
this script alone. The clock that jumps is the one that Python sees (``jumping_clock.c``).
"""

import contextlib
import hashlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pandas as pd
from measure import report

from omnimat.testing.ray_head import RayHead, start

STORAGE_MB = 400
LIMIT_S = 300
NUM_TRIES = 3
IN_NAMESPACE = "OMNIMAT_FAULTS_IN_NAMESPACE"
MODALITIES = {
    "xrd": {"encoder": {"preset": "tiny"}},
    "composition": {"encoder": {"preset": "tiny"}},
}
JOBS: dict[str, dict[str, Any]] = {
    "ingest": {
        "kind": "ingest",
        "name": "data",
        "source": {"type": "prototypes", "num_materials": 200},
        "records_per_shard": 10,
        "num_cpus_per_task": 0.5,
    },
    "featurize": {"kind": "featurize", "name": "features", "dataset": "data"}
    | {"modalities": MODALITIES, "featurizer_num_cpus": 0.5},
    "pretrain": {"kind": "pretrain", "name": "pre", "dataset": "data", "modalities": MODALITIES}
    | {"embedding_dim": 16, "objective": {"type": "clip"}, "stream": {"read_from": "store"}}
    | {"training": {"num_epochs": 60, "global_batch_size": 32, "checkpoint_interval_epochs": 2}},
    "evaluate": {"kind": "evaluate", "name": "retrieval", "dataset": "data", "run": "pre"}
    | {"split": "test"},
    "finetune": {"kind": "finetune", "name": "sweep", "dataset": "data", "run": "pre"}
    | {"modalities": ["composition"], "learning_rates": [1e-3], "seeds": [0, 1]}
    | {"tasks": [{"name": "volume", "target": "volume_angstrom3_per_atom"}]}
    | {"trial": {"num_epochs": 2, "batch_size": 16}},
}
MIDDLES = {  # of a stage: what it has written by then
    "ingest": "datasets/data/*.tar",
    "featurize": "features/*/*",
    "pretrain": "runs/pre/checkpoints/*/*",
    "evaluate": "runs/retrieval/*",
    "finetune": "runs/sweep/trials/*/*",
}


@dataclass
class Bench:
    """Where stages run.

    Attributes:
        head: the Ray that runs them.
        jobs: folder of their files.
        storage: the file system in memory.
        clock: file of the seconds by which the clock is wrong.
        draw: decides when a fault comes, and which bit flips.
    """

    head: RayHead
    jobs: Path
    storage: Path
    clock: Path
    draw: random.Random

    def submit(self, stage: str) -> "Submission":
        """Start a stage."""
        log = self.jobs / f"{stage}.log"
        log.unlink(missing_ok=True)
        command = [sys.executable, "-m", "omnimat.cli", "run", f"{stage}.yaml"]
        return Submission(start(command, self.head.environment, log, self.jobs), log)

    def files(self) -> list[Path]:
        """List what the storage holds, but for the leaderboard, which `verify` checks."""
        found = (path for path in self.storage.rglob("*") if path.is_file())
        return sorted(path for path in found if path.stat().st_size and "sqlite" not in path.name)

    def restore(self, snapshot: Path) -> None:
        """Put the storage back to what it was before a stage."""
        for path in self.storage.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(snapshot, self.storage, dirs_exist_ok=True)


@dataclass
class Submission:
    """A stage that runs, and what it says."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait_for_middle(self, bench: Bench, stage: str) -> None:
        """Wait until a stage has written something, and up to a second more."""
        while self.process.poll() is None and not any(bench.storage.glob(MIDDLES[stage])):
            time.sleep(0.01)
        time.sleep(bench.draw.random())

    def end(self) -> int:
        """Wait for the end; give the exit code, or kill what hangs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(LIMIT_S)
        self.kill()
        return -1

    def kill(self) -> None:
        """Kill the driver, as the kernel does when memory runs out."""
        self.process.kill()
        self.process.wait()

    @property
    def last_line(self) -> str:
        """What was said last."""
        return (self.log.read_text().strip().splitlines() or [""])[-1]


Fault = Callable[[Bench, Submission], contextlib.AbstractContextManager[None]]
"""Injects a fault when it is entered, and repairs it when it is left."""


@contextlib.contextmanager
def kill(bench: Bench, running: Submission) -> Iterator[None]:
    """Lose the driver."""
    running.kill()
    yield


@contextlib.contextmanager
def flip_a_bit(bench: Bench, running: Submission) -> Iterator[None]:
    """Lose the driver, and a bit of a file; whoever reads the file meets the damage."""
    running.kill()
    path = bench.draw.choice(bench.files())
    data = bytearray(path.read_bytes())
    data[bench.draw.randrange(len(data))] ^= 1 << bench.draw.randrange(8)
    whole = path.read_bytes()
    path.write_bytes(data)
    again = bench.submit(running.log.stem)
    if again.end():
        path.write_bytes(whole)
        print(f"    {path.relative_to(bench.storage)}: {again.last_line}", flush=True)
        running.log.write_text(f"{running.log.read_text()}\nnamed\n")
    yield


@contextlib.contextmanager
def fill_the_disk(bench: Bench, running: Submission) -> Iterator[None]:
    """Leave no byte free until the stage has ended."""
    filler = bench.storage / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
        while True:
            file.write(b"0")
    running.end()
    yield
    filler.unlink()


@contextlib.contextmanager
def go_read_only(bench: Bench, running: Submission) -> Iterator[None]:
    """Let nothing be written until the stage has ended."""
    while running.process.poll() is None and remount(bench.storage, "ro"):
        time.sleep(0.001)  # a file is being written just now
    running.end()
    yield
    remount(bench.storage, "rw")


@contextlib.contextmanager
def jump_the_clock(bench: Bench, running: Submission) -> Iterator[None]:
    """Set every process's clock back by a day, or a day ahead, until the stage has ended."""
    bench.clock.write_text(bench.draw.choice(["-86400", "86400"]))
    running.end()
    yield
    bench.clock.write_text("0")


FAULTS: dict[str, Fault] = {
    "kill": kill,
    "flip a bit": flip_a_bit,
    "fill the disk": fill_the_disk,
    "go read-only": go_read_only,
    "jump the clock": jump_the_clock,
}


def remount(folder: Path, mode: str) -> int:
    """Make a file system writable or not; give the exit code."""
    return subprocess.run(
        ["mount", "-o", f"remount,{mode}", str(folder)], check=False, capture_output=True
    ).returncode


def left_by(stage: str, storage: Path) -> Any:
    """Give what a stage leaves, as far as it must not depend on when and how often it ran."""
    if stage == "pretrain":
        losses = pd.read_parquet(storage / "runs" / "pre" / "metrics.parquet")["loss"].tolist()
        return losses, hashes(storage / "runs" / "pre" / "export", "*/model.safetensors")
    if stage in {"evaluate", "finetune"}:
        query = "SELECT row_id, value, predictions_sha256 FROM leaderboard_rows ORDER BY row_id"
        with contextlib.closing(sqlite3.connect(storage / "leaderboard.sqlite")) as database:
            return database.execute(query).fetchall()
    return hashes(storage / ("datasets" if stage == "ingest" else "features"), "*/*")


def hashes(folder: Path, pattern: str) -> dict[str, str]:
    """Hash files, but for the notes on who held a folder."""
    files = (path for path in sorted(folder.glob(pattern)) if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def outcome(bench: Bench, stage: str, fault: Fault, whole: Any) -> str:
    """Run a stage with a fault in its middle; say in words how it ended."""
    running = bench.submit(stage)
    running.wait_for_middle(bench, stage)
    if running.process.poll() is not None:
        return "was over before the fault"
    with fault(bench, running):
        said = running.log.read_text()
    went_on = running.process.returncode == 0
    for _ in range(NUM_TRIES):
        again = bench.submit(stage)
        if not again.end():
            break
        print(f"    {again.last_line}", flush=True)
    else:
        return "STUCK"
    if left_by(stage, bench.storage) != whole:
        return "WRONG"
    if "Traceback" in said:
        return "traceback, then equal"
    if said.endswith("named\n"):
        return "named, then equal"
    return "went on, equal" if went_on else "restarted, equal"


def snapshots(bench: Bench, folder: Path) -> dict[str, tuple[Path, Any]]:
    """Run every stage without a fault; give the storage before it, and what it left."""
    found = {}
    for stage in JOBS:
        before = folder / stage
        shutil.copytree(bench.storage, before)
        running = bench.submit(stage)
        if running.end():
            sys.exit(running.log.read_text())
        found[stage] = before, left_by(stage, bench.storage)
    return found


@click.command()
@click.option("--repeats", default=1, show_default=True, help="How often each fault comes.")
@click.option("--seed", default=0, show_default=True, help="Decides moments and bits.")
@click.option("--stage", "stages", multiple=True, type=click.Choice(list(JOBS)))
@click.option("--fault", "faults", multiple=True, type=click.Choice(list(FAULTS)))
def main(repeats: int, seed: int, stages: tuple[str, ...], faults: tuple[str, ...]) -> None:
    """Inject every fault into every stage, and print a table of what came of it."""
    if IN_NAMESPACE not in os.environ:
        os.environ[IN_NAMESPACE] = "1"
        os.execvp("unshare", ["unshare", "--map-root-user", "--mount", sys.executable, *sys.argv])
    with tempfile.TemporaryDirectory(prefix="omnimat-faults-") as temporary:
        rows = []
        with bench_in(Path(temporary), random.Random(seed)) as bench:
            found = snapshots(bench, Path(temporary) / "snapshots")
            for stage in stages or JOBS:
                counts = {}
                for name in faults or FAULTS:
                    ends: Counter[str] = Counter()
                    for _ in range(repeats):
                        bench.restore(found[stage][0])
                        ends[outcome(bench, stage, FAULTS[name], found[stage][1])] += 1
                    counts[name] = "; ".join(f"{n} {end}" for end, n in ends.items())
                    print(f"{stage}, {name}: {counts[name]}", flush=True)
                rows.append({"stage": stage, **counts})
    report("faults in the middle of a stage", rows, repeats=repeats, seed=seed)
    sys.exit(any(word in str(rows) for word in ("WRONG", "STUCK")))


@contextlib.contextmanager
def bench_in(folder: Path, draw: random.Random) -> Iterator[Bench]:
    """Mount the storage and start a Ray on it."""
    storage, jobs, clock = folder / "storage", folder / "jobs", folder / "clock"
    storage.mkdir()
    jobs.mkdir()
    clock.write_text("0")
    options = ["-t", "tmpfs", "-o", f"size={STORAGE_MB}m", "omnimat"]
    subprocess.run(["mount", *options, str(storage)], check=True)
    for stage, job in JOBS.items():
        (jobs / f"{stage}.yaml").write_text(json.dumps(job))
    shim = folder / "jumping_clock.so"
    source = Path(__file__).with_name("jumping_clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    variables = {"PYTHONPATH": os.environ.get("PYTHONPATH", ""), "JUMPING_CLOCK": str(clock)}
    head = RayHead.start(jobs, storage, LD_PRELOAD=str(shim), **variables)
    try:
        yield Bench(head, jobs, storage, clock, draw)
    finally:
        head.stop()
        subprocess.run(["umount", "--lazy", str(storage)], check=True)


if __name__ == "__main__":
    main()
