"""Several sources as one data set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from upath import UPath

from omnimat.base.registry import OneOf
from omnimat.materials.record import Failure, Record
from omnimat.sources.base import RemoteSource, Source, SourceSettings, check_not_empty
from omnimat.sources.registry import SINGLE_SOURCES


class Joined(SourceSettings):
    """Sources whose items follow each other: a database and drawn crystals, or two tables.

    Labels and the split of the ingest hold for the records of all of them. Where two have the same
    id, the first is kept and the ingest tells of the other.

    Attributes:
        sources: the sources, each with its ``type`` and its own keys. None changes from day to day,
            as ``materials_project`` does.
    """

    type: Literal["joined"] = "joined"
    sources: tuple[Annotated[Source, OneOf(SINGLE_SOURCES)], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _none_is_remote(self) -> Self:
        for source in self.sources:
            if isinstance(source, RemoteSource):
                raise ValueError(
                    f"sources: {source.type} cannot be joined, since its items change from day to "
                    "day; ingest it into a data set of its own"
                )
        return self

    def located(self) -> Self:
        """Locate each source, and insist that it leads to a file if it reads any.

        Raises:
            UserError: a path is missing; the message names its key.
        """
        located = tuple(source.located() for source in self.sources)
        for source in located:
            check_not_empty(source)
        return self.model_copy(update={"sources": located})

    def inputs(self) -> dict[str, UPath]:
        """Return the files of all sources, each after the number of its source."""
        return {
            f"{number}/{name}": path
            for number, source in enumerate(self.sources)
            for name, path in source.inputs().items()
        }

    def num_items(self) -> int:
        """Return the number of items of all sources."""
        return sum(source.num_items() for source in self.sources)

    def read(self, start: int, stop: int) -> Iterator[Record | Failure]:
        """Read the items of a slice, source by source."""
        for source, first, last in self._slices(start, stop):
            yield from source.read(first, last)

    def item_name(self, index: int) -> str:
        """Return what an item is called by its source."""
        ((source, first, _),) = self._slices(index, index + 1)
        return source.item_name(first)

    def property_names(self) -> frozenset[str] | None:
        """Return the names of all sources, or None if one of them cannot say."""
        names: frozenset[str] = frozenset()
        for source in self.sources:
            own = source.property_names()
            if own is None:
                return None
            names |= own
        return names

    def remarks(self) -> list[str]:
        """Say what each source holds and does not read."""
        return [line for source in self.sources for line in source.remarks()]

    def _slices(self, start: int, stop: int) -> Iterator[tuple[Source, int, int]]:
        """Yield each source that a slice touches, with the slice of its own items."""
        for source in self.sources:
            count = source.num_items()
            first, last = max(start, 0), min(stop, count)
            if first < last:
                yield source, first, last
            start, stop = start - count, stop - count
