"""The list of models.

A model is a name on the leaderboard. Whatever run, task or seed a result is of, it belongs to the
model whose name its rows have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from omnimat.leaderboard.board import Summary
from omnimat_dashboard.artifacts import Found
from omnimat_dashboard.catalogue import Catalogue
from omnimat_dashboard.packages import Packages, Packed
from omnimat_dashboard.query import PAGE_LENGTH, Query
from omnimat_dashboard.results import Results


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
    words, results = query.text.casefold().split(), catalogue.results()
    everything = catalogue.remembered("model order", lambda: _names(results))
    names = [name for name in everything if all(word in name.casefold() for word in words)]
    num_pages = max(1, -(-len(names) // PAGE_LENGTH))
    start = (min(query.page, num_pages) - 1) * PAGE_LENGTH
    num_best, found = results.num_best(), packages.all()
    return ModelsPage(
        lines=[
            line_of(name, results.models[name], num_best.get(name, 0))
            for name in names[start : start + PAGE_LENGTH]
            if name in results.models
        ],
        num_found=len(names),
        num_pages=num_pages,
        query=query,
        packages=found,
        pages_of=_pages_of(catalogue, found),
    )


def line_of(name: str, results: Sequence[Summary], num_best: int) -> ModelLine:
    """Sum up the results of a model, which is the best on so many boards."""
    return ModelLine(
        name=name,
        variants=sorted({one.variant for one in results}),
        num_results=len(results),
        num_boards=len({one.board for one in results}),
        num_best=num_best,
        newest=max(one.newest for one in results),
    )


def _names(results: Results) -> list[str]:
    """Name the models, those first that are the best on most boards."""
    num_best = results.num_best()

    def order(name: str) -> tuple[int, int, str]:
        num_boards = len({one.board for one in results.models[name]})
        return -num_best.get(name, 0), -num_boards, name.casefold()

    return sorted(results.models, key=order)


def _pages_of(catalogue: Catalogue, packages: Mapping[str, Found[Packed]]) -> dict[str, str]:
    opened = {name: found.value for name, found in packages.items() if found.value is not None}
    runs = sorted({one.card.name for one in opened.values()})
    origins = [*catalogue.store.origins(runs=runs), *catalogue.store.origins(parents=runs)]
    return {
        name: one.model for one in origins for name, packed in opened.items() if packed.holds(one)
    }
