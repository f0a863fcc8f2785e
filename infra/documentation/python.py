"""The reference of the Python interface: what ``omnimat`` offers, and what packages build on."""

from __future__ import annotations

from collections.abc import Iterable

_OPTIONS = "    options:\n      show_root_full_path: false\n"


def page(names: Iterable[str]) -> str:
    """Write the page of the public names of ``omnimat``."""
    parts = ["# What Python offers", "How it is used is told in [Python](../python.md)."]
    parts += [f"::: omnimat.{name}\n{_OPTIONS}" for name in names if not name.startswith("__")]
    return "\n\n".join(parts) + "\n"
