"""Maps of embeddings in two dimensions, for the eye (MultiMat, Fig. 4).

In the run's folder, ``maps/<modality>-<method>.parquet`` has a row a material in the columns of
``MAP_SCHEMA``, and ``maps/summary.json`` a list of what each map is: ``modality``, ``method``,
``file``, ``settings``, ``num_materials`` (on the map), ``num_embedded`` (drawn from), and
``trustworthiness`` with the ``num_neighbors`` and ``num_materials`` that it is of.
"""

from __future__ import annotations

import io
import json
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.files import write_atomically
from omnimat.base.settings import Settings
from omnimat.evaluation.clusters import CRYSTAL_SYSTEM, drawn
from omnimat.evaluation.section import EmbeddedSplit, Finding
from omnimat.materials.record import Modality

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

# Below, both methods have too few neighbours to choose from.
_FEWEST_MATERIALS = 20
_LARGEST_METAL_GAP_EV = 1e-9  # as MultiMat tells metals
# Trustworthiness takes a few N x N matrices of float64.
_MAX_TRUST_MATERIALS = 3_000


class MapsSettings(Settings):
    """Maps by UMAP and t-SNE; all distances are those of the cosine.

    A map is the same whenever it is made of the same embeddings with the same versions of the
    packages; that takes a single thread.

    Attributes:
        modalities: to draw; None for all.
        methods: of each modality.
        max_materials: on a map, drawn at random where there are more.
        seed: of the draw and of the methods.
        num_neighbors: of UMAP.
        min_dist: of UMAP: how close points may lie.
        perplexity: of t-SNE; less where there are fewer than three times as many materials.
    """

    modalities: tuple[Modality, ...] | None = Field(default=None, min_length=1)
    methods: tuple[Method, ...] = Field(default=("umap", "tsne"), min_length=1)
    max_materials: int = Field(default=10_000, ge=_FEWEST_MATERIALS)
    seed: int = Field(default=0, ge=0)
    num_neighbors: int = Field(default=15, ge=2)
    min_dist: float = Field(default=0.1, ge=0)
    perplexity: float = Field(default=30.0, gt=1)

    def evaluate(self, split: EmbeddedSplit, folder: UPath) -> list[Finding]:
        """Write the maps; they score nothing, so there is no finding.

        Raises:
            UserError: the run lacks a modality, or no modality has materials enough for a map.
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
        content = f"{json.dumps(summaries, indent=1)}\n"
        write_atomically(folder / MAPS / SUMMARY, content.encode())
        return []

    def coordinates(self, values: Points, method: Method) -> Points:
        """Lay N embeddings, (N, d), out in the plane: (N, 2)."""
        from threadpoolctl import threadpool_limits

        mapper = self._umap(len(values)) if method == "umap" else self._tsne(len(values))
        # Sums of several threads depend on their number, and numba leaves OpenMP with more of them
        # than asked for: on a busy machine t-SNE then takes a hundred times longer.
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
        self, split: EmbeddedSplit, modality: Modality, method: Method, folder: UPath
    ) -> dict[str, Any] | None:
        """Write one map and summarise it; None where there are too few materials."""
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
    """Give the map's table: materials at ``rows`` of the split, their points, what colours them."""
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
    """Say how many neighbours on the map are neighbours among the embeddings.

    Venna and Kaski 2001: 1 where all are; of materials drawn at random where there are many.

    Args:
        values: (N, d) embeddings.
        points: (N, 2) of the map.
        num_neighbors: looked at; fewer than N / 2.
        seed: of the draw.

    Returns:
        ``value``, from 0 to 1, and the ``num_neighbors`` and ``num_materials`` that it is of.
    """
    from sklearn.manifold import trustworthiness

    rows = drawn(np.arange(len(values)), _MAX_TRUST_MATERIALS, seed)
    neighbors = min(num_neighbors, (len(rows) - 1) // 2)
    value = trustworthiness(values[rows], points[rows], n_neighbors=neighbors, metric="cosine")
    return {"value": float(value), "num_neighbors": neighbors, "num_materials": len(rows)}
