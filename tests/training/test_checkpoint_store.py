"""On a file system that fails, the last good checkpoint is still found and is whole."""

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from upath import UPath

from omnimat.training.checkpoint_store import CheckpointError, CheckpointStore, newest_checkpoint


def part(folder: Path, name: str, size_bytes: int = 1000) -> Path:
    """Write the part that one worker adds to a checkpoint."""
    (folder / name / "engine").mkdir(parents=True)
    (folder / name / "engine" / f"{name}.pt").write_bytes(b"x" * size_bytes)
    return folder / name


@pytest.fixture
def new_store(tmp_path):
    def new_store(rank=0, world_size=1, num_kept=2, session="1") -> CheckpointStore:
        return CheckpointStore(UPath(tmp_path / "run"), rank, world_size, num_kept, session)

    return new_store


def steps(folder: Path) -> list[int]:
    return sorted(int(path.name[:9]) for path in (folder / "run" / "checkpoints").iterdir())


def newest_step(folder: Path) -> int | None:
    newest = newest_checkpoint(UPath(folder / "run"))
    return None if newest is None else int(newest.name[:9])


def test_a_checkpoint_is_there_once_every_worker_has_brought_its_part(new_store, tmp_path):
    assert newest_step(tmp_path) is None
    for rank in range(3):
        assert newest_step(tmp_path) is None
        store = new_store(rank, world_size=3)
        store.save(part(tmp_path, f"rank{rank}"), step=8)
        store.close()
        assert not (tmp_path / f"rank{rank}").exists()
    found = newest_checkpoint(UPath(tmp_path / "run"))
    assert sorted(p.name for p in (found / "engine").iterdir()) == [f"rank{i}.pt" for i in range(3)]


def test_as_many_are_kept_as_asked_for(new_store, tmp_path):
    store = new_store(num_kept=2)
    for step in (1, 2, 3, 4):
        store.save(part(tmp_path, f"at{step}"), step)
    store.close()
    # When the store last pruned, the newest was not complete yet, so three are still there.
    assert steps(tmp_path) == [2, 3, 4]
    new_store(rank=1).prune()
    assert steps(tmp_path) == [2, 3, 4]
    store.prune()
    assert steps(tmp_path) == [3, 4]


def test_parts_of_a_killed_start_are_no_parts_of_this_one(new_store, tmp_path):
    """Of two workers only one saved step 8; then three workers reach step 8 again."""
    store = new_store(0, world_size=2, session="1")
    store.save(part(tmp_path, "old"), 8)
    store.close()
    for rank in range(3):
        assert newest_step(tmp_path) is None
        store = new_store(rank, world_size=3, session="2")
        store.save(part(tmp_path, f"new{rank}"), 8)
        store.close()
    assert newest_checkpoint(UPath(tmp_path / "run")).name.endswith("-2")
    assert not list((tmp_path / "run" / "checkpoints").glob("*-1"))


def limited_save(folder: Path) -> None:
    """Save a checkpoint that is larger than the files this process may write."""
    store = CheckpointStore(UPath(folder / "run"), 0, 1, 2, "2")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    whole = part(folder, "large", 1 << 20)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
    store.save(whole, 16)
    try:
        store.close()
    except CheckpointError as error:
        print(error)
        sys.exit(3)


def test_a_checkpoint_that_does_not_fit_leaves_the_last_one(new_store, tmp_path):
    store = new_store()
    store.save(part(tmp_path, "good"), 8)
    store.close()
    call = f"limited_save(Path({str(tmp_path)!r}))"
    program = f"from test_checkpoint_store import *; {call}"
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.returncode == 3, run.stderr
    assert os.strerror(errno.EFBIG) in run.stdout
    assert "the checkpoint before it is untouched" in run.stdout
    assert "submit the job again" in run.stdout
    assert newest_step(tmp_path) == 8
    assert not list((tmp_path / "run" / "checkpoints").glob("000000016*/engine/*"))


def test_a_failure_in_the_background_is_told_at_the_next_chance(new_store, tmp_path):
    store = new_store()
    (tmp_path / "run").write_text("a file where the folder should be")
    store.save(part(tmp_path, "lost"), 8)
    with pytest.raises(CheckpointError, match="could not be written"):
        check_for(store, seconds=10)
    store.check()  # an error is raised only once


def check_for(store: CheckpointStore, seconds: float) -> None:
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        store.check()
        time.sleep(0.01)
