"""Two results side by side: how differently they were made, and whether they differ at all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from omnimat.base.duration import duration
from omnimat.leaderboard.board import Board, Summary
from omnimat.leaderboard.comparison import Comparison, compare, material_scores, scores_by_seed
from omnimat.leaderboard.contest import Contest
from omnimat.leaderboard.difference import MIN_MATERIALS
from omnimat.leaderboard.folds import FOLD
from omnimat.leaderboard.imported import is_imported
from omnimat.leaderboard.row import Row
from omnimat_dashboard.artifacts import Artifacts, Found, attempt
from omnimat_dashboard.catalogue import Catalogue
from omnimat_dashboard.figures import Figure, cloud
from omnimat_dashboard.text import Scale, hardware, unit
from omnimat_dashboard.varied import Varied, varied, varied_configs


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two results.

    Attributes:
        contest: where it is ranked.
        summary: the result, averaged over its seeds, or over folds.
        rows: one row for each seed, in each fold.
    """

    contest: Contest
    summary: Summary
    rows: Sequence[Row]

    @property
    def board(self) -> Board:
        """The board on which it is ranked."""
        return self.contest.board

    @property
    def place(self) -> int | None:
        """Its rank on the board, from 1; None for a mean over some of the folds."""
        return self.contest.places.get(self.summary.group_id)

    @property
    def extent(self) -> str:
        """What its score is a mean of: ``3 seeds``, ``5 folds``."""
        return self.contest.extent(self.summary)

    @property
    def config(self) -> Mapping[str, Any]:
        """Its configuration, which for a mean does not say which fold was tested."""
        config = self.rows[0].config
        if self.summary.group_id not in self.contest.means:
            return config
        return config | {FOLD: {key: it for key, it in config[FOLD].items() if key != "test"}}

    @property
    def scale(self) -> Scale:
        """How its values are written."""
        return Scale.of(self.board)


@dataclass(frozen=True, slots=True)
class ComparePage:
    """Two results.

    Attributes:
        a: the first.
        b: the second.
        is_comparable: whether they are on the same board; if not, their numbers say nothing.
        differences: what differs in their configurations.
        num_equal: how many keys of the configurations are equal.
        circumstances: what else differs: code, machine, cost.
        difference: the difference of the means, in one sentence.
        verdict: what the comparison says, in one sentence; empty if it cannot be had.
        scope: what the verdict covers, and what it does not.
        facts: its numbers.
        missing: why there is no verdict.
        errors: the error of one against the error of the other for each material.
        closer: how often each of them errs less.
        agreement: for classes, how many materials both get right, only a, only b, and neither.
    """

    a: Side
    b: Side
    is_comparable: bool
    differences: Sequence[Varied]
    num_equal: int
    circumstances: Sequence[Varied]
    difference: str
    verdict: str
    scope: str
    facts: Sequence[tuple[str, str]]
    missing: str
    errors: Figure | None
    closer: str
    agreement: tuple[int, int, int, int] | None


def compare_page(
    catalogue: Catalogue, artifacts: Artifacts, first: str, second: str
) -> ComparePage | None:
    """Compare two results; None if one of them is unknown."""
    a, b = side_of(catalogue, first), side_of(catalogue, second)
    if a is None or b is None:
        return None
    differences, num_equal = varied_configs([a.config, b.config])
    is_comparable = a.board == b.board
    found: Found[Comparison] = _compared(artifacts, a, b) if is_comparable else Found(None)
    scores = None if found.value is None else _scores(artifacts, a, b)
    is_of_classes = a.board.metric == "accuracy"
    return ComparePage(
        a=a,
        b=b,
        is_comparable=is_comparable,
        differences=differences,
        num_equal=num_equal,
        circumstances=varied([circumstances_of(a), circumstances_of(b)])[0],
        difference=_difference(a, b),
        verdict="" if found.value is None else _verdict(found.value, a.scale),
        scope="" if found.value is None else found.value.scope,
        facts=[] if found.value is None else _facts(found.value, a.scale),
        missing=found.reason,
        errors=None if scores is None or is_of_classes else _errors(scores, a.board),
        closer="" if scores is None else _closer(scores),
        agreement=_agreement(scores) if scores is not None and is_of_classes else None,
    )


def side_of(catalogue: Catalogue, result_id: str) -> Side | None:
    """Give a result, or a mean over folds, with its rows; None if it is unknown."""
    contest = catalogue.contest_of(result_id)
    if contest is None:
        return None
    one = next(one for one in contest.ranked if one.group_id == result_id)
    return Side(contest, one, contest.rows(catalogue.store, result_id))


