"""What every source does: say how many items it has, and read any slice of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

from upath import UPath

from omnimat.base.paths import absolute_path as absolute_path
from omnimat.materials.record import Record

Key = TypeVar("Key", bound=Hashable)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Failure:
    """An item that gave no record, or one without something it should have."""

    material_id: str
    reason: str


class Source(Protocol):
    """The settings of a source are the source: frozen, picklable, deterministic.

    Items are numbered; item i is the same record in every process that reads it.
    """

    @property
    def type(self) -> str:
        """The name it has in a job file."""

    def model_dump(self, *, mode: str = ..., exclude: Any = ...) -> dict[str, Any]:
        """Give its settings."""

    def located(self) -> Self:
        """Give the same source with absolute paths, for workers that run in other folders.

        Raises:
            UserError: a path is missing; the message names its key.
        """

    def inputs(self) -> Mapping[str, UPath]:
        """Give the files that the located source reads, by name; none where it reads no files.

        A name says which file is meant, wherever they lie: their changes are noticed by it.
        """

    def num_items(self) -> int:
        """Items to read, records and failures together."""

    def read(self, start: int, stop: int) -> Iterator[Record | Failure]:
        """Read items ``start`` to ``stop`` (exclusive), one result an item, in order.

        A record that lacks a modality which exists is followed by a failure for it, whose reason
        names the modality. ``stop`` may lie beyond the last item.
        """


class Run(Protocol):
    """Runs a function over many arguments, somewhere, and gives the results as they come."""

    def __call__(
        self, function: Callable[..., T], calls: Mapping[Key, tuple[Any, ...]]
    ) -> Iterator[tuple[Key, T]]:
        """Call ``function(*calls[key])`` for every key."""


@runtime_checkable
class RemoteSource(Source, Protocol):
    """A source whose items change from day to day, until they are harvested.

    Attributes:
        snapshot: path of what was harvested; its last part tells one content from another.
    """

    snapshot: str | None

    def harvest(self, directory: UPath, run: Run, report_progress: bool) -> Self:
        """Keep what is read from now on in ``directory``, and give the source of that.

        Killed anywhere and called again, it goes on; what could not be had is tried again.
        """

    def can_retry(self, directory: UPath) -> bool:
        """Say whether a harvest that was finished there lacks what may be had by now."""
