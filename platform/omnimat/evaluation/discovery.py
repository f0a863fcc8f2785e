"""Discovery by latent similarity: which known crystals have a wanted density of states?

MultiMat, Fig. 3b: the DOS of a held-out material is the wish, and the crystals of the training
split nearest to its embedding are the candidates. How far a candidate's true DOS is from the wish
is measured over [-5, 5] eV around the Fermi level, nMAE = int |rho_wish - rho| / int rho_wish, by
the trapezoid rule.

``best of n`` looks at the true DOS of n candidates to choose one: an oracle, which says what n
calculations would find, not what the model knows. The model's own answer is ``best of 1``. Random
candidates are the level of chance.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from pydantic import Field
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.files import write_atomically
from omnimat.base.settings import Settings
from omnimat.evaluation.dos_curves import (
    Curves,
    Float,
    Index,
    best_of,
    normalized_errors,
    read_densities,
)
from omnimat.evaluation.section import EmbeddedSplit, Embedder, Finding
from omnimat.materials.split import Split
from omnimat.objectives.embeddings import Column

DISCOVERY = "discovery.json"
NEIGHBORS = "discovery.parquet"
REPORTED = (1, 5, 15)

_NUM_RANDOM_DRAWS = 20
_TARGETS_A_BLOCK = 256


class DiscoverySettings(Settings):
    """Crystals found by a density of states.

    Attributes:
        candidates: split whose crystals are searched.
        max_neighbors: candidates tried for each target.
        seed: of the random candidates.
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
        self._check(split)
        embedder = split.embedder
        targets = _with_curves(embedder, split.positions, split.embeddings.column("dos"))
        known = _with_curves(
            embedder,
            embedder.positions(self.candidates),
            embedder.column("structure", self.candidates),
        )
        has_area = targets.areas > 0
        wishes = targets.chosen(has_area)
        if not (len(wishes.ids) and len(known.ids)):
            raise UserError(
                f"discovery: {len(wishes.ids)} materials of the {split.split} split and "
                f"{len(known.ids)} of the {self.candidates} split have what is needed, a structure "
                "and a DOS: give splits that have some"
            )
        found = Neighbors.among(wishes, known, min(self.max_neighbors, len(known.ids)))
        curves = {
            "best_of": best_of(found.errors),
            "at_rank": found.errors.mean(axis=0).tolist(),
            "best_of_random": self._by_chance(wishes, known, found.errors.shape[1]),
        }
        counts = {
            "num_targets": len(wishes.ids),
            "num_dropped": int((~has_area).sum()),  # without any states in the window
            "num_candidates": len(known.ids),
        }
        report = {**self.model_dump(mode="json"), "split": split.split, **counts, **curves}
        write_atomically(folder / DISCOVERY, f"{json.dumps(report, indent=1)}\n".encode())
        write_atomically(folder / NEIGHBORS, found.to_parquet())
        print(_table(curves))
        return [
            Finding(
                task="discovery dos -> structure",
                metric=f"nMAE, best of {n}",
                value=curves["best_of"][n - 1],
                higher_is_better=False,
                num_test=len(wishes.ids),
                predictions=NEIGHBORS,
                details={"chance": curves["best_of_random"][n - 1], **counts},
                settings={"discovery": {"candidates": self.candidates}},
            )
            for n in REPORTED
            if n <= found.errors.shape[1]
        ]

    def _check(self, split: EmbeddedSplit) -> None:
        if self.candidates == split.split:
            raise UserError(
                f"discovery.candidates: the {split.split} split would find itself; "
                "search another split"
            )
        if missing := [m for m in ("dos", "structure") if m not in split.embedder.cards]:
            raise UserError(f"discovery: the run has no encoder of {' and '.join(missing)}")

    def _by_chance(self, wishes: Curves, known: Curves, num_neighbors: int) -> list[float]:
        """Give ``best_of`` of candidates drawn at random, the mean of several draws."""
        generator = np.random.default_rng(self.seed)
        shape = (len(wishes.ids), num_neighbors)
        draws = [
            best_of(
                normalized_errors(wishes, known, generator.integers(len(known.ids), size=shape))
            )
            for _ in range(_NUM_RANDOM_DRAWS)
        ]
        means: list[float] = np.mean(draws, axis=0).tolist()
        return means


@dataclass(frozen=True, slots=True)
class Neighbors:
    """The k nearest of m candidates for each of n targets.

    Attributes:
        target_ids: (n,).
        neighbor_ids: (n, k), the nearest first.
        similarities: (n, k) cosines.
        errors: (n, k) nMAE.
    """

    target_ids: NDArray[np.str_]
    neighbor_ids: NDArray[np.str_]
    similarities: Float
    errors: Float

    @classmethod
    def among(cls, wishes: Curves, known: Curves, num_neighbors: int) -> Neighbors:
        """Find and score them."""
        blocks = [
            (wishes.values[first : first + _TARGETS_A_BLOCK] @ known.values.T).topk(num_neighbors)
            for first in range(0, len(wishes.ids), _TARGETS_A_BLOCK)
        ]
        neighbors = torch.cat([block.indices for block in blocks]).numpy()
        similarities = torch.cat([block.values for block in blocks]).double().numpy()
        errors = normalized_errors(wishes, known, neighbors)
        return cls(wishes.ids, known.ids[neighbors], similarities, errors)

    def to_parquet(self) -> bytes:
        """Give a table of n * k rows; see ``evaluation.section``."""
        num, k = self.errors.shape
        columns = {
            "material_id": np.repeat(self.target_ids, k),
            "neighbor_id": self.neighbor_ids.ravel(),
            "rank": np.tile(np.arange(1, k + 1), num),
            "similarity": self.similarities.ravel(),
            "nmae": self.errors.ravel(),
        }
        sink = io.BytesIO()
        pq.write_table(pa.table(columns), sink)
        return sink.getvalue()


def _with_curves(embedder: Embedder, positions: Index, column: Column) -> Curves:
    """Give the embedded materials that have a curve."""
    embedded = np.flatnonzero(column.present.numpy())
    records = embedder.store.records.iloc[positions[embedded]]
    rows, densities = read_densities(embedder.dataset, records)
    ids = records["material_id"].to_numpy(dtype=np.str_)[rows]
    return Curves(ids, column.values[torch.from_numpy(embedded[rows])], densities)


def _table(curves: Mapping[str, Sequence[float]]) -> str:
    """Lay the reported points out for the terminal."""
    lines = [
        f"  best of {n:2}: nMAE {curves['best_of'][n - 1]:.3f}, "
        f"of random candidates {curves['best_of_random'][n - 1]:.3f}"
        for n in REPORTED
        if n <= len(curves["best_of"])
    ]
    return "\n".join(["dos -> structure", *lines])
