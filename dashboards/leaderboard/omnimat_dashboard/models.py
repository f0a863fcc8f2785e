"""The list of models.

A model is a name on the leaderboard. Whatever run, task or seed a result is of, it belongs to the
model whose name its rows have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from omnimat_dashboard.artifacts import Found
from omnimat_dashboard.catalogue import Catalogue, Placed
from omnimat_dashboard.packages import Packages, Packed
from omnimat_dashboard.query import PAGE_LENGTH, Query


@dataclass(frozen=True, slots=True)
class ModelLine:
    """A model in the list.

    Attributes:
        name: its name.
        variants: how it was trained.
        num_results: how many results it has, each averaged over its seeds.
        num_boards: on how many boards.
        num_best: on how many boards, of several results, it is the best.
        newest: when its last row was written.
    """

    name: str
    variants: Sequence[str]
    num_results: int
    num_boards: int
    num_best: int
    newest: datetime


@dataclass(frozen=True, slots=True)
class ModelsPage:
    """The list of models.

    Attributes:
        lines: the models of this page; those that are the best on most boards come first.
        num_found: how many models were found.
        num_pages: how many pages they fill.
        query: what was searched for.
        packages: every package, or why it cannot be opened, by its name.
        pages_of: the name of the model that each package holds, if the leaderboard has it.
    """

    lines: Sequence[ModelLine]
    num_found: int
    num_pages: int
    query: Query
    packages: Mapping[str, Found[Packed]]
    pages_of: Mapping[str, str]


def models_page(catalogue: Catalogue, packages: Packages, query: Query) -> ModelsPage:
    """List the models that a query asks for, and the packages."""
    words = query.text.casefold().split()
    everything = catalogue.remembered("model lines", lambda: _lines(catalogue))
    lines = [one for one in everything if all(word in one.name.casefold() for word in words)]
    num_pages = max(1, -(-len(lines) // PAGE_LENGTH))
    start = (min(query.page, num_pages) - 1) * PAGE_LENGTH
    found = packages.all()
    return ModelsPage(
        lines=lines[start : start + PAGE_LENGTH],
        num_found=len(lines),
        num_pages=num_pages,
        query=query,
        packages=found,
        pages_of=_pages_of(catalogue, found),
    )


def line_of(name: str, results: Sequence[Placed]) -> ModelLine:
    """Sum up the results of a model."""
    return ModelLine(
        name=name,
        variants=sorted({one.summary.variant for one in results}),
        num_results=len(results),
        num_boards=len({one.summary.board for one in results}),
        num_best=sum(one.place == 1 and one.num_results > 1 for one in results),
        newest=max(one.summary.newest for one in results),
    )


def _lines(catalogue: Catalogue) -> list[ModelLine]:
    found = catalogue.models().items()
    return sorted((line_of(name, results) for name, results in found), key=_order)


def _order(line: ModelLine) -> tuple[int, int, str]:
    return -line.num_best, -line.num_boards, line.name.casefold()


def _pages_of(catalogue: Catalogue, packages: Mapping[str, Found[Packed]]) -> dict[str, str]:
    opened = {name: found.value for name, found in packages.items() if found.value is not None}
    runs = {one.card.name for one in opened.values()}
    everything = (one for some in catalogue.origins().values() for one in some)
    origins = [one for one in everything if runs & {one.run_name, one.parent_run}]
    return {
        name: one.model for one in origins for name, packed in opened.items() if packed.holds(one)
    }
