"""Where packed models lie: anywhere, by their path, or those that come with omnimat, by name."""

from __future__ import annotations

import os
from pathlib import Path

SHIPPED = Path(__file__).parent / "shipped"
"""The folder of the models that come with omnimat."""


def located(path: str | os.PathLike[str]) -> Path:
    """Find a packed model.

    Args:
        path: its path, in which ``~`` and ``$NAME`` are replaced; or the name of a model that comes
            with omnimat, where there is nothing of this path.
    """
    text = os.fspath(path)
    given = Path(os.path.expandvars(text)).expanduser()
    return given if given.exists() else shipped(text) or given


def shipped(name: str) -> Path | None:
    """Give the folder of the model that comes with omnimat under a name, if there is one."""
    is_name = name not in {"", ".", ".."} and Path(name).name == name
    return SHIPPED / name if is_name and (SHIPPED / name).exists() else None
