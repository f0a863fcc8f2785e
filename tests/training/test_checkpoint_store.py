"""On a file system that fails, the last good checkpoint is still found and is whole."""

import errno
import itertools
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from upath import UPath

from omnimat.base.errors import RunError
from omnimat.training.checkpoint_folders import new_session, newest_checkpoint
from omnimat.training.checkpoint_manifest import CheckpointManifest, DamagedCheckpointError
from omnimat.training.checkpoint_store import CheckpointError, CheckpointStore
from omnimat.training.resume import found_checkpoints


def session_of(number: int) -> str:
    return f"{number:019d}"


def part(folder: Path, name: str, size_bytes: int = 1000) -> Path:
    """Write the part that one worker adds to a checkpoint."""
    (folder / name / "export").mkdir(parents=True)
    (folder / name / "export" / f"{name}.safetensors").write_bytes(b"x" * size_bytes)
    return folder / name


@pytest.fixture
def new_store(tmp_path):
    def new_store(rank=0, world_size=1, num_kept=2, session=1, first_step=0) -> CheckpointStore:
        run = UPath(tmp_path / "run")
        return CheckpointStore(run, rank, world_size, num_kept, session_of(session), first_step)

    return new_store


def steps(folder: Path) -> list[int]:
    return sorted(int(path.name[:9]) for path in (folder / "run" / "checkpoints").iterdir())


def newest_step(folder: Path) -> int | None:
    newest = newest_checkpoint(UPath(folder / "run"))
    return None if newest is None else int(newest.name[:9])


def test_a_checkpoint_is_there_once_every_worker_has_brought_its_part(new_store, tmp_path):
    """Rank 0 waits for the others, and leaves exactly what the manifest lists."""
    stores = [new_store(rank, world_size=3) for rank in range(3)]
    for rank in (0, 2, 1):
        assert newest_step(tmp_path) is None
        stores[rank].save(part(tmp_path, f"rank{rank}"), step=8)
        if rank:
            stores[rank].close()
            assert not (tmp_path / f"rank{rank}").exists()
    stores[0].close()
    found = newest_checkpoint(UPath(tmp_path / "run"))
    manifest = CheckpointManifest.read(found)
    assert (manifest.step, manifest.world_size) == (8, 3)
    files = {p.relative_to(found).as_posix() for p in found.rglob("*") if p.is_file()}
    assert files == {"manifest.json", *manifest.files}
    assert set(manifest.files) == {f"export/rank{rank}.safetensors" for rank in range(3)}
    manifest.check(found, manifest.files)
    name = "export/rank0.safetensors"
    assert manifest.read_checked(found, name) == b"x" * 1000
    (found / name).write_bytes(b"y" * 1000)
    with pytest.raises(DamagedCheckpointError, match=f"{name} is damaged: its sha256"):
        manifest.read_checked(found, name)


def test_a_worker_that_brings_nothing_is_named(new_store, tmp_path, monkeypatch):
    monkeypatch.setattr("omnimat.training.checkpoint_store.PARTS_TIMEOUT_S", 0)
    store = new_store(0, world_size=2)
    store.save(part(tmp_path, "alone"), 8)
    with pytest.raises(CheckpointError, match=r"files-00001\.json was not there"):
        store.close()
    assert newest_step(tmp_path) is None


def test_a_start_that_lost_the_run_writes_and_deletes_nothing(new_store, tmp_path):
    def refuse():
        raise RunError("another start has taken the run")

    older = new_store(num_kept=1)
    older.save(part(tmp_path, "first"), 8)
    older.wait()
    before = sorted((tmp_path / "run").rglob("*"))
    older.check_held = refuse
    older.save(part(tmp_path, "second"), 16)
    with pytest.raises(RunError, match=r"^another start has taken the run"):
        older.wait()
    with pytest.raises(RunError, match="another start"):
        older.prune()
    assert sorted((tmp_path / "run").rglob("*")) == before


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
    store = new_store(1, world_size=2, session=1)
    store.save(part(tmp_path, "old"), 8)
    store.close()
    for rank in (1, 2, 0):
        assert newest_step(tmp_path) is None
        store = new_store(rank, world_size=3, session=2)
        store.save(part(tmp_path, f"new{rank}"), 8)
        store.close()
    assert newest_checkpoint(UPath(tmp_path / "run")).name.endswith(session_of(2))
    assert not list((tmp_path / "run" / "checkpoints").glob(f"*-{session_of(1)}"))


def test_what_could_not_be_read_goes_once_there_is_something_newer(new_store, tmp_path):
    """A start that goes on from step 8 has refused 16, so that must not count among the newest."""
    for step in (8, 16):
        store = new_store(session=1)
        store.save(part(tmp_path, f"at{step}"), step)
        store.close()
    store = new_store(session=2, first_step=8)
    store.save(part(tmp_path, "at12"), 12)
    store.close()
    assert steps(tmp_path) == [8, 12]


def test_only_checkpoints_of_earlier_starts_are_ever_deleted(new_store, tmp_path):
    """A user's folders and files stay, and so does what a later start has saved."""
    later = new_store(session=3)
    later.save(part(tmp_path, "later"), 8)
    later.close()
    folder = tmp_path / "run" / "checkpoints"
    (folder / "000000004-backup").mkdir()
    (folder / ".DS_Store").write_text("a stray file")
    half_done = folder / f"000000012-{session_of(3)}"
    half_done.mkdir()
    before = set(folder.iterdir())
    store = new_store(session=2, num_kept=1)
    for step in (4, 6):
        store.save(part(tmp_path, f"at{step}"), step)
    store.close()
    store.prune()
    assert set(folder.iterdir()) - before == {folder / f"000000006-{session_of(2)}"}
    assert before < set(folder.iterdir())


