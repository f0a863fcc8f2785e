"""One result over its seeds: what the model scored, how it learned, and how to check it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omnimat.leaderboard.board import Board, Summary
from omnimat.leaderboard.columns import board_of
from omnimat.leaderboard.folds import task_without_fold
from omnimat.leaderboard.imported import is_imported, published_in
from omnimat.leaderboard.members import single_networks
from omnimat.leaderboard.overlap import seen_in
from omnimat.leaderboard.row import Row
from omnimat_dashboard.artifacts import Artifacts, Found, attempt
from omnimat_dashboard.catalogue import Catalogue
from omnimat_dashboard.figures import Figure
from omnimat_dashboard.heat_map import is_retrieval
from omnimat_dashboard.history import learning, trials
from omnimat_dashboard.packages import Packages
from omnimat_dashboard.papers import PaperTask, printed
from omnimat_dashboard.performance import Performance, formulas_of, performance_of
from omnimat_dashboard.retrieved import Retrievals, Retrieved
from omnimat_dashboard.systems import Systems
from omnimat_dashboard.text import Scale, hardware, moment, unit

MAX_RIVALS = 50  # how many other results are offered for comparison
_DISCOVERY = "discovery"  # whose files hold candidates for each target, and no prediction

_FACTS: Mapping[str, Callable[[Row], str]] = {
    "Run": lambda row: row.run_name,
    "Pretrained by": lambda row: row.parent_run or "nothing: from scratch",
    "Data set": lambda row: f"{row.dataset} {row.dataset_fingerprint}",
    "Data set's folder": lambda row: row.dataset_uri or "not recorded",
    "Split sha256": lambda row: row.split_sha256,
    "Code": lambda row: row.code_commit + " with uncommitted changes" * row.code_dirty,
    "Hardware": lambda row: hardware(row.hardware),
    "Chosen on validation": lambda row: (
        ", ".join(f"{name} {json.dumps(value)}" for name, value in row.hyperparameters.items())
        or "nothing"
    ),
    "Made": lambda row: moment(row.created_at),
    "Checkpoint": lambda row: (
        ", ".join(one.checkpoint_uri for one in single_networks(row)) or "none"
    ),
    "Predictions": lambda row: row.predictions_uri or "none",
    "Checked": lambda row: (
        f"{moment(row.checked_at)} with {row.checked_with}" if row.checked_at else "not yet"
    ),
}
# What is known of a model that nobody here has trained.
_IMPORTED_FACTS: Mapping[str, Callable[[Row], str]] = {
    "Imported from": lambda row: source.sentence if (source := published_in(row.details)) else "",
    **{
        name: told
        for name, told in _FACTS.items()
        if name not in {"Pretrained by", "Hardware", "Chosen on validation", "Checkpoint"}
    },
}


@dataclass(frozen=True, slots=True)
class RetrievalPart:
    """Examples of a retrieval.

    Attributes:
        seed: the seed whose embeddings were searched.
        found: the examples, or why there are none.
        formulas: reduced formulas of materials by their ids, as far as they are known.
    """

    seed: int
    found: Found[Retrieved]
    formulas: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ResultPage:
    """One result.

    Attributes:
        board: the board on which it is ranked.
        scale: how its values are written.
        summary: the result, averaged over its seeds.
        rows: one row for each seed.
        place: its rank on the board, from 1.
        num_results: how many results the board has.
        rivals: other results of the board, best first.
        is_imported: whether nobody here has trained it.
        curves: how it learned.
        curves_missing: why there are no curves.
        performance: how it does on each material; None for a retrieval.
        retrieval: examples of a retrieval, or why there are none; None for all else.
        per_class: what a paper prints for each class.
        seen: what pretraining has seen of the materials that judge it; seeds may differ.
        runs_with_maps: which of the runs it comes from have embedding maps.
        provenance: names and values; what all seeds share is said once.
    """

    board: Board
    scale: Scale
    summary: Summary
    rows: Sequence[Row]
    place: int
    num_results: int
    rivals: Sequence[Summary]
    is_imported: bool
    curves: Sequence[Figure]
    curves_missing: str
    performance: Performance | None
    retrieval: RetrievalPart | None
    per_class: PaperTask | None
    seen: Sequence[str]
    runs_with_maps: Sequence[str]
    provenance: Sequence[tuple[str, str]]


class Results:
    """The results of one store, with the files of one storage."""

    def __init__(self, catalogue: Catalogue, artifacts: Artifacts, packages: Packages) -> None:
        """Show a store, a storage and its packages."""
        self._catalogue, self._artifacts, self._packages = catalogue, artifacts, packages
        self._systems, self._retrievals = Systems(artifacts), Retrievals(artifacts)

    def page(self, group_id: str) -> ResultPage | None:
        """Collect what is known about a result; None if nothing is."""
        rows = sorted(self._catalogue.store.rows(group_id=group_id), key=lambda row: row.seed)
        if not rows:
            return None
        board = board_of(rows[0])
        everything = self._catalogue.of_board(board)
        place = [one.group_id for one in everything].index(group_id)
        drawn = _curves(self._artifacts, rows, board)
        is_searched = is_retrieval(board)
        has_none = is_searched or rows[0].section == _DISCOVERY
        return ResultPage(
            board=board,
            scale=Scale.of(board),
            summary=everything[place],
            rows=rows,
            place=place + 1,
            num_results=len(everything),
            rivals=[one for one in everything if one.group_id != group_id][:MAX_RIVALS],
            is_imported=is_imported(rows[0]),
            curves=drawn.value or (),
            curves_missing=drawn.reason,
            performance=None if has_none else self._performance(rows, board),
            retrieval=self._retrieval(rows[0], board) if is_searched else None,
            per_class=next((task for _, task in printed(board) if task.per_class), None),
            seen=[told for told in dict.fromkeys(map(_seen, rows)) if told],
            runs_with_maps=attempt(lambda: _with_maps(self._artifacts, rows[0])).value or (),
            provenance=_provenance(rows),
        )

    def _performance(self, rows: Sequence[Row], board: Board) -> Performance:
        return performance_of(rows, board, self._artifacts, self._packages, self._systems)

    def _retrieval(self, row: Row, board: Board) -> RetrievalPart:
        found = self._retrievals.of(row)
        index = self._artifacts.index(board.dataset, board.dataset_fingerprint)
        return RetrievalPart(row.seed, found, formulas_of(index.value, _named(found.value)))


def _named(retrieved: Retrieved | None) -> list[str]:
    """Name the materials that are shown."""
    examples = retrieved.examples if retrieved else ()
    return [name for one in examples for name in (one.material_id, *one.found)]


def _seen(row: Row) -> str:
    """Say what a model has seen of the materials that judge it; nothing if from scratch."""
    if seen := seen_in(row.details):
        told = "; ".join(one.sentence for one in seen)
        return f"By its own account, which verify does not check: {told}"
    return "What its pretraining has seen of the test materials is not recorded" * bool(
        row.parent_run
    )


def _with_maps(artifacts: Artifacts, row: Row) -> list[str]:
    names = dict.fromkeys((row.run_name, row.parent_run))
    return [name for name in names if artifacts.maps(name)]


def _provenance(rows: Sequence[Row]) -> list[tuple[str, str]]:
    facts = []
    for name, told in (_IMPORTED_FACTS if is_imported(rows[0]) else _FACTS).items():
        values = [told(row) for row in rows]
        if len(set(values)) == 1:
            facts.append((name, values[0]))
        else:
            facts += [(f"{name}, seed {row.seed}", v) for row, v in zip(rows, values, strict=True)]
    return facts


def _curves(artifacts: Artifacts, rows: Sequence[Row], board: Board) -> Found[list[Figure]]:
    """Draw the trials behind the rows, or the pretraining if encoders alone were evaluated."""
    left = [(one, artifacts.trial(one)) for row in rows for one in single_networks(row)]
    kept = [(row, found.value) for row, found in left if found.value is not None]
    histories = [(row, trial) for row, trial in kept if trial.get("history")]
    if histories:
        return attempt(lambda: _trial_curves(histories, board))
    if rows[0].variant == "pretrained" and rows[0].parent_run:
        history = artifacts.history(rows[0].parent_run)
        table = history.value
        if table is None:
            return Found(None, history.reason)
        return attempt(lambda: learning(table))
    return Found(None, left[0][1].reason or "its trial kept no history")


def _trial_curves(histories: Sequence[tuple[Row, Mapping[str, Any]]], board: Board) -> list[Figure]:
    of = f" ({unit(board.unit)})" if board.unit else ""
    # As `finetune.fit.validation_key` writes it; importing that would load torch.
    task = task_without_fold(board.task, histories[0][0].config) or board.task
    validation = f"validation {task}"
    panels = (("train_loss", "training loss"), (validation, f"validation{of}"))
    return trials([(f"seed {row.seed}", trial) for row, trial in histories], panels)
