"""The first page: who is best at what, retrieval at a glance, and what fewer labels cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from omnimat.base.words import natural
from omnimat.leaderboard.board import Board
from omnimat.leaderboard.contest import Contest
from omnimat_dashboard.catalogue import BEST_OF_BOARD, Catalogue
from omnimat_dashboard.figures import Figure
from omnimat_dashboard.fractions import label_curves
from omnimat_dashboard.heat_map import (
    MERGED,
    METRIC,
    HeatMap,
    gain_of_merging,
    heat_maps,
    is_retrieval,
)
from omnimat_dashboard.links import Links
from omnimat_dashboard.matrix import Column, Matrix, matrices, papers_of
from omnimat_dashboard.papers import Paper, PaperTask, printed
from omnimat_dashboard.query import Query
from omnimat_dashboard.standing import MAX_FILES, Standing
from omnimat_dashboard.text import Scale


@dataclass(frozen=True, slots=True)
class Overview:
    """All that the first page shows.

    Attributes:
        matrices: models against tasks, one for each data set and split, or several.
        heat_maps: retrieval of each model.
        merged: the same with duplicates merged.
        other: boards of retrieval by other metrics, which have no picture here.
        label_curves: titles and figures of scores by the share of the labels.
        papers: the papers that print numbers for these tasks.
        query: what was searched for.
        num_found: how many results were found; None if nothing was searched for.
        num_results: how many results the store has, however many are shown.
        num_rows: how many rows the store has.
        num_recomputed: how many of the rows were computed again.
        variants: the variants to choose among.
    """

    matrices: Sequence[Matrix]
    heat_maps: Sequence[HeatMap]
    merged: Sequence[HeatMap]
    other: Sequence[Board]
    label_curves: Sequence[tuple[str, Figure]]
    papers: Sequence[tuple[Paper, PaperTask]]
    query: Query
    num_found: int | None
    num_results: int
    num_rows: int
    num_recomputed: int
    variants: Sequence[str]

    @property
    def gain_of_merging(self) -> str:
        """By how many per cent points merging raises a share at most; empty if that is unknown."""
        return gain_of_merging(self.heat_maps, self.merged)

    @property
    def signs(self) -> frozenset[str]:
        """What the cells of the matrices say beside their scores, so that it is explained."""
        lines = (line for matrix in self.matrices for line in matrix.lines)
        cells = [cell for line in lines for cell in line.cells if cell is not None]
        told = {said for cell in cells for said in (cell.kind, cell.one.status)}
        return frozenset(told | {"part" for cell in cells if not cell.is_whole})


def overview(catalogue: Catalogue, standing: Standing, query: Query, links: Links) -> Overview:
    """Choose what to show."""
    counts = catalogue.boards()
    contests, num_found = catalogue.contests(), None
    if query.is_search:
        contests, num_found = _found(catalogue, query)
    tasks = [one for one in contests if not is_retrieval(one.board)]
    retrieval = [one for one in contests if is_retrieval(one.board)]
    chances = catalogue.store.chances(_ids(contests))
    boards = [one.board for one in tasks]
    configs = catalogue.store.configs(one.config_hash for c in tasks for one in c.ranked)
    return Overview(
        matrices=matrices(_columns(tasks, catalogue, standing, chances, links)),
        heat_maps=heat_maps(retrieval, chances, METRIC),
        merged=heat_maps(retrieval, chances, MERGED),
        other=[c.board for c in retrieval if c.board.metric not in {METRIC, MERGED}],
        label_curves=label_curves(tasks, configs),
        papers=list({p.title: (p, t) for board in boards for p, t in printed(board)}.values()),
        query=query,
        num_found=num_found,
        num_results=sum(one.num_results for one in counts),
        num_rows=sum(one.num_rows for one in counts),
        num_recomputed=sum(one.num_recomputed for one in counts),
        variants=sorted({one.variant for some in catalogue.best().values() for one in some}),
    )


def _found(catalogue: Catalogue, query: Query) -> tuple[list[Contest], int]:
    """Give the best results of each board that are searched for, and count all of them."""
    found, num_found = [], 0
    for contest in map(catalogue.whole, catalogue.contests()):
        if chosen := query.chosen(contest.ranked):
            num_found += len(chosen)
            shown = chosen if contest.means else chosen[:BEST_OF_BOARD]
            found.append(replace(contest, ranked=shown))
    return found, num_found


def _ids(contests: Iterable[Contest]) -> list[str]:
    """Name the results whose level of chance is told: those of no fold."""
    return [one.group_id for c in contests if not c.means for one in c.ranked]


def _columns(
    contests: Sequence[Contest],
    catalogue: Catalogue,
    standing: Standing,
    chances: Mapping[str, Sequence[float]],
    links: Links,
) -> list[Column]:
    marked = standing.of_some(contests, None if links.is_static else MAX_FILES)
    totals = {one.board: one.num_results for one in catalogue.boards()}
    return [
        Column(
            contest=contest,
            scale=Scale.of(contest.board),
            marks=marked.get(contest.board),
            num_results=totals.get(contest.board, len(contest.ranked)),
            chance=next((c for one in contest.ranked for c in chances.get(one.group_id, ())), None),
            papers=papers_of(contest.board),
        )
        for contest in sorted(contests, key=_order)
    ]


def _order(contest: Contest) -> tuple[str, bool, str, bool, list[tuple[int, str]]]:
    """Order as people do: means over folds first, scores before ranks, top-5 before top-10."""
    board = contest.board
    scores_first = not board.higher_is_better
    return board.dataset, not contest.means, board.task, scores_first, natural(board.metric)