def hesitate(filesystem, monkeypatch) -> None:
    """Let every other question to a file system fail."""
    whole, is_busy = filesystem.info, itertools.cycle([True, False])

    def info(self, path, **options):
        if next(is_busy):
            raise TimeoutError("the storage is busy")
        return whole(self, path, **options)

    monkeypatch.setattr(filesystem, "info", info)


def test_a_storage_that_hesitates_loses_no_good_checkpoint(new_store, tmp_path, monkeypatch):
    first = new_store(session=1)
    first.save(part(tmp_path, "good"), 8)
    first.close()
    store = new_store(session=2, first_step=8)
    monkeypatch.setattr("omnimat.base.retry.FIRST_WAIT_S", 0)
    hesitate(type(store.run.fs), monkeypatch)
    store.prune()
    assert newest_step(tmp_path) == 8


def test_a_failed_clean_up_harms_no_run(new_store, tmp_path, capsys, monkeypatch):
    store = new_store(num_kept=1)
    for step in (1, 2):
        store.save(part(tmp_path, f"at{step}"), step)
    store.wait()

    def refuse(self, path, **options):
        raise PermissionError(errno.EACCES, "no", path)

    with monkeypatch.context() as patch:
        patch.setattr(type(store.run.fs), "rm", refuse)
        store.save(part(tmp_path, "at3"), 3)
        store.wait()
        store.prune()
    assert newest_step(tmp_path) == 3
    lines = capsys.readouterr().out.splitlines()
    assert all("an old checkpoint could not be deleted" in line for line in lines)
    assert {line.split("/checkpoints/")[1][:9] for line in lines} == {"000000001", "000000002"}
    store.prune()
    store.close()
    assert steps(tmp_path) == [3]


def test_what_an_older_version_wrote_is_named_and_stays(new_store, tmp_path, capsys):
    first = new_store(session=1)
    first.save(part(tmp_path, "good"), 8)
    first.close()
    old = tmp_path / "run" / "checkpoints" / f"{16:09d}-{session_of(1)}"
    old.mkdir()
    (old / "done-00000-of-00001").touch()
    complete, refusal = found_checkpoints(UPath(tmp_path / "run"))
    assert (complete, refusal) == ([f"{8:09d}-{session_of(1)}"], None)
    said = f"omnimat: {old} was written by an older version of omnimat and is left out; "
    assert capsys.readouterr().out.startswith(said)
    store = new_store(session=2, first_step=8)
    store.save(part(tmp_path, "on"), 12)
    store.close()
    store.prune()
    assert steps(tmp_path) == [8, 12, 16]


def test_sessions_ascend_even_if_the_clock_was_put_back(new_store, tmp_path, monkeypatch):
    first = new_session(UPath(tmp_path / "run"))
    store = new_store(session=int(first))
    store.save(part(tmp_path, "one"), 8)
    store.close()
    monkeypatch.setattr("time.time_ns", lambda: 5)
    second = new_session(UPath(tmp_path / "run"))
    assert second > first
    assert len(second) == len(first)


def limited_save(folder: Path) -> None:
    """Save a checkpoint that is larger than the files this process may write."""
    store = CheckpointStore(UPath(folder / "run"), 0, 1, 2, session_of(2), first_step=8)
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
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.getenv("PYTHONPATH")])])
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.returncode == 3, run.stderr
    assert os.strerror(errno.EFBIG) in run.stdout
    assert "the checkpoint before it is untouched" in run.stdout
    assert "submit the job again" in run.stdout
    assert newest_step(tmp_path) == 8
    assert not list((tmp_path / "run" / "checkpoints").glob("000000016*/export/*"))


class Killed(Exception):
    pass


def die_after(store: CheckpointStore, *actions) -> None:
    with store:
        for act in actions:
            act()
        raise Killed


def test_a_failed_training_does_not_wait_for_parts_that_never_come(
    new_store, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("omnimat.training.checkpoint_store.GRACE_S", 0)
    store = new_store(0, world_size=2)
    with pytest.raises(Killed):
        die_after(store, partial(store.save, part(tmp_path, "alone"), 8))
    assert "the last checkpoint was lost" in capsys.readouterr().out
    assert not (tmp_path / "alone").exists()
    assert newest_step(tmp_path) is None
    with pytest.raises(RuntimeError, match="after shutdown"):
        store.save(part(tmp_path, "more"), 9)


def test_a_checkpoint_under_way_is_completed_after_a_failure(new_store, tmp_path):
    first, second = (new_store(rank, world_size=2) for rank in range(2))
    late = threading.Timer(0.5, second.save, (part(tmp_path, "two"), 8))
    with pytest.raises(Killed):
        die_after(first, partial(first.save, part(tmp_path, "one"), 8), late.start)
    assert newest_step(tmp_path) == 8
    second.close()


def test_a_part_that_is_not_taken_is_removed(new_store, tmp_path):
    store = new_store()
    (tmp_path / "run").write_text("a file where the folder should be")
    store.save(part(tmp_path, "lost"), 8)
    with pytest.raises(CheckpointError, match="could not be written"):
        store.save(part(tmp_path, "next"), 9)
    assert not (tmp_path / "next").exists()
    store.close()


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
