"""An embedding map: materials as points, near each other if a run's encoder finds them alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from omnimat_dashboard.artifacts import Artifacts
from omnimat_dashboard.figures import Figure, rounded

_METHODS = {"umap": "UMAP", "tsne": "t-SNE"}


@dataclass(frozen=True, slots=True)
class MapPage:
    """One map of a run.

    Attributes:
        run: the run whose encoder made it.
        name: the name of the map, ``<modality>-<method>``.
        title: the title of the map, in words.
        names: the names of the run's maps, each with its title.
        figure: the map; None if it cannot be read.
        num_materials: how many materials are on the map.
        facts: how it was made and how far it can be trusted, in words.
        missing: why there is no figure.
    """

    run: str
    name: str
    title: str
    names: Sequence[tuple[str, str]]
    figure: Figure | None
    num_materials: int
    facts: Sequence[str]
    missing: str


def map_page(artifacts: Artifacts, run: str, name: str | None = None) -> MapPage | None:
    """Read a map, by default the first of the run; None if it is not there."""
    names = artifacts.maps(run)
    chosen = name if name is not None else next(iter(names), None)
    if chosen is None or chosen not in names:
        return None
    found = artifacts.map(run, chosen)
    figure, missing = None, found.reason
    if found.value is not None:
        try:
            figure = _figure(found.value)
        except KeyError as error:
            missing = f"the map has no column {error}"
    return MapPage(
        run=run,
        name=chosen,
        title=map_title(chosen),
        names=[(one, map_title(one)) for one in names],
        figure=figure,
        num_materials=0 if found.value is None else len(found.value),
        facts=_facts(artifacts.map_summary(run, chosen)),
        missing=missing,
    )


def map_title(name: str) -> str:
    """Say what a map shows: ``structure, UMAP``."""
    modality, _, method = name.rpartition("-")
    return f"{modality.replace('_', ' ')}, {_METHODS.get(method, method)}"


def _figure(table: pd.DataFrame) -> Figure:
    return {
        "kind": "map",
        "ids": table["material_id"].astype(str).tolist(),
        "formulas": table["reduced_formula"].fillna("").astype(str).tolist(),
        "x": rounded(table["x"].to_numpy()),
        "y": rounded(table["y"].to_numpy()),
        "colours": [colour for colour in _colours(table) if colour is not None],
    }


def _colours(table: pd.DataFrame) -> list[dict[str, Any] | None]:
    return [
        _classes(table, "crystal_system", "crystal system"),
        _numbers(table, "formation_energy_ev_per_atom", "formation energy", "eV/atom"),
        _classes(table, "is_metal", "metal or not"),
    ]


def _classes(table: pd.DataFrame, column: str, title: str) -> dict[str, Any] | None:
    if column not in table or table[column].isna().all():
        return None
    names = table[column].map({True: "metal", False: "non-metal"}) if column == "is_metal" else None
    labels = (table[column] if names is None else names).astype("string").fillna("not known")
    values = labels.tolist()
    return {"type": "classes", "key": column, "title": title, "values": values}


def _numbers(table: pd.DataFrame, column: str, title: str, unit: str) -> dict[str, Any] | None:
    if column not in table or table[column].isna().all():
        return None
    values = rounded(table[column].to_numpy(float), digits=4)
    return {"type": "numbers", "key": column, "title": title, "unit": unit, "values": values}


def _facts(summary: dict[str, Any]) -> list[str]:
    facts = []
    drawn, embedded = summary.get("num_materials"), summary.get("num_embedded")
    if isinstance(drawn, int) and isinstance(embedded, int) and drawn < embedded:
        facts.append(f"{drawn:,} drawn at random from {embedded:,}")
    trust = summary.get("trustworthiness")
    if isinstance(trust, dict) and isinstance(trust.get("value"), int | float):
        facts.append(
            f"trustworthiness {trust['value']:.3f} "
            f"({trust.get('num_neighbors', '?')} neighbours; 1 is best)"
        )
    return facts
