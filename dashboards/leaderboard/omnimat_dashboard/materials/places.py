"""Where a material lies on the maps of embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup, escape
from numpy.typing import NDArray

from omnimat_dashboard.artifacts import Artifacts
from omnimat_dashboard.maps import map_title

MAX_MAPS = 4
_MAX_MAPS_READ = 12
_MAX_POINTS = 2_000
_SIZE = 100.0  # of a map, in units of its own
_COLUMNS = {"material_id", "reduced_formula", "x", "y"}


@dataclass(frozen=True, slots=True)
class Place:
    """A material on a map.

    Attributes:
        run: the run whose encoder made the map.
        name: the name of the map.
        title: the same in words.
        picture: the map, with the material marked.
    """

    run: str
    name: str
    title: str
    picture: Markup


def places_of(artifacts: Artifacts, material_id: str, formula: str) -> list[Place]:
    """Find a material on the maps of all runs, as far as they are looked through."""
    names = [(run, name) for run in artifacts.runs_with_maps() for name in artifacts.maps(run)]
    found: list[Place] = []
    for run, name in names[:_MAX_MAPS_READ]:
        table = artifacts.map(run, name).value
        if table is None or not set(table) >= _COLUMNS or len(found) == MAX_MAPS:
            continue
        # An id alone may be that of a material of another data set.
        has_id = table["material_id"] == material_id
        is_it = (has_id & (table["reduced_formula"].fillna("") == formula)).to_numpy()
        if is_it.any():
            title = map_title(name)
            found.append(Place(run, name, title, _picture(table, is_it, f"{title} of {run}")))
    return found


def _picture(table: pd.DataFrame, is_it: NDArray[np.bool_], title: str) -> Markup:
    """Draw the points of a map, and one of them apart."""
    points = table[["x", "y"]].to_numpy(float)
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    spread = float((high - low).max()) or 1.0
    onto = (points - (low + high) / 2) * [1, -1] * (0.94 * _SIZE / spread) + _SIZE / 2
    step = -(-len(onto) // _MAX_POINTS)
    others = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in onto[::step] if np.isfinite(x + y))
    x, y = onto[is_it][0]
    label = escape(f"Map {title}: the material among {len(points):,}")
    return Markup(
        f'<svg class="place" role="img" aria-label="{label}" viewBox="0 0 {_SIZE:g} {_SIZE:g}">'
        f'<path class="others" d="{others}"/>'
        f'<circle class="own" cx="{x:.1f}" cy="{y:.1f}" r="2.2"/></svg>'
    )
