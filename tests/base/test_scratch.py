"""What a killed process left is removed; nothing else is."""

import os
import subprocess
import sys
import tempfile

import pytest

from omnimat.base.process import machine, start_ticks
from omnimat.base.scratch import new_folder, remove_abandoned, temporary_folder

MAKE = """
from omnimat.base.scratch import new_folder

(new_folder("checkpoint") / "part").write_text("half")
print("made", flush=True)
input()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@pytest.fixture
def maker():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", MAKE], **pipes) as process:
        assert process.stdout.readline() == "made\n"
        yield process
        process.kill()


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_a_killed_process_left_goes_with_the_next(maker, temporary):
    (left,) = temporary.iterdir()
    with temporary_folder("ray-train") as mine:
        assert names(temporary) == {left.name, mine.name}
    maker.kill()
    maker.wait()
    with temporary_folder("ray-train") as mine:
        assert names(temporary) == {mine.name}
    assert names(temporary) == set()


def test_what_is_not_certainly_abandoned_stays(temporary):
    kept = [new_folder("checkpoint")]
    ended = f"{os.getpid()}-{start_ticks(os.getpid()) + 1}"
    for name in (
        f"omnimat-checkpoint-{'0' * 12}-{ended}-abc",  # of another machine or container
        f"omnimat-{machine()}-{ended}-abc",
        f"omnimat-checkpoint-{machine()}-{ended}",
        "omnimat-of-a-user",
        "torchelastic_abc",
    ):
        kept.append(temporary / name)
        kept[-1].mkdir()
    elsewhere = temporary / "elsewhere"
    (elsewhere / "data").mkdir(parents=True)
    link = temporary / f"omnimat-checkpoint-{machine()}-{ended}-link"
    link.symlink_to(elsewhere)
    gone = temporary / f"omnimat-checkpoint-{machine()}-{ended}-abc"
    gone.mkdir()
    remove_abandoned()
    assert names(temporary) == {path.name for path in (*kept, elsewhere, link)}
    assert names(elsewhere) == {"data"}
