"""One process at a time works on a folder, whatever is killed, stopped, cut off or put right."""

import copy
import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor

import pytest
from upath import UPath

from omnimat.base.errors import RunError, UserError
from omnimat.base.files import write_atomically
from omnimat.base.lease import Fence, HeldError, Lease, LostError, take_over
from omnimat.base.lease_files import FOLDER, Holder
from omnimat.testing.waiting import wait_for

SHORT_S = 0.6
LONG_S = 3000.0  # a test that waited for this would never end


@pytest.fixture
def folder(tmp_path):
    return UPath(tmp_path / "run")


def files(folder) -> list[str]:
    return sorted(path.name for path in (folder / FOLDER).iterdir())


HOLD = """
import sys, time
from upath import UPath
from omnimat.base.errors import RunError
from omnimat.base.lease import Lease

lease = Lease.acquire(UPath(sys.argv[1]), "run tiny", float(sys.argv[2]))
print("held", flush=True)
sys.stdin.readline()
try:
    lease.check()
    (UPath(sys.argv[1]) / "written").write_text("by the one that lost it")
except RunError as error:
    print(error, flush=True)
lease.release()
"""


WATCH = """
import sys, time
from upath import UPath
from omnimat.base.lease import HeldError, Lease

sleep = time.sleep
def slowly(seconds):
    print("watches", flush=True)
    sleep(seconds)

time.sleep = slowly
try:
    Lease.acquire(UPath(sys.argv[1]), "run tiny")
except HeldError as error:
    print(error, flush=True)
"""


@pytest.fixture
def holder(folder):
    """Start processes that hold the lease until they are told to write and end."""
    started = []

    def hold(stale_after_s: float) -> subprocess.Popen:
        command = [sys.executable, "-c", HOLD, str(folder), str(stale_after_s)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, **pipes))
        assert started[-1].stdout.readline() == "held\n"
        return started[-1]

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def test_one_after_the_other_waits_for_nothing(folder, capsys):
    for _ in range(3):
        with Lease.acquire(folder, "run tiny", LONG_S) as lease:
            lease.check()
    assert files(folder) == ["000001.json", "000002.json", "000003.json"]
    take_over(folder, "run tiny")
    assert len(files(folder)) == 3, "of what nobody holds, nothing is written"
    assert capsys.readouterr().out == ""


def test_the_second_is_told_who_has_it(folder, holder):
    first = holder(SHORT_S)
    for refused in (Lease.acquire, take_over):
        with pytest.raises(HeldError) as caught:
            refused(folder, "run tiny")
        said = str(caught.value)
        assert f"(process {first.pid}) since 20" in said
        assert f"in {folder}" in said
        assert said.startswith("run tiny is being worked on by ")
    assert isinstance(caught.value, UserError)
    assert files(folder) == ["000001.json"]


def test_a_killed_holder_is_followed_at_once(folder, holder, capsys):
    first = holder(LONG_S)
    first.kill()  # it is not waited for: as a zombie it holds nothing either
    take_over(folder, "run tiny")
    with Lease.acquire(folder, "run tiny", LONG_S) as lease:
        assert lease.fence.generation == 3
    assert f"run tiny: taken over from {holder_of(folder, 1)}" in capsys.readouterr().out


def holder_of(folder, generation: int) -> str:
    file = folder / FOLDER / f"{generation:06d}.json"
    return str(Holder.model_validate_json(file.read_bytes()))


def test_one_that_comes_back_after_it_was_taken_over_writes_nothing(folder, holder, capsys):
    first = holder(SHORT_S)
    first.send_signal(signal.SIGSTOP)
    with Lease.acquire(folder, "run tiny", SHORT_S) as second:
        assert "which gives no sign" in capsys.readouterr().out
        there = (folder / FOLDER / "000001.json").read_bytes()
        first.send_signal(signal.SIGCONT)
        said = first.communicate("\n")[0]
        assert f"{folder} was taken over by " in said
        assert f"(process {os.getpid()})" in said
        assert not (folder / "written").exists()
        assert (folder / FOLDER / "000001.json").read_bytes() == there
        second.check()


