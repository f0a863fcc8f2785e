"""What the page's script draws: plain data, small enough to travel inside the page.

Every figure is a dictionary whose ``kind`` names a function of ``static/plots.js``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from omnimat.leaderboard.board import Board, Summary
from omnimat_dashboard.links import Links
from omnimat_dashboard.papers import printed
from omnimat_dashboard.text import Scale

Figure = dict[str, Any]
AxisScale = Literal["linear", "from zero", "log"]

MAX_POINTS = 2_000  # a larger cloud of SVG points is slow and says less than a density
NUM_OUTLIERS = 200  # of the points above a density; the others are drawn at random
DENSITY_BINS = 64


def dots(board: Board, summaries: Sequence[Summary], links: Links) -> Figure:
    """Draw mean and deviation of each summary, and what papers print for the same task."""
    scale = Scale.of(board)
    return {
        "kind": "dots",
        "axis": f"{scale.label}, {scale.direction}",
        "factor": scale.factor,
        "entries": [
            {
                "model": one.model,
                "variant": one.variant,
                "score": f"{scale.of_summary(one)} {scale.unit}",
                "mean": one.mean,
                "std": one.std,
                "n": one.n,
                "href": links.result(one.group_id),
            }
            for one in summaries
        ],
        "references": [
            {
                "paper": paper.title,
                "model": printed_value.model,
                "value": printed_value.value,
                "score": f"{scale.number(printed_value.value)} {scale.unit}",
            }
            for paper, task in printed(board)
            for printed_value in task.values
        ],
    }


def curves(
    x: str,
    y: str,
    series: Sequence[Mapping[str, Any]],
    *,
    scale: AxisScale = "linear",
    stacked: bool = False,
) -> Figure:
    """Draw lines over a common axis.

    Args:
        x: the title of the horizontal axis.
        y: the title of the vertical axis.
        series: ``name``, ``x`` and ``y`` of each line; ``mark`` is the x of a point to point out,
            and ``points`` says whether all points are drawn.
        scale: the scale of the vertical axis.
        stacked: whether the lines lie on top of each other, since they add up to a whole.
    """
    lines = [dict(one) | {"y": [finite(value) for value in one["y"]]} for one in series]
    form = {"kind": "curves", "x": x, "y": y, "scale": scale, "stacked": stacked}
    return form | {"series": lines}


def bars(x: str, y: str, values: Mapping[Any, int]) -> Figure:
    """Draw counts by category or number."""
    return {"kind": "bars", "x": x, "y": y, "labels": list(values), "counts": list(values.values())}


def cloud(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    labels: Sequence[str],
    *,
    ids: Sequence[str],
    axes: tuple[str, str],
    groups: Sequence[str] = (),
) -> Figure:
    """Draw points against the diagonal; if they are many, some of them above their density.

    Args:
        x: (N,) or (N, k) numbers.
        y: numbers of the same shape.
        labels: N names of the points.
        ids: N ids of their materials.
        axes: the titles of the axes.
        groups: k names, if there are points of k kinds.
    """
    columns_x, columns_y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    keep = np.flatnonzero(np.isfinite(np.hstack((columns_x, columns_y))).all(axis=1))
    columns_x, columns_y = columns_x[keep], columns_y[keep]
    low, high = _limits(columns_x, columns_y)
    figure: Figure = {"axes": axes, "limits": [low, high], "num_points": columns_x.size}
    if columns_x.size > MAX_POINTS:
        edges = np.linspace(low, high, DENSITY_BINS + 1)
        counts, _, _ = np.histogram2d(columns_x.ravel(), columns_y.ravel(), bins=(edges, edges))
        figure |= {"kind": "density", "bins": DENSITY_BINS} | _filled(counts, edges)
        some = notable(columns_x, columns_y, MAX_POINTS // columns_x.shape[1])
        columns_x, columns_y, keep = columns_x[some], columns_y[some], keep[some]
    else:
        figure["kind"] = "cloud"
    kinds = groups if len(groups) == columns_x.shape[1] else [""] * columns_x.shape[1]
    clouds = [
        {"name": kind, "x": rounded(one_x), "y": rounded(one_y)}
        for kind, one_x, one_y in zip(kinds, columns_x.T, columns_y.T, strict=True)
    ]
    rows = keep.tolist()
    shown = {"labels": [str(labels[row]) for row in rows], "ids": [ids[row] for row in rows]}
    return figure | shown | {"clouds": clouds}


def notable(x: NDArray[np.float64], y: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """Choose rows to point at: those that are farthest off, and others at random.

    Args:
        x: (N, k) numbers.
        y: numbers of the same shape.
        most: how many are chosen, of which a tenth are the farthest off.

    Returns:
        (most,) rows in ascending order, the same for the same numbers.
    """
    order = np.argsort(-np.abs(y - x).max(axis=1), kind="stable")
    num_outliers = min(NUM_OUTLIERS, most // 10)
    rest = np.random.default_rng(0).permutation(order[num_outliers:])[: most - num_outliers]
    return np.sort(np.concatenate((order[:num_outliers], rest)))


def share_against_share(
    axes: tuple[str, str], points: Sequence[tuple[float, float, str]], spans: NDArray[np.float64]
) -> Figure:
    """Draw shares that were found against those that were said; right ones lie on the diagonal.

    Args:
        axes: the titles of the axes, in per cent.
        points: what was said, what was found, both 0 to 1, and the words for it.
        spans: how far what was found is uncertain to either side.
    """
    said, found, words = zip(*points, strict=True)
    return {
        "kind": "shares",
        "axes": axes,
        "limits": [0, 100],
        "x": rounded(100 * np.array(said)),
        "y": rounded(100 * np.array(found)),
        "spans": rounded(100 * spans),
        "words": words,
    }


def rounded(values: NDArray[Any], digits: int = 5) -> list[float | None]:
    """Shorten numbers for the page; None stands for what is not finite, which JSON cannot hold."""
    return [finite(float(f"{value:.{digits}g}")) for value in values.tolist()]


def finite(value: float) -> float | None:
    """Give None for NaN and infinity."""
    return float(value) if np.isfinite(value) else None


def _filled(counts: NDArray[np.float64], edges: NDArray[np.float64]) -> Figure:
    """Give the centre and the count of each square that holds a point."""
    centres = (edges[:-1] + edges[1:]) / 2
    columns, lines = np.nonzero(counts)
    return {
        "x": rounded(centres[columns]),
        "y": rounded(centres[lines]),
        "counts": counts[columns, lines].astype(int).tolist(),
    }


def _limits(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    if not x.size:
        return 0.0, 1.0
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    margin = 0.03 * (high - low) or 0.5
    return low - margin, high + margin
