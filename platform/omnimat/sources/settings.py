"""The settings of an ingest, which can be imported without Ray."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator
from upath import UPath

from omnimat.base.child import Limits
from omnimat.base.errors import UserError
from omnimat.base.registry import OneOf
from omnimat.base.settings import Settings
from omnimat.base.words import suggestion
from omnimat.materials.split import AnySplit, SplitSettings, TableSplit
from omnimat.modalities.registry import parts
from omnimat.sources.base import Source
from omnimat.sources.checker import PROPERTY
from omnimat.sources.describe import Robocrystallographer
from omnimat.sources.labels.reader import label_names
from omnimat.sources.labels.settings import LabelsSettings
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.registry import SOURCES


class IngestSettings(Settings):
    """What to ingest and how.

    Attributes:
        source: where the records come from.
        records_per_shard: how many items of the source each shard holds; keep a shard below about
            64 MB.
        labels: tables of labels of your own, which become properties of the records.
        split: fractions of a hashed split, or where the split is written down:
            ``{from: {path, id, column, values}}`` or ``{property: name}``. A record that has none
            there is refused. A split that a source publishes is kept; a record for which both say
            different things is refused.
        required: parts (``structure``) and properties or labels (``properties.hardness_gpa``) that
            each record must have; records that lack one of them are rejected.
        missing_text: what describes structures that come without a text; None leaves them without.
        num_cpus_per_task: how many CPUs each task asks of Ray; it does not change the result.
        max_item_cpu_s: largest CPU time of reading and checking one item; one that takes more is
            refused.
        max_item_memory_gb: largest memory of the same, in 10^9 bytes. Both limits belong to the
            result: a data set made with larger ones may have more records.
    """

    of_the_machine: ClassVar[frozenset[str]] = frozenset({"num_cpus_per_task"})

    source: Annotated[Source, OneOf(SOURCES)] = Prototypes()
    records_per_shard: int = Field(256, ge=1)
    labels: LabelsSettings | None = None
    split: AnySplit = SplitSettings()
    required: tuple[str, ...] = ()
    missing_text: Robocrystallographer | None = None
    num_cpus_per_task: float = Field(1.0, gt=0)
    max_item_cpu_s: int = Field(120, ge=1)
    max_item_memory_gb: float = Field(4.0, gt=0)

    @property
    def item_limits(self) -> Limits:
        """Limits of one item."""
        return Limits(self.max_item_cpu_s, self.max_item_memory_gb)

    @model_validator(mode="after")
    def _a_split_has_its_table(self) -> Self:
        is_table = isinstance(self.split, TableSplit)
        if is_table and self._split_path is None and self.labels is None:
            raise ValueError("split.from.path: name the table with the split, or give labels")
        return self

    def located(self) -> Self:
        """Return the same settings with absolute paths.

        Raises:
            UserError: a path is missing, or no record can have what is required; the message names
                the key.
        """
        update: dict[str, Any] = {"source": self.source.located()}
        if self.labels is not None:
            update["labels"] = self.labels.located()
        if isinstance(self.split, TableSplit):
            update["split"] = self.split.located()
        located = self.model_copy(update=update)
        located._check_required()
        return located

    def inputs(self) -> dict[str, UPath]:
        """Return all files that located settings read, by names that stay the same."""
        labels = {} if self.labels is None else self.labels.inputs()
        path = self._split_path
        split = {} if path is None else {"split.from.path": UPath(path)}
        return {**self.source.inputs(), **labels, **split}

    def property_names(self) -> frozenset[str] | None:
        """Return the names that properties of the records can have, or None if nobody can say.

        Raises:
            UserError: a table of labels cannot be read.
        """
        names = self.source.property_names()
        if names is None or self.labels is None:
            return names
        return names | label_names(self.labels.located())

    def _check_required(self) -> None:
        for name in self.required:
            known = self._properties() if name.startswith(PROPERTY) else parts().keys()
            if known is not None and name not in known:
                raise UserError(f"required: no record can have {name!r}{suggestion(name, known)}")

    def _properties(self) -> list[str] | None:
        names = self.property_names()
        return None if names is None else [f"{PROPERTY}{name}" for name in names]

    @property
    def _split_path(self) -> str | None:
        return self.split.table.path if isinstance(self.split, TableSplit) else None
