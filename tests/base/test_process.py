"""Processes are recognised by more than their number, and end with their parents if they should."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from omnimat.base import process
from omnimat.testing.waiting import wait_for

CHILD = """
import os, sys, time
from omnimat.base.process import end_with_parent

end_with_parent(int(sys.argv[1]) or os.getppid())
print(os.getpid(), flush=True)
time.sleep(1000)
"""
PARENT = """
import subprocess, sys

child = subprocess.Popen([sys.executable, "-c", sys.argv[1], "0"])
child.wait()
"""


def start(*arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-c", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture(params=["linux", "elsewhere"])
def child(request):
    """Program that ends with its parent, as on Linux or on a system that lets it watch alone."""
    if request.param == "linux":
        return CHILD
    return f"import sys\nsys.platform = 'elsewhere'\n{CHILD}"


def test_a_child_ends_with_a_killed_parent(child):
    with start(PARENT, child) as parent:
        pid = int(parent.stdout.readline())
        orphan = psutil.Process(pid)
        parent.kill()
        wait_for(lambda: not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE)


def test_a_child_whose_parent_went_before_ends_at_once(child):
    with start(child, str(os.getppid())) as orphan:  # not its parent
        assert orphan.wait() == -signal.SIGKILL


def test_a_process_is_gone_once_it_has_ended_or_its_number_is_anothers():
    ticks = process.start_ticks(os.getpid())
    assert not process.is_gone(os.getpid(), ticks, process.machine())
    assert process.is_gone(os.getpid(), ticks + 1, process.machine())
    assert not process.is_gone(os.getpid(), ticks + 1, "another machine")
    with start("input()") as ended:
        of_it = process.start_ticks(ended.pid)
        assert of_it >= ticks
        ended.kill()
        wait_for(lambda: process.is_gone(ended.pid, of_it, process.machine()))  # still a zombie
    assert process.is_gone(ended.pid, of_it, process.machine())


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 8), ("250000 100000", 3), ("50000 100000", 1), ("9900000 100000", 8), ("", 8)],
)
def test_cores_are_those_that_a_container_leaves(quota, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))
    monkeypatch.setattr(process, "_QUOTA", tmp_path / "cpu.max")
    assert process.num_cores() == 8
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert process.num_cores() == expected
