"""The locked environment: what pyproject.toml asks for, with hashes, and nothing besides."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOCKER = Path(__file__).parents[2] / "infra" / "docker"
HASH = " \\\\\n    --hash=sha256:" + 64 * "0" + "\n"

# Of each lock: what is written instead of what, and what is then said.
BREAKAGES = [
    ("", "^scipy==", "scipi==", "requirements.txt has no pin of scipy, which .* needs; run"),
    ("", "^plotly==6", "plotly==5", "plotly 5.* is not what pyproject.toml needs, plotly<7,>=6.9"),
    ("", "^rich==15", "rich==15.99", "rich 15.99.* is pinned, 15.0.0 installed; run `make env`"),
    ("", r"^(tqdm==\S+)[^#]*", r"\1\n    ", "tqdm is not a version with hashes"),
    ("", r"\Z", f"abandoned==1{HASH}", "requirements.txt: nothing needs abandoned; run"),
    ("", r"\Z", f"nvidia-nccl-cu13==2.29.7{HASH}", "nvidia-nccl-cu13 belongs into requirements-c"),
    ("-dev", r"\A", "--find-links /home/me/wheels\n", "requirements-dev.txt starts with more than"),
    ("-dev", "^pytest==9", "pytest==8", "requirements-dev.txt: pytest 8.* is not what"),
    (
        "-dev",
        "omnimat .pyproject",
        "omnimat (/home/me/pyproject",
        "is not a version with hashes al",
    ),
    ("-cpu", r"\+cpu", "", "requirements-cpu.txt is to pin the CPU build of torch"),
    ("-cuda", "^torch==2.13", "torch==2.12", "torch is 2.13.* for CPUs and 2.12.* for GPUs"),
    ("-cuda", "^triton==", "tritone==", "requirements-cuda.txt is to pin PyPI's build"),
]


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, DOCKER / "check_locks.py", folder]
    return subprocess.run(command, capture_output=True, text=True)


def test_every_requirement_has_its_pin_and_every_pin_is_required():
    """Requirements of requirements too, by the metadata of what is installed."""
    checked = check(DOCKER)
    assert (checked.stdout, checked.returncode) == ("locks: ok\n", 0), checked.stderr


@pytest.fixture(scope="module")
def refusal(tmp_path_factory) -> subprocess.CompletedProcess[str]:
    """What is said of locks broken in every way at once."""
    folder = tmp_path_factory.mktemp("locks")
    for lock in DOCKER.glob("requirements*.txt"):
        shutil.copy(lock, folder)
    for part, pattern, replacement, _ in BREAKAGES:
        lock = folder / f"requirements{part}.txt"
        text, changes = re.subn(pattern, replacement, lock.read_text(), count=1, flags=re.MULTILINE)
        assert changes == 1, pattern
        lock.write_text(text)
    return check(folder)


@pytest.mark.parametrize("message", [message for *_, message in BREAKAGES])
def test_a_broken_lock_is_refused_with_its_reason(message, refusal):
    assert refusal.returncode == 1
    assert any(re.search(message, line) for line in refusal.stdout.splitlines()), refusal.stdout


@pytest.mark.parametrize("arguments", [[], ["gpu", "env"], ["cpu"], ["cpu", "env", "all"]])
def test_the_build_script_says_how_it_is_called(arguments, tmp_path):
    command = [DOCKER / "build_environment.sh", *arguments]
    called = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert called.returncode == 2
    assert called.stderr.startswith("usage: build_environment.sh cpu|cuda FOLDER")
    assert not list(tmp_path.iterdir())
