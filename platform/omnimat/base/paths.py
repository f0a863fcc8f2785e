"""Paths as users write them in job files."""

from __future__ import annotations

import os

from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.filesystem import is_local, location


def expanded_path(path: str, key: str) -> UPath:
    """Expand ``$NAME`` and ``~``, and resolve against the current directory.

    Args:
        path: the path that the user wrote.
        key: key under which it was written, with which error messages begin.

    Raises:
        UserError: a variable is not set, or the filesystem cannot be reached.
    """
    expanded = os.path.expandvars(path)
    if "$" in expanded:
        raise UserError(f"{key}: {path} names an environment variable that is not set; set it")
    found = location(expanded, key)
    return found.expanduser().absolute() if is_local(found) else found


def absolute_path(path: str, key: str) -> str:
    """Expand a path as ``expanded_path`` does, and require that it exists.

    Raises:
        UserError: the path cannot be expanded or does not exist.
    """
    found = expanded_path(path, key)
    if not found.exists():
        raise UserError(f"{key}: {found} does not exist; give the path of your copy")
    return str(found)