def _compared(artifacts: Artifacts, a: Side, b: Side) -> Found[Comparison]:
    """Compare by files of this storage alone."""
    missing = (artifacts.predictions(row).reason for row in (*a.rows, *b.rows))
    if reason := next(filter(None, missing), ""):
        return Found(None, reason)
    return attempt(lambda: compare(a.rows, b.rows, artifacts.storage))


def _scores(artifacts: Artifacts, a: Side, b: Side) -> pd.DataFrame:
    """Give the score of each material, averaged over seeds, in the columns ``a`` and ``b``."""
    sides = {
        name: pd.concat(
            scores_by_seed(side.rows, lambda row: material_scores(row, artifacts.storage)),
            axis=1,
            join="inner",
        ).mean(axis=1)
        for name, side in (("a", a), ("b", b))
    }
    return pd.DataFrame(sides).dropna()


def _errors(scores: pd.DataFrame, board: Board) -> Figure:
    of = f" ({unit(board.unit)})" if board.unit else ""
    axes = (f"|error| of A{of}", f"|error| of B{of}")
    x, y = scores["a"].to_numpy(), scores["b"].to_numpy()
    names = [str(name) for name in scores.index]
    return cloud(x, y, names, ids=names, axes=axes)


def _closer(scores: pd.DataFrame) -> str:
    shares = (scores["a"] < scores["b"]).mean(), (scores["b"] < scores["a"]).mean()
    return f"A errs less on {shares[0]:.0%} of the materials, B on {shares[1]:.0%}."


def _agreement(scores: pd.DataFrame) -> tuple[int, int, int, int]:
    a, b = scores["a"] > 0.5, scores["b"] > 0.5
    return int((a & b).sum()), int((a & ~b).sum()), int((~a & b).sum()), int((~a & ~b).sum())


def _verdict(comparison: Comparison, scale: Scale) -> str:
    paired = comparison.paired
    if not paired.has_enough:
        return f"No verdict: fewer than {MIN_MATERIALS} materials say too little."
    if not comparison.better:
        return "No difference is shown: on other test materials or seeds either might be ahead."
    by = f"{scale.rounded(abs(paired.difference), paired.high - paired.low)} {scale.unit}".strip()
    chance = "test materials and seeds" if paired.covers_seeds else "test materials"
    return f"{comparison.better} is better, by {by}, beyond what the choice of {chance} explains."


def _facts(comparison: Comparison, scale: Scale) -> list[tuple[str, str]]:
    paired = comparison.paired
    width = paired.high - paired.low
    facts = [("A - B", f"{scale.rounded(paired.difference, width)} {scale.unit}")]
    if math.isfinite(width):
        low, high = scale.rounded(paired.low, width), scale.rounded(paired.high, width)
        facts.append(("95 % interval", f"{low} to {high} {scale.unit}"))
    facts += [
        ("p", f"{paired.p_value:.2g}"),
        ("materials", f"{paired.num_materials:,}"),
        ("seeds of A and B", " and ".join(map(str, paired.num_seeds))),
    ]
    if comparison.num_not_shared:
        facts.append(("not predicted by both", f"{comparison.num_not_shared:,}"))
    return facts


def _difference(a: Side, b: Side) -> str:
    scale = a.scale
    value = scale.number(a.summary.mean - b.summary.mean)
    return f"The means differ by A - B = {value} {scale.unit}".rstrip() + "."


def circumstances_of(side: Side) -> dict[str, str]:
    """Tell how a result came about, as text."""
    rows = side.rows

    def all_of(values: Iterator[str]) -> str:
        return ", ".join(dict.fromkeys(values))

    return {
        "model": side.summary.model,
        "variant": side.summary.variant.replace("_", " "),
        "seeds": all_of(str(row.seed) for row in rows),
        "run": all_of(row.run_name for row in rows),
        "pretrained by": all_of(
            "not known" if is_imported(row) else row.parent_run or "nothing" for row in rows
        ),
        "code": all_of(row.code_commit[:12] + " + changes" * row.code_dirty for row in rows),
        "hardware": all_of(hardware(row.hardware) for row in rows),
        "time, in all": (
            "not known" if is_imported(rows[0]) else duration(sum(row.wall_time_s for row in rows))
        ),
        "samples seen, a seed": all_of(
            "not known" if is_imported(row) else f"{row.samples_seen:,}" for row in rows
        ),
        "materials tested": f"{side.summary.num_test:,}",
    }
