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
    is_name = text not in {"", ".", ".."} and Path(text).name == text
    if given.exists() or not is_name:
        return given
    shipped = SHIPPED / text
    return shipped if shipped.exists() else given
