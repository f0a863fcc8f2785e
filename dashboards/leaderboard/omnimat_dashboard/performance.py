"""How a result does on each of its test materials, by the predictions that its rows keep."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from omnimat.leaderboard.board import Board
from omnimat.leaderboard.folds import FOLD
from omnimat.leaderboard.imported import is_imported
from omnimat.leaderboard.members import members_in
from omnimat.leaderboard.row import Row
from omnimat_dashboard.artifacts import Artifacts, Found, attempt
from omnimat_dashboard.calibration import (
    PROBABILITY,
    Calibrated,
    of_intervals,
    of_probabilities,
    of_seeds,
)
from omnimat_dashboard.errors import Errors, errors_of
from omnimat_dashboard.figures import Figure
from omnimat_dashboard.intervals import Intervals, intervals_of
from omnimat_dashboard.packages import Packages
from omnimat_dashboard.predictions import (
    Confusion,
    confusion,
    is_classification,
    parity,
    statistics,
)
from omnimat_dashboard.systems import Systems

MAX_PARITY_PLOTS = 3

Tables = Sequence[tuple[Row, pd.DataFrame]]


@dataclass(frozen=True, slots=True)
class Parity:
    """The predictions of one seed against the truth."""

    seed: int
    figure: Figure
    statistics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that is not known.

    Attributes:
        told: what that is, in a sentence, or what to do about it.
        command: what to run; empty where the sentence says all.
    """

    told: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Performance:
    """What is known of the predictions of a result.

    Attributes:
        parities: predictions against the truth, for a regression.
        confusion: how often each class is taken for each, for a classification.
        missing: why there is neither.
        calibrations: whether it knows how sure it may be.
        calibrations_missing: what is not known of that.
        intervals: what the intervals of packages of its weights hold, a sentence each.
        errors: on what it errs; None without predictions.
        facts_missing: what is not known of the materials and why, a sentence each.
    """

    parities: Sequence[Parity]
    confusion: Confusion | None
    missing: str
    calibrations: Sequence[Calibrated]
    calibrations_missing: Sequence[Missing]
    intervals: Sequence[str]
    errors: Errors | None
    facts_missing: Sequence[str]


def performance_of(
    rows: Sequence[Row], board: Board, artifacts: Artifacts, packages: Packages, systems: Systems
) -> Performance:
    """Read the predictions of the rows of a result, and what is known of their materials."""
    tables = [(row, artifacts.predictions(row)) for row in rows]
    kept = [(row, found.value) for row, found in tables if found.value is not None]
    found = attempt(lambda: intervals_of(packages, rows[0])).value or []
    held = [one.told for one in found]
    if not kept:
        return Performance((), None, tables[0][1].reason, (), (), held, None, ())
    index = artifacts.index(board.dataset, board.dataset_fingerprint)
    shown = attempt(lambda: _shown(kept, board, index.value))
    parities, matrix = shown.value or ([], None)
    looks = attempt(lambda: list(_calibrations(kept, found, board)))
    known = _systems(kept, board, index, systems)
    errors = attempt(lambda: errors_of([table for _, table in kept], index.value, known.value))
    return Performance(
        parities=parities,
        confusion=matrix,
        missing=shown.reason,
        calibrations=looks.value or (),
        calibrations_missing=list(_not_calibrated(kept, found)) if looks.value is not None else (),
        intervals=held,
        errors=errors.value,
        facts_missing=_missing(index, known),
    )


def _shown(
    kept: Tables, board: Board, index: pd.DataFrame | None
) -> tuple[list[Parity], Confusion | None]:
    """Draw predictions against the truth, or count how often each class is taken for each."""
    if is_classification(kept[0][1]):
        return [], confusion([table for _, table in kept])
    formulas = formulas_of(index, kept[0][1]["material_id"].astype(str))
    parities = [
        Parity(row.seed, parity(table, board, formulas), statistics(table))
        for row, table in kept[:MAX_PARITY_PLOTS]
    ]
    return parities, None


def formulas_of(index: pd.DataFrame | None, ids: Sequence[str] | pd.Series[str]) -> dict[str, str]:
    """Give the reduced formulas of materials by their ids, as far as the index knows them."""
    if index is None:
        return {}
    known = index[index["material_id"].isin(ids)].dropna(subset=["reduced_formula"])
    return dict(zip(known["material_id"], known["reduced_formula"], strict=True))


def _calibrations(
    kept: Tables, intervals: Sequence[Intervals], board: Board
) -> Iterator[Calibrated]:
    tables = [table for _, table in kept]
    if is_classification(tables[0]):
        found = [of_probabilities(tables)]
    else:
        by_seed = {row.seed: table for row, table in kept}
        found = [
            of_intervals([by_seed[seed] for seed in one.seeds], one.calibration, one.package)
            for one in intervals
            if one.calibration.levels and by_seed.keys() >= set(one.seeds)
        ]
        found.append(of_seeds(tables, board.unit))
    yield from (one for one in found if one is not None)


def _not_calibrated(kept: Tables, intervals: Sequence[Intervals]) -> Iterator[Missing]:
    """Say what is not known of how sure the model may be, and what to run."""
    row, table = kept[0]
    if is_classification(table):
        if not all(PROBABILITY in one for _, one in kept):
            yield _no_probabilities(row)
        return
    can_be_packed = not (is_imported(row) or FOLD in row.config)
    pack = _packing(row)
    if not can_be_packed or np.ndim(table["target"].iloc[0]):
        pass  # a package has intervals of single numbers, and no folds
    elif not intervals:
        yield Missing("No package in this storage has intervals of this model. To make one:", pack)
    elif not any(one.calibration.levels for one in intervals):
        yield Missing(
            "An older omnimat packed it, with intervals of one share. To do it anew:", pack
        )
    if members_in(row.details):
        yield Missing("The mean keeps no spread of its networks; their own result shows it.")
    elif len(kept) < 2 and not is_imported(row):
        yield Missing("One seed has no spread to hold against its errors; give the job several.")


def _packing(row: Row) -> str:
    """Give the command that packs the weights of a row for this storage."""
    run, variant = shlex.quote(row.run_name), shlex.quote(row.variant)
    place = shlex.quote(f"{row.run_name}-{row.variant}")
    return f'omnimat package {run} --variant {variant} --out "$OMNIMAT_STORAGE"/models/{place}'


def _no_probabilities(row: Row) -> Missing:
    told = "These predictions hold no probabilities."
    if row.section == "finetune" and not is_imported(row):
        told += " An older omnimat made them; run the job again under another name."
    return Missing(told)


def _systems(
    kept: Tables, board: Board, index: Found[pd.DataFrame], systems: Systems
) -> Found[Mapping[str, str]]:
    records, ids = index.value, kept[0][1]["material_id"].astype(str)
    if records is None:
        return Found(None)
    return systems.of(board.dataset, board.dataset_fingerprint, records, ids)


def _missing(index: Found[pd.DataFrame], systems: Found[Mapping[str, str]]) -> list[str]:
    if index.value is None:
        return [f"Elements, crystal systems and sizes are not known: {index.reason}."]
    return [] if systems.value else [f"Crystal systems are not known: {systems.reason}."]
