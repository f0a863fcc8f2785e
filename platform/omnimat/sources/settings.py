"""The settings of an ingest, which can be imported without Ray."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import Field

from omnimat.base.registry import OneOf, Registry
from omnimat.base.settings import Settings
from omnimat.materials.split import SplitSettings
from omnimat.sources.base import Source
from omnimat.sources.describe import Robocrystallographer
from omnimat.sources.prototypes import Prototypes

_HERE = "omnimat.sources"

SOURCES: Registry[type[Any]] = Registry(
    "omnimat.sources",
    {
        "prototypes": f"{_HERE}.prototypes:Prototypes",
        "table": f"{_HERE}.tables.source:Table",
        "files": f"{_HERE}.files.source:Files",
        "materials_project": f"{_HERE}.materials_project.source:MaterialsProject",
    },
)


class IngestSettings(Settings):
    """What to ingest and how.

    Attributes:
        source: where the records come from.
        records_per_shard: how many items of the source each shard holds; keep a shard below about
            64 MB.
        split: fractions of the hashed split.
        required: parts that each record must have (``structure``); records that lack one of them
            are rejected.
        missing_text: what describes structures that come without a text; None leaves them without.
        num_cpus_per_task: how many CPUs each task asks of Ray; it does not change the result.
    """

    of_the_machine: ClassVar[frozenset[str]] = frozenset({"num_cpus_per_task"})

    source: Annotated[Source, OneOf(SOURCES)] = Prototypes()
    records_per_shard: int = Field(256, ge=1)
    split: SplitSettings = SplitSettings()
    required: tuple[str, ...] = ()
    missing_text: Robocrystallographer | None = None
    num_cpus_per_task: float = Field(1.0, gt=0)

    def located(self) -> Self:
        """Return the same settings with absolute paths."""
        return self.model_copy(update={"source": self.source.located()})