def test_one_that_was_only_slow_goes_on(folder, holder):
    first = holder(SHORT_S)
    first.send_signal(signal.SIGSTOP)
    time.sleep(2 * SHORT_S)
    first.send_signal(signal.SIGCONT)
    assert first.communicate("\n")[0] == ""
    assert (folder / "written").exists()


def test_a_reader_that_was_asleep_takes_nothing(folder, holder):
    """Both were stopped while it watched, as on a machine that was asleep."""
    first = holder(SHORT_S)
    command = [sys.executable, "-c", WATCH, str(folder)]
    second = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert second.stdout.readline() == "watches\n"
    for process in (second, first):
        process.send_signal(signal.SIGSTOP)
    time.sleep(3 * SHORT_S)
    for process in (first, second):
        process.send_signal(signal.SIGCONT)
    assert f"being worked on by {holder_of(folder, 1)}" in second.communicate()[0]


@pytest.mark.parametrize("times", [(0, 0), (2**33, 2**33)], ids=["1970", "2242"])
def test_clocks_change_nothing(times, folder, holder):
    first = holder(SHORT_S)
    for _ in range(3):
        os.utime(folder / FOLDER / "000001.json", times)
        with pytest.raises(HeldError, match=f"process {first.pid}"):
            Lease.acquire(folder, "run tiny", SHORT_S)


@pytest.mark.parametrize("protocol", ["local", "memory"])
def test_of_many_at_once_one_gets_it(protocol, folder, capsys):
    if protocol == "memory":
        folder = UPath(f"memory:/{folder}")
    race(folder, SHORT_S)
    assert capsys.readouterr().out == ""


