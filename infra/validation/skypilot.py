"""A task of SkyPilot, read by SkyPilot where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_READ = "import sys, sky; sky.Task.from_yaml(sys.argv[1])"


def faults(path: Path) -> Iterator[str]:
    """Say what is wrong with a task; nothing if SkyPilot is not installed.

    It pins other versions than ours, so it is in an environment of its own, whose ``sky`` is on the
    path.
    """
    sky = shutil.which("sky")
    if sky is None:
        return
    python = Path(sky).resolve().with_name("python")
    done = subprocess.run([python, "-c", _READ, path], capture_output=True, text=True)
    if done.returncode:
        yield f"{path}: {done.stderr.strip().splitlines()[-1]}"
