"""Discovery by latent similarity: which known crystals have a wanted density of states?

MultiMat, Fig. 3b: the DOS of a held-out material is the wish, and the crystals of the training
split nearest to its embedding are the candidates. How far a candidate's true DOS is from the wish
is measured over [-5, 5] eV around the Fermi level, nMAE = int |rho_wish - rho| / int rho_wish, by
the trapezoid rule.

``best of n`` looks at the true DOS of n candidates to choose one: an oracle, which says what n
calculations would find, not what the model knows. The model's own answer is ``best of 1``. Random
candidates are the level of chance.

A recomputation compares the curves of all neighbours again and draws the level of chance again. It
takes from the file that the neighbours are the nearest, since the embeddings of the split that was
searched are not kept; so it does not know which materials had one either.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field
from upath import UPath

from omnimat.base.errors import RunError, UserError
from omnimat.base.files import write_atomically, write_json
from omnimat.evaluation.dos_curves import (
    Curves,
    Float,
    Index,
    best_of,
    best_of_random,
    normalized_errors,
    read_densities,
)
from omnimat.evaluation.neighbors import COLUMNS, Neighbors
from omnimat.evaluation.section import EmbeddedSplit, Embedder, Section, task_and_split
from omnimat.evaluation.stored import check_pretraining_seed, featurizers_of_run
from omnimat.leaderboard.finding import Finding
from omnimat.leaderboard.row import Row
from omnimat.materials.split import Split
from omnimat.objectives.embeddings import Column
from omnimat.verification.agreement import RELATIVE_TOLERANCE, check_agreement
from omnimat.verification.dataset import CheckedDataset
from omnimat.verification.evidence import Evidence
from omnimat.verification.left_out import check_left_out
from omnimat.verification.outcome import FaultError, Note, Remark, UnreachableError, named
from omnimat.verification.tables import read_table

DISCOVERY = "discovery.json"
NEIGHBORS = "discovery.parquet"
REPORTED = (1, 5, 15)

_TASK = "discovery dos -> structure"
_METRIC = "nMAE, best of "
_ALLOWED_ERRORS = 6  # standard errors; about one in a hundred thousand honest rows has more


class DiscoverySettings(Section):
    """Crystals found by a density of states.

    Attributes:
        candidates: the split whose crystals are searched.
        max_neighbors: how many candidates are tried for each target.
        seed: decides the random candidates.
    """

    candidates: Split = "train"
    max_neighbors: int = Field(default=15, ge=1)
    seed: int = Field(default=0, ge=0)

    def evaluate(self, split: EmbeddedSplit, folder: UPath) -> list[Finding]:
        """Find neighbours, score them, and write ``discovery.json`` and ``discovery.parquet``.

        Raises:
            UserError: if the split is searched for itself, the run lacks one of the two encoders,
                or there is no target or no candidate.
        """
        targets, known = self._curves(split)
        wishes = targets.scorable
        if not (len(wishes.ids) and len(known.ids)):
            raise UserError(
                f"discovery: {len(wishes.ids)} materials of the {split.split} split and "
                f"{len(known.ids)} of the {self.candidates} split have what is needed, a structure "
                "and a DOS: give splits that have some"
            )
        found = Neighbors.among(wishes, known, min(self.max_neighbors, len(known.ids)))
        by_chance = best_of_random(wishes, known, found.num_neighbors, self.seed)
        curves: dict[str, list[float]] = {
            "best_of": best_of(found.errors),
            "at_rank": found.errors.mean(axis=0).tolist(),
            "best_of_random": by_chance.mean(axis=0).tolist(),
        }
        counts = {
            "num_targets": len(wishes.ids),
            "num_dropped": len(targets.ids) - len(wishes.ids),  # those without states in the window
            "num_candidates": len(known.ids),
        }
        report = {**self.model_dump(mode="json"), "split": split.split, **counts, **curves}
        write_json(folder / DISCOVERY, report)
        write_atomically(folder / NEIGHBORS, found.table().to_parquet(index=False))
        settings = {"discovery": {"candidates": self.candidates}}
        reported = [n for n in REPORTED if n <= found.num_neighbors]
        print(_table(curves, reported))
        return [
            _finding(found, n, {"chance": curves["best_of_random"][n - 1], **counts}, settings)
            for n in reported
        ]

    def _curves(self, split: EmbeddedSplit) -> tuple[Curves, Curves]:
        """Give the targets and the candidates that have an embedding and a density of states."""
        if self.candidates == split.split:
            raise UserError(
                f"discovery.candidates: the {split.split} split would find itself; "
                "search another split"
            )
        embedder = split.embedder
        if missing := [m for m in ("dos", "structure") if m not in embedder.cards]:
            raise UserError(f"discovery: the run has no encoder of {' and '.join(missing)}")
        crystals = embedder.column("structure", self.candidates)
        return (
            _with_curves(embedder, split.positions, split.embeddings.column("dos")),
            _with_curves(embedder, embedder.positions(self.candidates), crystals),
        )

    @classmethod
    def recompute(cls, row: Row, evidence: Evidence) -> Iterator[Remark]:
        """Compare the curve of every neighbour with that of its target again."""
        task, split = task_and_split(row)
        if task != _TASK:
            raise FaultError(f"task is {task!r}, {NEIGHBORS} is of {_TASK!r}")
        uri = row.predictions_uri
        found = Neighbors.of_table(read_table(row, evidence, COLUMNS), uri)
        num_targets = {"num_targets": len(found.target_ids)}
        best = {n: _finding(found, n, num_targets) for n in range(1, found.num_neighbors + 1)}
        yield from check_agreement(row, best.values())
        dataset = evidence.dataset(row)
        candidates = row.config.get("discovery", {}).get("candidates")
        key = (uri, str(dataset.directory), split, candidates)
        wishes, known = evidence.latest(
            "curves", key, lambda: (_curves_of(dataset, split), _curves_of(dataset, candidates))
        )
        wanted, searched = (split, wishes), (candidates, known)
        yield from evidence.remembered(
            ("discovery", key, row.checkpoint_uri),
            lambda: list(_check_neighbors(row, found, evidence, wanted, searched)),
        )
        n = next(n for n, one in best.items() if one.metric == row.metric)
        yield from _check_chance(row, n, key, evidence, wishes.scorable, known)
        yield from _check_counts(row, wishes, known)
        yield from check_pretraining_seed(row, evidence)


def _finding(
    found: Neighbors, n: int, details: Mapping[str, Any], settings: Mapping[str, Any] | None = None
) -> Finding:
    return Finding(
        task=_TASK,
        metric=f"{_METRIC}{n}",
        value=best_of(found.errors)[n - 1],
        higher_is_better=False,
        num_test=len(found.target_ids),
        predictions=NEIGHBORS,
        details=details,
        settings=settings or {},
    )


def _with_curves(embedder: Embedder, positions: Index, column: Column) -> Curves:
    """Give the embedded materials that have a density of states."""
    import torch

    embedded = np.flatnonzero(column.present.numpy())
    records = embedder.store.records.iloc[positions[embedded]]
    rows, densities = read_densities(embedder.dataset, records)
    ids = records["material_id"].to_numpy(dtype=np.str_)[rows]
    return Curves(ids, column.values[torch.from_numpy(embedded[rows])], densities)


def _table(curves: Mapping[str, Sequence[float]], reported: Sequence[int]) -> str:
    """Lay out the reported points for the terminal."""
    lines = [
        f"  best of {n:2}: nMAE {curves['best_of'][n - 1]:.3f}, "
        f"of random candidates {curves['best_of_random'][n - 1]:.3f}"
        for n in reported
    ]
    return "\n".join(["dos -> structure", *lines])


def _curves_of(dataset: CheckedDataset, split: str) -> Curves:
    """Give all materials of a split that have a density of states, without embeddings."""
    import torch

    records = dataset.index[dataset.index["split"] == split].reset_index(drop=True)
    try:
        rows, densities = read_densities(dataset.directory, records)
    except RunError as error:
        raise UnreachableError(str(error)) from error
    ids = records["material_id"].to_numpy(dtype=np.str_)[rows]
    return Curves(ids, torch.empty(len(ids), 0), densities)


def _check_neighbors(
    row: Row,
    found: Neighbors,
    evidence: Evidence,
    wanted: tuple[str, Curves],
    searched: tuple[str, Curves],
) -> Iterator[Remark]:
    (split, wishes), (candidates, known), dataset = wanted, searched, evidence.dataset(row)
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
    if (again := found.target_ids[np.array(sizes) < found.num_neighbors]).size:
        yield f"{uri}: a neighbour of target {named(again)} is there more than once"
    place = {one: i for i, one in enumerate(known.ids.tolist())}
    if lacking := sorted(set(found.neighbor_ids.ravel().tolist()) - set(place)):
        yield f"{uri}: neighbour {named(lacking)} has no density of states"
        return
    scorable = set(wishes.scorable.ids.tolist())
    if empty := sorted(set(ids.tolist()) - scorable):
        yield f"{uri}: target {named(empty)} has no states in the window"
        return
    yield from _check_errors(uri, found, wishes, known, place)
    left_out = sorted(scorable - set(ids.tolist()))
    dos = featurizers_of_run(row, evidence)["dos"]
    yield from check_left_out(uri, dataset, left_out, {"dos": dos}, "all")
    yield Note("that the neighbours are the nearest is taken from the file")


def _check_errors(
    uri: str, found: Neighbors, wishes: Curves, known: Curves, place: Mapping[str, int]
) -> Iterator[Remark]:
    rows = {one: i for i, one in enumerate(wishes.ids.tolist())}
    order = np.array([rows[one] for one in found.target_ids.tolist()])
    chosen = np.array([[place[one] for one in line] for line in found.neighbor_ids.tolist()])
    again = normalized_errors(wishes.chosen(order), known, chosen)
    wrong = ~np.isclose(again, found.errors, rtol=RELATIVE_TOLERANCE, atol=0).all(axis=1)
    if wrong.any():
        yield f"{uri}: nmae of target {named(found.target_ids[wrong])} is not that of the curves"


def _check_chance(
    row: Row, n: int, key: Hashable, evidence: Evidence, wishes: Curves, known: Curves
) -> Iterator[Remark]:
    """Compare the level of chance, itself a mean of as many draws, with draws of our own."""
    if "chance" not in row.details or not (len(wishes.ids) and len(known.ids)):
        return

    def draw() -> Float:
        return best_of_random(wishes, known, n)[:, -1]

    drawn, said = evidence.remembered(("chance", key, n), draw), row.details["chance"]
    mean, error = float(drawn.mean()), math.sqrt(2 / len(drawn)) * float(drawn.std(ddof=1))
    allowed = _ALLOWED_ERRORS * error + RELATIVE_TOLERANCE * mean
    if not isinstance(said, int | float) or abs(said - mean) > allowed:
        yield f"details: chance is {said!r}, of random candidates it is {mean:.4g} ± {allowed:.2g}"


def _check_counts(row: Row, wishes: Curves, known: Curves) -> Iterator[Remark]:
    """Compare counts with the largest that are possible, where all materials had an embedding."""
    num_empty = len(wishes.ids) - len(wishes.scorable.ids)
    for name, most in (("num_dropped", num_empty), ("num_candidates", len(known.ids))):
        said = row.details.get(name, 0)
        if not isinstance(said, int) or not 0 <= said <= most:
            yield f"details: {name} is {said!r}, in the data set there are {most}"
