"""A data set: what is in it, what each split has, and what was refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pandas as pd

from omnimat.materials.split import SPLITS
from omnimat.modalities.registry import MODALITIES, parts
from omnimat.shards.manifest import RECORDS_NAME, Manifest
from omnimat_dashboard.artifacts import DATASET_FILES, Artifacts, Found
from omnimat_dashboard.figures import Figure, bars
from omnimat_dashboard.periodic_table import Cell, periodic_table

MAX_FAILURES = 200  # how many are shown; the file has all
MAX_REASONS = 12
MAX_KEPT = 100  # data sets whose counts are remembered


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many materials of each split have a modality.

    Attributes:
        modality: the modality.
        counts: how many materials of each split have it.
    """

    modality: str
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DatasetPage:
    """One data set.

    Attributes:
        name: the name of the data set.
        manifest: its manifest.
        splits: how many materials each split has; empty splits are left out.
        coverage: how many materials have each modality.
        elements: the periodic table, with the share of materials that have each element.
        sizes: how many atoms the cells have.
        records_missing: why there is no index from which to tell these.
        failures: ``material_id`` and ``reason`` of the first that were refused.
        reasons: how often each reason was given.
        failures_missing: why the failures are not known.
        size_bytes: the size of all shards.
        files: the files that can be downloaded.
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


@dataclass(frozen=True, slots=True)
class Contents:
    """What the index of a data set tells.

    Attributes:
        coverage: how many materials have each modality.
        elements: the periodic table, with the share of materials that have each element.
        sizes: how many atoms the cells have.
    """

    coverage: Sequence[Coverage] = ()
    elements: Sequence[Cell] = ()
    sizes: Figure | None = None


class DatasetPages:
    """The pages of data sets; an index is counted once, as long as it stays the same."""

    def __init__(self, artifacts: Artifacts) -> None:
        """Show what lies in a storage."""
        self._artifacts = artifacts
        self._contents: dict[str, Contents] = {}

    def page(self, name: str, manifest: Manifest) -> DatasetPage:
        """Collect what is known about a data set."""
        splits: dict[str, int] = {
            split: n for split in SPLITS if (n := manifest.split_counts.get(split, 0))
        }
        contents, failures = self._counted(name, manifest, splits), self._artifacts.failures(name)
        told, refused = contents.value or Contents(), failures.value
        return DatasetPage(
            name=name,
            manifest=manifest,
            splits=splits,
            coverage=told.coverage,
            elements=told.elements,
            sizes=told.sizes,
            records_missing=contents.reason,
            failures=[] if refused is None else _records(refused.head(MAX_FAILURES)),
            reasons=[] if refused is None else _reasons(refused),
            failures_missing=failures.reason,
            size_bytes=sum(shard.size_bytes for shard in manifest.shards),
            files=DATASET_FILES,
        )

    def _counted(self, name: str, manifest: Manifest, splits: Mapping[str, int]) -> Found[Contents]:
        data = self._artifacts.dataset_file(name, RECORDS_NAME)
        if data.value is None:
            return Found(None, data.reason)
        key = sha256(data.value).hexdigest()
        if key != manifest.records_sha256 or key not in self._contents:
            read = self._artifacts.records(name, manifest)
            if read.value is None:
                return Found(None, read.reason)
            if len(self._contents) >= MAX_KEPT:
                self._contents.clear()
            self._contents[key] = _contents(read.value, splits)
        return Found(self._contents[key])


def _contents(table: pd.DataFrame, splits: Mapping[str, int]) -> Contents:
    formulas = table["reduced_formula"].dropna()
    return Contents(_coverage(table, splits), periodic_table(formulas), _sizes(table))


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
    """Count the reasons, those that differ only in numbers together."""
    kinds = refused["reason"].astype(str).str.replace(r"\d[\d.,]*", "…", regex=True)
    counts = kinds.value_counts().head(MAX_REASONS)
    return [(str(kind), int(number)) for kind, number in counts.items()]


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