def race(folder, stale_after_s: float, num_threads: int = 8) -> None:
    """Have threads try at once, and then again once the first has released it."""
    for generation in (1, 2):
        ready = threading.Barrier(num_threads)
        won, refused = [], []

        def compete(ready=ready, won=won, refused=refused):
            ready.wait()
            try:
                won.append(Lease.acquire(folder, "run tiny", stale_after_s))
            except HeldError as error:
                refused.append(error)

        threads = [threading.Thread(target=compete) for _ in range(num_threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(won), len(refused)) == (1, num_threads - 1)
        assert won[0].fence.generation == generation
        won[0].release()


def test_of_many_at_once_on_s3_one_gets_it(s3):
    race(UPath("s3://bucket/raced", use_listings_cache=False), stale_after_s=6)


def test_a_lost_answer_of_the_storage_loses_no_lease(s3):
    """The request arrived; the second try finds its own file."""
    folder = UPath("s3://bucket/answered", use_listings_cache=False)
    faults = iter(["unanswered"])

    def lose_one(method, path):
        return next(faults, None) if method == "PUT" and FOLDER in path else None

    with s3.failing(lose_one):
        with Lease.acquire(folder, "run tiny", LONG_S) as lease:
            assert lease.fence.generation == 1
        assert s3.faults() == ["unanswered"]


def test_a_damaged_file_is_watched_and_then_passed_over(folder, monkeypatch):
    monkeypatch.setattr("omnimat.base.lease._STALE_AFTER_S", SHORT_S)
    write_atomically(folder / FOLDER / "000004.json", b'{"user": "\\u001b[31m"')
    with Lease.acquire(folder, "run tiny", SHORT_S) as lease:
        assert lease.fence.generation == 5


def test_a_holder_whose_storage_is_away_for_a_while_goes_on(folder):
    with Lease.acquire(folder, "run tiny", SHORT_S) as lease:
        away = folder.with_name("away")
        (folder / FOLDER).rename(away)
        (folder / FOLDER).write_text("a file where the folder should be")
        time.sleep(SHORT_S)
        (folder / FOLDER).unlink()
        away.rename(folder / FOLDER)
        before = (folder / FOLDER / "000001.json").read_bytes()
        wait_for(lambda: (folder / FOLDER / "000001.json").read_bytes() != before)
        lease.check()


def check_elsewhere(fence: Fence) -> None:
    """Let another process check, and raise what it raises."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
        other.submit(fence.check).result()


def test_a_fence_goes_to_other_processes(folder):
    with Lease.acquire(folder, "run tiny", SHORT_S) as lease:
        check_elsewhere(lease.fence)
    with Lease.acquire(folder, "run tiny", SHORT_S), pytest.raises(LostError) as caught:
        check_elsewhere(lease.fence)
    assert isinstance(caught.value, RunError)


def test_a_storage_may_say_in_its_own_way_that_another_was_first(folder, monkeypatch):
    """Some servers that speak S3 refuse the second of two writes with an error of their own."""
    lease = Lease.acquire(folder, "run tiny", SHORT_S)

    def refuse(file, data):
        raise OSError(errno.EINVAL, "ConditionalRequestConflict")

    monkeypatch.setattr("omnimat.base.lease_files._create_locally", refuse)
    seen = iter([0, 1, 1])
    monkeypatch.setattr("omnimat.base.lease.newest_generation", lambda folder: next(seen))
    with pytest.raises(HeldError):
        Lease.acquire(folder, "run tiny", SHORT_S)
    lease.release()
    monkeypatch.undo()
    monkeypatch.setattr("omnimat.base.lease_files._create_locally", refuse)
    with pytest.raises(UserError, match="ConditionalRequestConflict"):
        Lease.acquire(folder, "run tiny", SHORT_S)


def test_a_process_that_is_killed_while_it_takes_the_lease_leaves_nothing(folder, monkeypatch):
    def killed(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr("omnimat.base.lease.os.link", killed)
    with pytest.raises(KeyboardInterrupt):
        Lease.acquire(folder, "run tiny", LONG_S)
    assert files(folder) == []


def test_a_file_system_without_links_gives_a_lease_too(folder, monkeypatch):
    def refused(source, target):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("omnimat.base.lease.os.link", refused)
    race(folder, SHORT_S)
    assert files(folder) == ["000001.json", "000002.json"]


def test_who_holds_it_can_be_told_to_another_process(folder):
    with Lease.acquire(folder, "run tiny", SHORT_S), pytest.raises(HeldError) as caught:
        Lease.acquire(folder, "run tiny", SHORT_S)
    told = copy.copy(caught.value)  # it is taken apart and put together as between processes
    assert (str(told), told.holder) == (str(caught.value), caught.value.holder)


def test_of_two_that_took_it_at_the_same_moment_one_is_told(folder):
    """As on a storage that lets the second write over the file of the first."""
    with Lease.acquire(folder, "run tiny", SHORT_S) as lost:
        there = Holder.model_validate_json((folder / FOLDER / "000001.json").read_bytes())
        other = there.model_copy(update={"token": "other", "host": "the-other"})
        write_atomically(folder / FOLDER / "000001.json", other.model_dump_json().encode())
        for check in (lost.check, lost.fence.check, lambda: check_elsewhere(lost.fence)):
            with pytest.raises(LostError, match=r" on the-other .* at the same moment"):
                check()
        Fence(folder, 1, "other").check()
        time.sleep(SHORT_S / 4)
    assert holder_of(folder, 1) == str(other), "neither a beat nor the end writes over it"


def test_a_folder_that_may_not_be_written_to_is_said(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(UserError, match="run"):
        Lease.acquire(UPath(tmp_path / "run"), "run tiny", SHORT_S)


@pytest.mark.parametrize("written", ["soon", "0", "-1", "nan", "inf"])
def test_a_time_that_is_none_is_refused(written, folder, monkeypatch):
    monkeypatch.setenv("OMNIMAT_LEASE_STALE_AFTER_S", written)
    with pytest.raises(UserError, match=r"\$OMNIMAT_LEASE_STALE_AFTER_S: "):
        Lease.acquire(folder, "run tiny")


def test_nobody_holds_what_nobody_took(folder):
    take_over(folder, "run tiny")
    Fence(folder, 0, "").check()
    assert not folder.exists()
