"""Maps of embeddings in two dimensions, for the eye (MultiMat, Fig. 4).

In the run's folder, ``maps/<modality>-<method>.parquet`` has a line for each material, with the
columns of ``MAP_SCHEMA``. ``maps/summary.json`` describes each map: its ``modality``, ``method``,
``file`` and ``settings``, the ``num_materials`` on it and the ``num_embedded`` that they were drawn
from, and its ``trustworthiness`` with the ``num_neighbors`` and ``num_materials`` this was computed
with.
"""

from __future__ import annotations

import io
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.files import write_atomically, write_json
from omnimat.evaluation.clusters import CRYSTAL_SYSTEM, drawn
from omnimat.evaluation.section import EmbeddedSplit, Section
from omnimat.leaderboard.finding import Finding
from omnimat.modalities.registry import ModalityName

Method = Literal["umap", "tsne"]
Points = NDArray[np.float32]

MAPS = "maps"
SUMMARY = "summary.json"
MAP_SCHEMA = pa.schema(
    [
        ("material_id", pa.string()),
        ("reduced_formula", pa.string()),
        ("x", pa.float32()),
        ("y", pa.float32()),
        ("crystal_system", pa.string()),
        ("formation_energy_ev_per_atom", pa.float64()),
        ("is_metal", pa.bool_()),
    ]
)

# With fewer, both methods have too few neighbours to choose from.
_FEWEST_MATERIALS = 20
_LARGEST_METAL_GAP_EV = 1e-9  # MultiMat's definition of a metal
# Trustworthiness needs a few N x N matrices of float64.
_MAX_TRUST_MATERIALS = 3_000


class MapsSettings(Section):
    """Maps by UMAP and t-SNE; all distances are cosine distances.

    The same embeddings and the same versions of the packages give the same map, for which it is
    made on a single thread.

    Attributes:
        modalities: the modalities to draw; None for all.
        methods: how each of them is drawn.
        max_materials: how many materials a map has at most; they are drawn at random.
        seed: decides which ones, and seeds the methods.
        num_neighbors: how many neighbours UMAP looks at.
        min_dist: how close to each other UMAP may put points.
        perplexity: the perplexity of t-SNE; smaller where there are fewer than three times as many
            materials.
    """

    modalities: tuple[ModalityName, ...] | None = Field(default=None, min_length=1)
    methods: tuple[Method, ...] = Field(default=("umap", "tsne"), min_length=1)
    max_materials: int = Field(default=10_000, ge=_FEWEST_MATERIALS)
    seed: int = Field(default=0, ge=0)
    num_neighbors: int = Field(default=15, ge=2)
    min_dist: float = Field(default=0.1, ge=0)
    perplexity: float = Field(default=30.0, gt=1)

    def evaluate(self, split: EmbeddedSplit, folder: UPath) -> list[Finding]:
        """Write the maps; they score nothing, so there is no finding.

        Raises:
            UserError: if the run lacks a modality, or no modality has enough materials for a map.
        """
        chosen = self.modalities or tuple(split.embeddings.values)
        if missing := set(chosen) - set(split.embeddings.values):
            raise UserError(
                f"maps.modalities: the run has no encoder of {', '.join(sorted(missing))}; "
                f"it has {', '.join(split.embeddings.values)}"
            )
        summaries = [
            summary
            for modality in chosen
            for method in self.methods
            if (summary := self._draw(split, modality, method, folder / MAPS)) is not None
        ]
        if not summaries:
            raise UserError(
                f"maps: the {split.split} split has fewer than {_FEWEST_MATERIALS} materials of "
                f"every one of {', '.join(chosen)}: evaluate a larger split, or leave maps out"
            )
        write_json(folder / MAPS / SUMMARY, summaries)
        return []

    def coordinates(self, values: Points, method: Method) -> Points:
        """Lay out (N, d) embeddings in the plane: (N, 2)."""
        from threadpoolctl import threadpool_limits

        mapper = self._umap(len(values)) if method == "umap" else self._tsne(len(values))
        # Sums depend on the number of threads. Moreover numba leaves OpenMP with more threads than
        # asked for, with which t-SNE takes a hundred times longer on a busy machine.
        with threadpool_limits(limits=1):
            return np.asarray(mapper.fit_transform(values), dtype=np.float32)

    def _umap(self, num_materials: int) -> Any:
        from umap import UMAP

        return UMAP(
            n_neighbors=min(self.num_neighbors, num_materials - 1),
            min_dist=self.min_dist,
            metric="cosine",
            random_state=self.seed,
            n_jobs=1,
        )

    def _tsne(self, num_materials: int) -> Any:
        from sklearn.manifold import TSNE

        return TSNE(
            perplexity=min(self.perplexity, (num_materials - 1) / 3),
            metric="cosine",
            random_state=self.seed,
        )

    def _draw(
        self, split: EmbeddedSplit, modality: str, method: Method, folder: UPath
    ) -> dict[str, Any] | None:
        """Write a map and describe it; None where there are too few materials."""
        column = split.embeddings.column(modality)
        embedded = np.flatnonzero(column.present.numpy())
        if len(embedded) < _FEWEST_MATERIALS:
            return None
        rows = drawn(embedded, self.max_materials, self.seed)
        values = column.values.numpy()[rows]
        points = self.coordinates(values, method)
        file = f"{modality}-{method}.parquet"
        sink = io.BytesIO()
        pq.write_table(map_table(split, rows, points), sink)
        write_atomically(folder / file, sink.getvalue())
        return {
            "modality": modality,
            "method": method,
            "file": file,
            "settings": self.model_dump(mode="json"),
            "num_materials": len(rows),
            "num_embedded": len(embedded),
            "trustworthiness": trust(values, points, self.num_neighbors, self.seed),
        }


def map_table(split: EmbeddedSplit, rows: NDArray[np.int64], points: Points) -> pa.Table:
    """Give the lines of a map: materials of the split, their points, and what colours them."""
    records = split.records.iloc[rows]
    properties = [split.properties[row] for row in rows]
    gaps = [known.get("band_gap_ev") for known in properties]
    columns = {
        "material_id": records["material_id"].tolist(),
        "reduced_formula": records["reduced_formula"].tolist(),
        "x": points[:, 0],
        "y": points[:, 1],
        "crystal_system": [known.get(CRYSTAL_SYSTEM) for known in properties],
        "formation_energy_ev_per_atom": [
            known.get("formation_energy_ev_per_atom") for known in properties
        ],
        "is_metal": [None if gap is None else gap < _LARGEST_METAL_GAP_EV for gap in gaps],
    }
    return pa.table(columns, schema=MAP_SCHEMA)


def trust(values: Points, points: Points, num_neighbors: int, seed: int) -> dict[str, float | int]:
    """Measure how many neighbours on the map are neighbours among the embeddings.

    This is the trustworthiness of Venna and Kaski (2001), for materials drawn at random where there
    are many.

    Args:
        values: (N, d) embeddings.
        points: (N, 2) points on the map.
        num_neighbors: how many neighbours are looked at, fewer than N / 2.
        seed: decides which materials are drawn.

    Returns:
        The ``value``, from 0 to 1 where all of them are, and the ``num_neighbors`` and
        ``num_materials`` that it was computed with.
    """
    from sklearn.manifold import trustworthiness

    rows = drawn(np.arange(len(values)), _MAX_TRUST_MATERIALS, seed)
    neighbors = min(num_neighbors, (len(rows) - 1) // 2)
    value = trustworthiness(values[rows], points[rows], n_neighbors=neighbors, metric="cosine")
    return {"value": float(value), "num_neighbors": neighbors, "num_materials": len(rows)}
