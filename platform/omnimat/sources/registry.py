"""The sources by name."""

from __future__ import annotations

from typing import Any

from omnimat.base.registry import Registry

_HERE = "omnimat.sources"
_GROUP = "omnimat.sources"

SINGLE_SOURCES: Registry[type[Any]] = Registry(
    _GROUP,
    {
        "prototypes": f"{_HERE}.prototypes:Prototypes",
        "table": f"{_HERE}.tables.source:Table",
        "files": f"{_HERE}.files.source:Files",
        "materials_project": f"{_HERE}.materials_project.source:MaterialsProject",
        "drawn": f"{_HERE}.drawn:Drawn",
    },
)
"""Those that hold no other source."""

SOURCES: Registry[type[Any]] = Registry(
    _GROUP, {**SINGLE_SOURCES.ours, "joined": f"{_HERE}.joined:Joined"}
)
"""All of them."""
