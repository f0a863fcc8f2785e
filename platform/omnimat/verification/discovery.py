"""Rows of discovery: neighbours' densities of states compared again, out of the shards.

That the neighbours are the nearest in the embedding space is taken from the file: the embeddings of
the split that was searched are not kept. So is how many candidates had one, up to the number of
those with a density of states. The level of chance is drawn again, from all of these.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from omnimat.base.errors import RunError
from omnimat.evaluation.discovery import NEIGHBORS
from omnimat.evaluation.dos_curves import (
    Curves,
    Float,
    best_of,
    normalized_errors,
    read_densities,
)
from omnimat.evaluation.section import Finding as Found
from omnimat.leaderboard.row import Row
from omnimat.materials.record import Modality
from omnimat.materials.split import Split
from omnimat.modalities.layout import Featurizer
from omnimat.verification.agreement import check_agreement
from omnimat.verification.dataset import CheckedDataset
from omnimat.verification.embeddings import (
    check_pretraining_seed,
    featurizers_of_run,
    task_and_split,
)
from omnimat.verification.evidence import Evidence
from omnimat.verification.modalities import check_left_out
from omnimat.verification.outcome import FaultError, Finding, Note, UnreachableError, named
from omnimat.verification.tables import read_table

_COLUMNS = ("material_id", "neighbor_id", "rank", "similarity", "nmae")
_TASK = "discovery dos -> structure"
_METRIC = "nMAE, best of "
_RELATIVE_TOLERANCE = 1e-9  # the same curves, added up in another order
_NUM_DRAWS = 20  # as many as an evaluation takes
_ALLOWED_ERRORS = 6  # standard errors: of a hundred thousand honest rows about one has more


@dataclass(frozen=True, slots=True)
class _Neighbors:
    """What ``discovery.parquet`` holds: k candidates for each of n targets.

    Attributes:
        target_ids: (n,).
        neighbor_ids: (n, k), by rank.
        errors: (n, k) nMAE.
    """

    target_ids: NDArray[np.str_]
    neighbor_ids: NDArray[np.str_]
    errors: NDArray[np.float64]


def is_of_discovery(row: Row) -> bool:
    """Tell rows of this kind."""
    return row.predictions_uri.endswith(NEIGHBORS)


def check_discovery(row: Row, evidence: Evidence) -> Iterator[Finding]:
    """Compare every neighbour's curve with the target's again.

    Raises:
        FaultError: the row is not of its configuration, or the file holds no neighbours.
        UnreachableError: a file is missing.
    """
    task, split = task_and_split(row)
    if task != _TASK:
        raise FaultError(f"task is {task!r}, {NEIGHBORS} is of {_TASK!r}")
    uri = row.predictions_uri
    found = _read(read_table(evidence.predictions(row).data, uri, _COLUMNS), uri)
    yield from check_agreement(row, _scores(task, found))
    dataset = evidence.dataset(row)
    candidates = row.config.get("discovery", {}).get("candidates")
    key = (uri, str(dataset.directory), split, candidates)
    wishes, known = evidence.latest(
        "curves", key, lambda: (_curves(dataset, split), _curves(dataset, candidates))
    )
    yield from evidence.remembered(
        ("discovery", key, row.checkpoint_uri),
        lambda: list(_check_neighbors(row, found, dataset, (split, wishes), (candidates, known))),
    )
    yield from _check_details(row, key, evidence, wishes, known)
    yield from check_pretraining_seed(row, evidence)


def _scores(task: str, found: _Neighbors) -> list[Found]:
    num = len(found.target_ids)
    return [
        Found(task, f"{_METRIC}{n}", value, False, num, details={"num_targets": num})
        for n, value in enumerate(best_of(found.errors), start=1)
    ]


def _check_details(
    row: Row, key: Hashable, evidence: Evidence, wishes: Curves, known: Curves
) -> Iterator[Finding]:
    n = int(row.metric.removeprefix(_METRIC))
    scorable = wishes.chosen(wishes.areas > 0)
    if "chance" in row.details and len(scorable.ids) and len(known.ids):
        drawn = evidence.remembered(("chance", key, n), lambda: _by_chance(scorable, known, n))
        yield from _check_chance(row, drawn)
    yield from _check_counts(row, len(wishes.ids) - len(scorable.ids), len(known.ids))


def _by_chance(wishes: Curves, known: Curves, n: int) -> Float:
    """Give the nMAE of the best of n candidates at random, of each of several draws."""
    generator = np.random.default_rng(0)
    shape = (_NUM_DRAWS, len(wishes.ids), n)
    draws = generator.integers(len(known.ids), size=shape)
    return np.array([best_of(normalized_errors(wishes, known, draw))[-1] for draw in draws])


def _check_chance(row: Row, drawn: Float) -> Iterator[Finding]:
    """Compare the level of chance, itself a mean of as many draws, with draws of our own."""
    said, mean = row.details["chance"], float(drawn.mean())
    error = math.sqrt(2 / len(drawn)) * float(drawn.std(ddof=1))
    allowed = _ALLOWED_ERRORS * error + _RELATIVE_TOLERANCE * mean
    if not isinstance(said, int | float) or abs(said - mean) > allowed:
        yield f"details: chance is {said!r}, of random candidates it is {mean:.4g} ± {allowed:.2g}"


def _check_counts(row: Row, num_empty: int, num_with_curve: int) -> Iterator[Finding]:
    """Compare counts with what they are at most; which materials had an embedding is not kept."""
    for name, most in (("num_dropped", num_empty), ("num_candidates", num_with_curve)):
        said = row.details.get(name, 0)
        if not isinstance(said, int) or not 0 <= said <= most:
            yield f"details: {name} is {said!r}, in the data set there are {most}"


def _read(table: pd.DataFrame, uri: str) -> _Neighbors:
    k = int(table["rank"].max())
    ranks = table["rank"].to_numpy()
    if len(table) % k or (ranks.reshape(-1, k) != np.arange(1, k + 1)).any():
        raise FaultError(f"{uri}: rank does not go from 1 to {k} for every target")
    ids = table["material_id"].to_numpy(dtype=np.str_).reshape(-1, k)
    if (ids != ids[:, :1]).any():
        raise FaultError(f"{uri}: material_id changes among the neighbours of a target")
    similarities = table["similarity"].to_numpy().reshape(-1, k)
    if (np.diff(similarities, axis=1) > 0).any():
        raise FaultError(f"{uri}: similarity does not fall with the rank")
    neighbors = table["neighbor_id"].to_numpy(dtype=np.str_).reshape(-1, k)
    errors = table["nmae"].to_numpy(dtype=np.float64).reshape(-1, k)
    return _Neighbors(ids[:, 0], neighbors, errors)


def _check_neighbors(
    row: Row,
    found: _Neighbors,
    dataset: CheckedDataset,
    wanted: tuple[Split, Curves],
    searched: tuple[str, Curves],
) -> Iterator[Finding]:
    (split, wishes), (candidates, known) = wanted, searched
    uri, splits = row.predictions_uri, dataset.split_by_id
    ids, counts = np.unique(found.target_ids, return_counts=True)
    if (twice := ids[counts > 1]).size:
        yield f"{uri}: target {named(twice)} is there more than once"
    for what, group, its in (
        ("target", ids, split),
        ("neighbour", np.unique(found.neighbor_ids), candidates),
    ):
        if wrong := [one for one in group if splits.get(one) != its]:
            yield f"{uri}: {what} {named(wrong)} is not of the {its} split"
    sizes = [len(set(neighbors)) for neighbors in found.neighbor_ids.tolist()]
    if (again := found.target_ids[np.array(sizes) < found.neighbor_ids.shape[1]]).size:
        yield f"{uri}: a neighbour of target {named(again)} is there more than once"
    place = {one: i for i, one in enumerate(known.ids.tolist())}
    if lacking := sorted(set(found.neighbor_ids.ravel().tolist()) - set(place)):
        yield f"{uri}: neighbour {named(lacking)} has no density of states"
        return
    scorable = dict(zip(wishes.ids.tolist(), wishes.areas > 0, strict=True))
    if empty := [one for one in ids.tolist() if not scorable.get(one)]:
        yield f"{uri}: target {named(empty)} has no states in the window"
        return
    yield from _check_errors(uri, found, wishes, known, place)
    left_out = sorted(one for one, has_states in scorable.items() if has_states and one not in ids)
    of_one: dict[Modality, Featurizer] = {"dos": featurizers_of_run(row)["dos"]}
    yield from check_left_out(uri, dataset, left_out, of_one, "all")
    yield Note("that the neighbours are the nearest is taken from the file")


def _check_errors(
    uri: str, found: _Neighbors, wishes: Curves, known: Curves, place: dict[str, int]
) -> Iterator[Finding]:
    rows = {one: i for i, one in enumerate(wishes.ids.tolist())}
    chosen = np.array([[place[one] for one in line] for line in found.neighbor_ids.tolist()])
    order = np.array([rows[one] for one in found.target_ids.tolist()])
    wanted = Curves(wishes.ids[order], wishes.values[order], wishes.densities[order])
    again = normalized_errors(wanted, known, chosen)
    wrong = ~np.isclose(again, found.errors, rtol=_RELATIVE_TOLERANCE, atol=0).all(axis=1)
    if wrong.any():
        yield f"{uri}: nmae of target {named(found.target_ids[wrong])} is not that of the curves"


def _curves(dataset: CheckedDataset, split: str) -> Curves:
    records = dataset.index[dataset.index["split"] == split].reset_index(drop=True)
    try:
        rows, densities = read_densities(dataset.directory, records)
    except RunError as error:
        raise UnreachableError(str(error)) from error
    ids = records["material_id"].to_numpy(dtype=np.str_)[rows]
    return Curves(ids, torch.zeros(len(ids), 1), densities)
