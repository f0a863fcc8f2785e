"""What an ingest is; importing this loads no Ray."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field

from omnimat.base.settings import Settings
from omnimat.materials.split import SplitSettings
from omnimat.sources.cifs import Cifs
from omnimat.sources.describe import Robocrystallographer
from omnimat.sources.materials_project.source import MaterialsProject
from omnimat.sources.mp20 import Mp20
from omnimat.sources.parquet import Parquet
from omnimat.sources.prototypes import Prototypes

AnySource = Annotated[
    Prototypes | Mp20 | Parquet | Cifs | MaterialsProject, Field(discriminator="type")
]


class IngestSettings(Settings):
    """What to ingest and how.

    Attributes:
        source: where the records come from.
        records_per_shard: items of the source in each shard; keep a shard below about 64 MB.
        split: fractions of the hashed split.
        missing_text: what describes the structures that come without text; None leaves them so.
        num_cpus_per_task: what each task asks Ray for; it does not change the result.
    """

    of_the_machine: ClassVar[frozenset[str]] = frozenset({"num_cpus_per_task"})

    source: AnySource = Prototypes()
    records_per_shard: int = Field(256, ge=1)
    split: SplitSettings = SplitSettings()
    missing_text: Robocrystallographer | None = None
    num_cpus_per_task: float = Field(1.0, gt=0)

    def located(self) -> Self:
        """Give the same settings with absolute paths."""
        return self.model_copy(update={"source": self.source.located()})
