"""Describes with what a result was made: the code, the machine and the input files."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from upath import UPath

COMMIT_VARIABLE = "OMNIMAT_COMMIT"
UNKNOWN_COMMIT = "unknown"

_DIRTY_SUFFIX = "-dirty"
_CHUNK_BYTES = 1 << 20
_COMMAND_TIMEOUT_S = 10


def code_commit() -> tuple[str, bool]:
    """Return the git commit of this code, and whether there are uncommitted changes.

    For a copy without its ``.git``, ``$OMNIMAT_COMMIT`` holds the commit, with ``-dirty`` at the
    end if there were uncommitted changes.

    Returns:
        The commit (``"unknown"`` outside a checkout or without git), and whether there are changes.
    """
    packaged = os.environ.get(COMMIT_VARIABLE)
    if packaged:
        return packaged.removesuffix(_DIRTY_SUFFIX), packaged.endswith(_DIRTY_SUFFIX)
    here = Path(__file__)
    git = ("git", "--no-optional-locks", "-C", str(here.parent))
    # An installed copy may lie inside another checkout, so this file must be tracked there.
    if _output(*git, "ls-files", "--error-unmatch", here.name) is None:
        return UNKNOWN_COMMIT, False
    commit = _output(*git, "rev-parse", "HEAD")
    changes = _output(*git, "status", "--porcelain")
    return commit or UNKNOWN_COMMIT, changes != ""


def hardware() -> dict[str, Any]:
    """Describe this machine.

    Returns:
        The model of the ``cpu``, the number of ``cores`` that this process may use, ``memory_gib``,
        and the names of the ``gpus``.
    """
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": (
            _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader") or ""
        ).splitlines(),
    }


def sha256_of(path: UPath) -> str:
    """Hash a file's bytes, or a folder's files with their relative names.

    Returns:
        The hash as 64 hexadecimal digits. For a file, it is what ``sha256sum`` prints; for a
        folder, it is the hash of the lines ``<hash>  <name>`` of its files, sorted by name.

    Raises:
        FileNotFoundError: there is no such file or folder.
    """
    if not path.is_dir():
        return _file_sha256(path)
    files = {child.relative_to(path).as_posix(): child for child in path.rglob("*")}
    lines = [
        f"{_file_sha256(child)}  {name}\n"
        for name, child in sorted(files.items())
        if child.is_file()
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _file_sha256(path: UPath) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _cpu_model() -> str:
    """Return the model name that Linux reports, or else what Python knows about the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _output(*command: str) -> str | None:
    """Run a command and return what it prints, or None if it is missing or fails."""
    try:
        finished = subprocess.run(
            command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return finished.stdout.strip()
