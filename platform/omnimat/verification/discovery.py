"""Rows of discovery: neighbours' densities of states compared again, out of the shards.

That the neighbours are the nearest in the embedding space is taken from the file: the embeddings of
the split that was searched are not kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from omnimat.evaluation.discovery import NEIGHBORS
from omnimat.evaluation.dos_curves import Curves, best_of, normalized_errors, read_densities
from omnimat.evaluation.section import Finding as Found
from omnimat.features.layout import Featurizer
from omnimat.leaderboard.row import Row
from omnimat.materials.errors import RunError
from omnimat.materials.record import Modality
from omnimat.materials.split import Split
from omnimat.verification.agreement import check_agreement
from omnimat.verification.dataset import CheckedDataset, named
from omnimat.verification.embeddings import (
    check_pretraining_seed,
    featurizers_of_run,
    task_and_split,
)
from omnimat.verification.evidence import Evidence
from omnimat.verification.modalities import check_left_out
from omnimat.verification.outcome import FaultError, Finding, Note, UnreachableError
from omnimat.verification.tables import read_table

_COLUMNS = ("material_id", "neighbor_id", "rank", "similarity", "nmae")
_TASK = "discovery dos -> structure"
_RELATIVE_TOLERANCE = 1e-9  # the same curves, added up in another order


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
    found = _read(read_table(evidence.data(uri, "predictions_uri"), uri, _COLUMNS), uri)
    values = best_of(found.errors)
    num = len(found.target_ids)
    yield from check_agreement(
        row,
        [
            Found(task, f"nMAE, best of {n}", value, False, num)
            for n, value in enumerate(values, start=1)
        ],
    )
    dataset = evidence.dataset(row)
    candidates = row.config.get("discovery", {}).get("candidates")
    key = ("discovery", uri, split, candidates)
    yield from evidence.remembered(
        key, lambda: list(_check_neighbors(row, found, dataset, split, candidates))
    )
    yield from check_pretraining_seed(row, evidence)


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
    row: Row, found: _Neighbors, dataset: CheckedDataset, split: Split, candidates: str
) -> Iterator[Finding]:
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
    wishes, known = _curves(dataset, split), _curves(dataset, candidates)
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
