"""What models have predicted of one material: in the rows of boards, and in indexes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import mean, mode, stdev
from threading import Lock
from typing import Any

import pandas as pd

from omnimat.leaderboard.board import Board, Summary
from omnimat.leaderboard.row import Row
from omnimat.search.materials import PREDICTED
from omnimat_dashboard.artifacts import Artifacts
from omnimat_dashboard.catalogue import Catalogue
from omnimat_dashboard.materials.quantities import parted, value
from omnimat_dashboard.text import unit

BEST_OF_BOARD = 3  # results of each board that are shown
MAX_TABLES = 60  # that are read for one page
_MAX_REMEMBERED = 120


@dataclass(frozen=True, slots=True)
class Guess:
    """What one result predicts of a material.

    Attributes:
        summary: the result.
        prediction: the mean over seeds, or the class that most of them say, as text.
        spread: standard deviation over seeds, as text; empty if there is none.
        error: how far the prediction is off, as text; ``right`` or ``wrong`` of a class.
        num_seeds: how many seeds were tested on it.
    """

    summary: Summary
    prediction: str
    spread: str
    error: str
    num_seeds: int


@dataclass(frozen=True, slots=True)
class Tested:
    """What the best results of a board predict of a material on which they were tested.

    Attributes:
        board: the board.
        target: the true value, as text.
        unit: unit of the true value and of all predictions.
        guesses: the results, the best of the board first.
    """

    board: Board
    target: str
    unit: str
    guesses: Sequence[Guess]


@dataclass(frozen=True, slots=True)
class Foretold:
    """What the model that made an index predicts of one property.

    Attributes:
        label: the property.
        unit: its unit.
        value: the prediction, as text.
        interval: between which ends the true value lies in the share of cases that the model's
            card says, as text; empty if it gives none.
    """

    label: str
    unit: str
    value: str
    interval: str


class Predictions:
    """The tables of predictions of all rows, some of them remembered."""

    def __init__(self, catalogue: Catalogue, artifacts: Artifacts) -> None:
        """Read the tables that rows of a store name."""
        self._catalogue, self._artifacts = catalogue, artifacts
        self._lock = Lock()
        self._tables: OrderedDict[str, pd.DataFrame | None] = OrderedDict()

    def of(self, dataset: str, material_id: str) -> list[Tested]:
        """Give what the best results of each board of a data set predict of a material."""
        boards = self._best_rows(dataset)
        allowed = islice((row for one in boards for _, rows in one[1] for row in rows), MAX_TABLES)
        cells = {row.row_id: self._cells(row, material_id) for row in allowed}
        return [
            tested
            for board, results in boards
            if (tested := _tested(board, [(one, _among(cells, rows)) for one, rows in results]))
        ]

    def _best_rows(self, dataset: str) -> list[tuple[Board, list[tuple[Summary, list[Row]]]]]:
        """Give the rows of the best few results of each board of a data set."""
        best, rows = self._catalogue.best(), self._catalogue.store.rows

        def read() -> list[tuple[Board, list[tuple[Summary, list[Row]]]]]:
            return [
                (board, [(one, rows(group_id=one.group_id)) for one in found[:BEST_OF_BOARD]])
                for board, found in best.items()
                if board.dataset == dataset
            ]

        return self._catalogue.remembered(f"best rows of {dataset}", read)

    def _cells(self, row: Row, material_id: str) -> list[tuple[Any, Any]]:
        """Give target and prediction of a material, if the row was tested on it."""
        table = self._table(row)
        if table is None or material_id not in table.index:
            return []
        found = table.loc[[material_id]].iloc[0]
        return [(_plain(found["target"]), _plain(found["prediction"]))]

    def _table(self, row: Row) -> pd.DataFrame | None:
        key = row.predictions_sha256
        with self._lock:
            if key in self._tables:
                self._tables.move_to_end(key)
                return self._tables[key]
        read = self._artifacts.predictions(row).value
        table = None if read is None else read.set_index("material_id")
        with self._lock:
            self._tables[key] = table
            while len(self._tables) > _MAX_REMEMBERED:
                self._tables.popitem(last=False)
        return table


def foretold(cells: Mapping[str, Any] | pd.Series[Any]) -> list[Foretold]:
    """Give the predictions that a row of an index holds."""
    columns = [str(one) for one in cells.keys()]  # noqa: SIM118 - a Series iterates over values
    names = [one.removeprefix(PREDICTED) for one in columns if _is_value(one, cells)]
    return [_foretold(name, cells) for name in names if not _is_unknown(cells[PREDICTED + name])]


def remarks(cells: Mapping[str, Any] | pd.Series[Any]) -> str:
    """Give the notes that a model makes on its predictions in a row of an index."""
    noted = cells.get(f"{PREDICTED}notes")
    return "" if _is_unknown(noted) else str(noted)


def _is_value(name: str, cells: Mapping[str, Any] | pd.Series[Any]) -> bool:
    """Say whether a column is a property, and neither an end of its interval nor a remark."""
    bare = name.removeprefix(PREDICTED)
    is_end = any(
        bare.endswith(ending) and PREDICTED + bare.removesuffix(ending) in cells
        for ending in ("_low", "_high", "_probability")
    )
    return name.startswith(PREDICTED) and not is_end and bare not in {"notes", "distance"}


def _foretold(name: str, cells: Mapping[str, Any] | pd.Series[Any]) -> Foretold:
    label, in_unit = parted(name)
    ends = [_plain(cells.get(f"{PREDICTED}{name}{end}")) for end in ("_low", "_high")]
    has_ends = not any(map(_is_unknown, ends))
    return Foretold(
        label=label,
        unit=in_unit,
        value=value(_plain(cells[PREDICTED + name])),
        interval=" to ".join(map(value, ends)) if has_ends else "",
    )


def _among(cells: Mapping[str, list[Any]], rows: Sequence[Row]) -> list[tuple[Any, Any]]:
    return [cell for row in rows for cell in cells.get(row.row_id, [])]


def _tested(
    board: Board, results: Sequence[tuple[Summary, list[tuple[Any, Any]]]]
) -> Tested | None:
    known = [(summary, cells) for summary, cells in results if cells]
    if not known:
        return None
    target = known[0][1][0][0]
    guesses = [_guess(summary, target, [one for _, one in cells]) for summary, cells in known]
    return Tested(board, value(target), unit(board.unit), guesses)


def _guess(summary: Summary, target: Any, guesses: Sequence[Any]) -> Guess:
    number, spread, error = _numbers(target, guesses)
    return Guess(summary, number, spread, error, len(guesses))


def _numbers(target: Any, guesses: Sequence[Any]) -> tuple[str, str, str]:
    """Give prediction, spread and error as texts; several numbers at once have no error."""
    if all(isinstance(one, float) for one in [target, *guesses]):
        spread = value(stdev(guesses)) if len(guesses) > 1 else ""
        return value(mean(guesses)), spread, f"{mean(guesses) - target:+.3g}"
    if isinstance(target, list):
        return value([mean(column) for column in zip(*guesses, strict=True)]), "", ""
    said = mode(map(str, guesses))
    return said, "", "right" if said == str(target) else "wrong"


def _plain(cell: Any) -> Any:
    """Turn what a table holds into a float, a list of floats, or a text."""
    if hasattr(cell, "tolist"):
        cell = cell.tolist()
    return float(cell) if isinstance(cell, int) and not isinstance(cell, bool) else cell


def _is_unknown(cell: Any) -> bool:
    return cell is None or (isinstance(cell, float) and cell != cell) or cell is pd.NA
