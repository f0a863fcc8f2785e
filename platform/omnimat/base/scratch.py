"""Folders of temporary files that the next run removes if the process that made them was killed.

The name of each says which process made it, so that nothing is removed that is still in use.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omnimat.base import process

_NAME = re.compile(r"omnimat-[a-z\-]+-([0-9a-f]{12})-([0-9]{1,9})-([0-9]{1,18})-\w+", re.ASCII)


def new_folder(purpose: str) -> Path:
    """Make a folder for this process and user alone, and remove what killed processes left.

    Args:
        purpose: lower-case word or two that say what it is for.
    """
    remove_abandoned()
    maker = f"{process.machine()}-{os.getpid()}-{process.start_ticks(os.getpid())}"
    return Path(tempfile.mkdtemp(prefix=f"omnimat-{purpose}-{maker}-"))


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """Make a folder as ``new_folder`` does, and remove it at the end of the context."""
    folder = new_folder(purpose)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned() -> None:
    """Remove the folders of this user's processes that have certainly ended on this machine."""
    for path in Path(tempfile.gettempdir()).glob("omnimat-*"):
        if _is_abandoned(path):
            shutil.rmtree(path, ignore_errors=True)


def _is_abandoned(path: Path) -> bool:
    made = _NAME.fullmatch(path.name)
    if made is None or not process.is_gone(int(made[2]), int(made[3]), made[1]):
        return False
    try:
        return path.lstat().st_uid == os.getuid() and not path.is_symlink()
    except FileNotFoundError:  # another process has just removed it
        return False
