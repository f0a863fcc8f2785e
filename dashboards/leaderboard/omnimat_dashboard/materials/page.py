"""All that a storage knows of one material."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from omnimat.base.json_records import as_records
from omnimat.materials.record import Structure
from omnimat.search.cells import group, similarity
from omnimat_dashboard.artifacts import Artifacts, Found, attempt
from omnimat_dashboard.materials import crystal
from omnimat_dashboard.materials.curves import Curve, curves_of
from omnimat_dashboard.materials.indexes import Indexes, Listed, neighbours, row_of
from omnimat_dashboard.materials.places import Place, places_of
from omnimat_dashboard.materials.predicted import (
    Foretold,
    Predictions,
    Tested,
    foretold,
    remarks,
)
from omnimat_dashboard.materials.quantities import parted, value
from omnimat_dashboard.materials.records import Records, StoredRecord

MAX_INDEXES = 6  # whose neighbours are shown
NUM_NEIGHBOURS = 6


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A material that an encoder finds alike.

    Attributes:
        name: its id.
        formula: its formula; empty where none is known.
        group: its space group; empty where it is not known.
        similarity: the cosine of both embeddings, as text.
        picture: its crystal; None where none is known.
    """

    name: str
    formula: str
    group: str
    similarity: str
    picture: Markup | None


@dataclass(frozen=True, slots=True)
class Nearby:
    """What an index says of a material.

    Attributes:
        index: the index.
        neighbours: the materials nearest to it, the nearest first.
        foretold: what the model that made the index predicts.
        remarks: its notes on these predictions.
    """

    index: Listed
    neighbours: Sequence[Neighbour]
    foretold: Sequence[Foretold]
    remarks: str


@dataclass(frozen=True, slots=True)
class MaterialPage:
    """One material.

    Attributes:
        dataset: its data set.
        material_id: its id.
        stored: its record, and what the index of its data set says.
        picture: its crystal; None if it is not known or too large to draw.
        drawing: the same for the page's script.
        legend: the elements in the picture, each with symbol and colour.
        cell: lengths, angles and volume of the cell, as texts.
        curves: pattern and density of states.
        text: its description; empty if there is none.
        known: label, value and unit of each known property.
        tested: what results of boards predict of it.
        nearby: what each index says of it.
        places: where it lies on maps.
    """

    dataset: str
    material_id: str
    stored: StoredRecord
    picture: Markup | None
    drawing: dict[str, Any] | None
    legend: Sequence[dict[str, Any]]
    cell: Sequence[tuple[str, str]]
    curves: Sequence[Curve]
    text: str
    known: Sequence[tuple[str, str, str]]
    tested: Sequence[Tested]
    nearby: Sequence[Nearby]
    places: Sequence[Place]


class Materials:
    """The materials of one storage, as pages show them."""

    def __init__(self, artifacts: Artifacts, predictions: Predictions) -> None:
        """Read from a storage, and from the tables that rows of a board name."""
        self.records = Records(artifacts)
        self.indexes = Indexes(artifacts)
        self._artifacts, self._predictions = artifacts, predictions

    def page(self, dataset: str, material_id: str) -> Found[MaterialPage]:
        """Collect what is known of a material, or say why it cannot be shown."""
        found = self.records.read(dataset, material_id)
        stored = found.value
        if stored is None:
            return Found(None, found.reason)
        return attempt(lambda: self._page(dataset, stored))

    def _page(self, dataset: str, stored: StoredRecord) -> MaterialPage:
        record, material_id = stored.record, stored.record.material_id
        structure = record.structure
        drawn = None if structure is None else crystal.picture_of(structure)
        text = record.parts.get("text")
        return MaterialPage(
            dataset=dataset,
            material_id=material_id,
            stored=stored,
            picture=None if drawn is None else crystal.svg(drawn, f"Crystal of {material_id}"),
            drawing=None if drawn is None else crystal.data(drawn),
            legend=[] if drawn is None else [crystal.look(one) for one in drawn.elements],
            cell=[] if structure is None else cell_of(structure),
            curves=curves_of(record),
            text=text if isinstance(text, str) else "",
            known=[_known(*one) for one in sorted(record.properties.items())],
            tested=self._predictions.of(dataset, material_id),
            nearby=self._nearby(dataset, material_id),
            places=places_of(self._artifacts, material_id, stored.reduced_formula),
        )

    def pictures(self, dataset: str | None, names: Sequence[str]) -> dict[str, Markup]:
        """Draw the crystals of some materials of a data set, as far as they are known."""
        known = {} if dataset is None else self.records.structures(dataset, names)
        drawn = {name: crystal.picture_of(structure) for name, structure in known.items()}
        return {
            name: crystal.svg(one, f"Crystal of {name}")
            for name, one in drawn.items()
            if one is not None
        }

    def _nearby(self, dataset: str, material_id: str) -> list[Nearby]:
        found: list[Nearby] = []
        for listed in self.indexes.listed():
            index = self.indexes.open(listed.name).value
            row = None if index is None else row_of(index, material_id)
            if index is None or row is None or len(found) == MAX_INDEXES:
                continue
            if not self.records.holds(dataset, index.materials["name"]):
                continue
            near = self._neighbours(dataset, neighbours(index, row, NUM_NEIGHBOURS))
            cells = index.materials.iloc[row]
            found.append(Nearby(listed, near, foretold(cells), remarks(cells)))
        return found

    def _neighbours(self, dataset: str, hits: pd.DataFrame) -> list[Neighbour]:
        pictures = self.pictures(dataset, hits["name"].tolist())
        return [
            Neighbour(
                name=hit["name"],
                formula=hit["reduced_formula"] or "",
                group=group(hit) or "",
                similarity=similarity(hit),
                picture=pictures.get(hit["name"]),
            )
            for hit in as_records(hits)
        ]


def cell_of(structure: Structure) -> list[tuple[str, str]]:
    """Give the lengths, the angles and the volume of a cell."""
    lattice = structure.lattice_angstrom
    lengths = np.linalg.norm(lattice, axis=1)
    pairs = ((1, 2), (0, 2), (0, 1))
    cosines = [lattice[i] @ lattice[j] / (lengths[i] * lengths[j]) for i, j in pairs]
    angles = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    volume = abs(float(np.linalg.det(lattice)))
    return [
        ("a, b, c", f"{', '.join(f'{one:.3f}' for one in lengths)} Å"),
        ("alpha, beta, gamma", f"{', '.join(f'{one:.2f}' for one in angles)}°"),
        ("Volume", f"{volume:.2f} Å³"),
    ]


def _known(name: str, cell: Any) -> tuple[str, str, str]:
    label, in_unit = parted(name)
    return label, value(cell), in_unit
