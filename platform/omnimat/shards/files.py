"""Writing a file so that a reader sees all of it or none."""

from __future__ import annotations

import uuid

from upath import UPath

TEMPORARY_SUFFIX = ".partial"


def write_atomically(path: UPath, data: bytes) -> None:
    """Write under a temporary name in the same folder, then rename over ``path``.

    A kill in between leaves a ``*.partial`` file and never a half-written ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
    temporary.write_bytes(data)
    path.fs.mv(temporary.path, path.path)


def remove_temporaries(directory: UPath) -> None:
    """Remove what killed writers left in a folder; call it only when nobody writes there."""
    for path in list(directory.iterdir()):
        if path.name.endswith(TEMPORARY_SUFFIX):
            path.unlink()
