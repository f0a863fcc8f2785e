"""Paths as people write them in job files."""

from __future__ import annotations

import os

from upath import UPath

from omnimat.base.errors import UserError


def expanded_path(path: str, key: str) -> UPath:
    """Expand ``$NAME`` and ``~``, and resolve against the current directory.

    Raises:
        UserError: a variable is not set.
    """
    expanded = os.path.expandvars(path)
    if "$" in expanded:
        raise UserError(f"{key}: {path} names an environment variable that is not set; set it")
    location = UPath(expanded)
    if location.protocol in {"", "file"}:
        location = location.expanduser().absolute()
    return location


def absolute_path(path: str, key: str) -> str:
    """Expand a path as ``expanded_path`` does; something must be there.

    Raises:
        UserError: a variable is not set, or nothing is there.
    """
    location = expanded_path(path, key)
    if not location.exists():
        raise UserError(f"{key}: {location} does not exist; give the path of your copy")
    return str(location)
