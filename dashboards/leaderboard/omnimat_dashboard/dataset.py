"""A data set: what is in it, what each split can be asked for, and what was refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from omnimat.materials.split import SPLITS
from omnimat.modalities.registry import MODALITIES, parts
from omnimat.shards.manifest import Manifest
from omnimat_dashboard.artifacts import DATASET_FILES, Artifacts
from omnimat_dashboard.figures import Figure, bars
from omnimat_dashboard.periodic_table import Cell, periodic_table

MAX_FAILURES = 200  # shown; the file has all
MAX_REASONS = 12


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many materials of each split have a modality.

    Attributes:
        modality: which.
        counts: by split.
    """

    modality: str
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DatasetPage:
    """One data set.

    Attributes:
        name: of the data set.
        manifest: of it.
        splits: materials by split, those without any left out.
        coverage: by modality.
        elements: the periodic table, with the share of materials that have each element.
        sizes: how many atoms their cells have.
        records_missing: why there is no index to take these from.
        failures: ``material_id`` and ``reason`` of the first refused.
        reasons: how often each was given.
        failures_missing: why they are not known.
        size_bytes: of all shards.
        files: to download.
    """

    name: str
    manifest: Manifest
    splits: Mapping[str, int]
    coverage: Sequence[Coverage]
    elements: Sequence[Cell]
    sizes: Figure | None
    records_missing: str
    failures: Sequence[Mapping[str, Any]]
    reasons: Sequence[tuple[str, int]]
    failures_missing: str
    size_bytes: int
    files: Sequence[str]


def dataset_page(artifacts: Artifacts, name: str, manifest: Manifest) -> DatasetPage:
    """Collect what is known of a data set."""
    records = artifacts.records(name, manifest)
    failures = artifacts.failures(name)
    table, refused = records.value, failures.value
    splits: dict[str, int] = {
        split: n for split in SPLITS if (n := manifest.split_counts.get(split, 0))
    }
    return DatasetPage(
        name=name,
        manifest=manifest,
        splits=splits,
        coverage=[] if table is None else _coverage(table, splits),
        elements=[] if table is None else periodic_table(table["reduced_formula"].dropna()),
        sizes=None if table is None else _sizes(table),
        records_missing=records.reason,
        failures=[] if refused is None else _records(refused.head(MAX_FAILURES)),
        reasons=[] if refused is None else _reasons(refused),
        failures_missing=failures.reason,
        size_bytes=sum(shard.size_bytes for shard in manifest.shards),
        files=DATASET_FILES,
    )


def _coverage(table: pd.DataFrame, splits: Mapping[str, int]) -> list[Coverage]:
    """Count the records that have each part, where any has."""
    flags = {name: table[f"has_{name}"].astype(bool) for name in parts()}
    names = {one.name: one.label.partition(" ")[2] for one in MODALITIES.load_all().values()}
    return [
        Coverage(
            names.get(part, part.replace("_", " ")),
            {split: int(flag[table["split"] == split].sum()) for split in splits},
        )
        for part, flag in flags.items()
        if flag.any()
    ]


def _sizes(table: pd.DataFrame) -> Figure:
    counts = table["num_atoms"].dropna().astype(int).value_counts().sort_index()
    return bars(
        "atoms in the cell",
        "materials",
        dict(zip(counts.index.tolist(), counts.tolist(), strict=True)),
    )


def _reasons(refused: pd.DataFrame) -> list[tuple[str, int]]:
    """Group reasons by their words, numbers left out."""
    kinds = refused["reason"].astype(str).str.replace(r"\d[\d.,]*", "…", regex=True)
    counts = kinds.value_counts().head(MAX_REASONS)
    return [(str(kind), int(number)) for kind, number in counts.items()]


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
