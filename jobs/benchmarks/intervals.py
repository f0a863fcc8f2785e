#!/usr/bin/env python
"""How many true values the intervals of a packed model hold, and how its errors grow with distance.

    python jobs/benchmarks/intervals.py MODEL DATASET [--split test] [--bins 10]

MODEL predicts a split of a data set of the storage. For each number and class that it predicts,
the materials are ordered by their distance from those of the training, as the column ``distance``
of a prediction tells it, and cut into bins of equal size. A row tells of a bin the range of the
distances, the mean error, the share of true values within their intervals, and how wide these are.
The last rows are all materials, and those that a prediction would call far from training.

The split must be one that the model has not learned from: the test split of its own data set, or
one of a data set that its training has held out.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click
import numpy as np
import pandas as pd
from measure import report
from numpy.typing import NDArray
from scipy.stats import spearmanr
from upath import UPath

from omnimat.base.workspace import Workspace
from omnimat.finetune.tasks import TaskSettings, read_targets
from omnimat.inference.card import Predicted
from omnimat.inference.columns import DISTANCE, column_name
from omnimat.inference.model import Model, load
from omnimat.materials.record import Record
from omnimat.shards.codec import decode
from omnimat.shards.manifest import Manifest
from omnimat.shards.reader import read_records

RECORDS_AT_A_TIME = 1024
Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judged:
    """What was predicted for N materials whose true values are known.

    Attributes:
        distances: (N,) from the training materials.
        errors: (N,) absolute errors; of a class 1 where it is wrong, else 0.
        half_widths: (N,) of the intervals; None where there are none.
    """

    distances: Float
    errors: Float
    half_widths: Float | None

    def row(self, name: str, chosen: NDArray[Any]) -> dict[str, Any]:
        """Tell of some of the materials."""
        distances, errors = self.distances[chosen], self.errors[chosen]
        known = len(errors) > 0
        told: dict[str, Any] = {
            "materials": name,
            "number": len(errors),
            "from": float(distances.min()) if known else None,
            "to": float(distances.max()) if known else None,
            "mean_error": float(errors.mean()) if known else None,
        }
        if self.half_widths is not None:
            half = self.half_widths[chosen]
            told["coverage"] = round(float((errors <= half).mean()), 4) if known else None
            told["mean_half_width"] = float(half.mean()) if known else None
        return told

    def rows(self, num_bins: int, far: float) -> list[dict[str, Any]]:
        """Tell of bins of equal size in the order of distance, of all, and of those far away."""
        order = np.argsort(self.distances, kind="stable")
        bins = np.array_split(order, min(num_bins, len(order)))
        found = [self.row(f"bin {place}", chosen) for place, chosen in enumerate(bins, 1)]
        found.append(self.row("all", order))
        found.append(self.row("far from training", np.flatnonzero(self.distances > far)))
        return found


def records_of(folder: UPath, split: str) -> Iterator[list[Record]]:
    """Read the records of a split, some at a time; one that is damaged ends the benchmark."""
    index = Manifest.load(folder).records(folder)
    chosen = index[index["split"] == split]
    if chosen.empty:
        raise click.UsageError(f"--split: no record of the data set is in {split!r}")
    for start in range(0, len(chosen), RECORDS_AT_A_TIME):
        raw = read_records(folder, chosen.iloc[start : start + RECORDS_AT_A_TIME])
        yield [decode(one.material_id, one.members) for one in raw]


def predicted(model: Model, folder: UPath, split: str) -> tuple[pd.DataFrame, list[str]]:
    """Predict a split; give the table, and the properties of each material as JSON."""
    tables, properties = [], []
    for records in records_of(folder, split):
        tables.append(model.predict(records, progress=False))
        properties += [json.dumps(dict(one.properties)) for one in records]
    return pd.concat(tables, ignore_index=True), properties


def judged(one: Predicted, table: pd.DataFrame, properties: Sequence[str]) -> Judged | None:
    """Hold the predictions of a quantity against the truth; None for several numbers at once."""
    targets = read_targets(properties, one.task)
    if targets.values.ndim > 1:
        return None
    name = column_name(one.task)
    kept = targets.is_known & table[name].notna().to_numpy()
    table, truth = table[kept], targets.values[kept]
    half = None
    if one.calibration is not None:
        half = ((table[f"{name}_high"] - table[f"{name}_low"]) / 2).to_numpy(np.float64)
    errors = _errors(one.task, table[name], truth)
    return Judged(table[DISTANCE].to_numpy(np.float64), errors, half)


def _errors(task: TaskSettings, values: pd.Series, truth: NDArray[Any]) -> Float:
    if task.kind == "classification":
        return (values.astype(str).to_numpy() != truth).astype(np.float64)
    return np.abs(values.to_numpy(np.float64) - truth)


@click.command()
@click.argument("model_path", metavar="MODEL")
@click.argument("dataset", metavar="DATASET")
@click.option("--split", default="test", show_default=True)
@click.option("--bins", "num_bins", default=10, show_default=True)
@click.option("--device", help="Where to compute; by default on a GPU where there is one.")
def main(model_path: str, dataset: str, split: str, num_bins: int, device: str | None) -> None:
    """Print a table for each quantity that MODEL predicts and DATASET knows."""
    model = load(model_path, device)
    predictor = model.networks.predictor
    table, properties = predicted(model, Workspace.open().dataset(dataset), split)
    for one in predictor.predicted:
        found = judged(one, table, properties)
        if found is None or not len(found.errors):
            print(f"{one.task.name}: several numbers at once, or no true value is known")
            continue
        rank = float(spearmanr(found.distances, found.errors).statistic)
        unit = one.task.error_unit or one.task.metric_name
        report(
            f"{one.task.name} ({unit}): {model_path} on {dataset}, {split}",
            found.rows(num_bins, predictor.domain.far),
            nominal_coverage=None if one.calibration is None else one.calibration.coverage,
            far_beyond_distance=predictor.domain.far,
            rank_correlation_of_error_and_distance=round(rank, 3),
        )
        print(f"rank correlation of error and distance: {rank:.3f}")


if __name__ == "__main__":
    main()
