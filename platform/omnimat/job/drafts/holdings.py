"""What a data set holds, as far as it decides how encoders of it are trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import pandas as pd
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.words import suggestion
from omnimat.base.workspace import Workspace
from omnimat.materials.split import SPLITS
from omnimat.materials.values import LabelKind
from omnimat.modalities.registry import MODALITIES, default_featurizer, parts
from omnimat.shards.manifest import MANIFEST_NAME, Manifest

Counts = Mapping[str, int]
"""How many records of each split there are."""

# Those that every structure has; they are predicted if there is nothing else.
OF_THE_STRUCTURE = ("crystal_system", "space_group_number")
_SAMPLE = 1000
_LARGE_SHARE = 0.95


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a data set holds.

    Attributes:
        name: name of the data set.
        records: records of each split.
        views: records of each split that have a modality, given or derived from the structure.
        given: records of each split that hold a part itself.
        properties: records of each split that know a property.
        kinds: whether a property is a number or a class; lists of numbers are left out.
        num_atoms: number of atoms that 95 % of the structures do not exceed; 0 without structures.
        units: units of properties, as far as the ingest job says them.
    """

    name: str
    records: Counts
    views: Mapping[str, Counts]
    given: Mapping[str, Counts] = field(default_factory=dict)
    properties: Mapping[str, Counts] = field(default_factory=dict)
    kinds: Mapping[str, LabelKind] = field(default_factory=dict)
    num_atoms: int = 0
    units: Mapping[str, str] = field(default_factory=dict)

    @property
    def num_train(self) -> int:
        """Number of training records."""
        return self.records.get("train", 0)

    def is_derived(self, modality: str) -> bool:
        """Return whether most records that have a modality have it from their structure."""
        given = sum(self.given.get(modality, {}).values())
        return 2 * given < sum(self.views.get(modality, {}).values())


def holdings(workspace: Workspace, name: str) -> Holdings:
    """Find out what a data set holds.

    Raises:
        UserError: there is no data set of this name; the message says which there are.
    """
    folder = workspace.dataset(name)
    if not (folder / MANIFEST_NAME).exists():
        raise _no_dataset(workspace, name)
    manifest = Manifest.load(folder)
    records = manifest.records(folder)
    sampled = [one.properties for one in islice(_training_records(folder), _SAMPLE)]
    atoms = records["num_atoms"].dropna()
    return Holdings(
        name=name,
        records=_by_split(records, pd.Series(True, records.index)),
        views=dict(_views(records)),
        given={part: _by_split(records, records[f"has_{part}"]) for part in parts()},
        properties=manifest.property_counts or {},
        kinds=kinds_of(sampled),
        num_atoms=int(atoms.quantile(_LARGE_SHARE)) if len(atoms) else 0,
    )


def known_holdings(workspace: Workspace, name: str) -> Holdings:
    """Do the same, with the units that the job file of the data set tells, if it was kept."""
    from omnimat.job.drafts.kept import known_ingest, units_in

    held = holdings(workspace, name)
    return replace(held, units=units_in(known_ingest(workspace, name)))


def kinds_of(properties: Sequence[Mapping[str, Any]]) -> dict[str, LabelKind]:
    """Tell numbers from classes by the properties of some records."""
    found: dict[str, list[Any]] = {}
    for known in properties:
        for name, value in known.items():
            if value is not None:
                found.setdefault(name, []).append(value)
    return {
        name: "number" if all(map(_is_number, values)) else "class"
        for name, values in found.items()
        if not any(isinstance(value, list) for value in values)
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _training_records(folder: UPath) -> Iterator[Any]:
    from omnimat.stream.training_records import training_records

    return training_records(folder, ())


def _views(records: pd.DataFrame) -> Iterator[tuple[str, Counts]]:
    """Count the records that have each modality that is stored or derived."""
    for name in MODALITIES.names:
        stored = [f"has_{one.name}" for one in MODALITIES.load(name).stored]
        if not stored:
            continue
        columns = list(dict.fromkeys([*stored, *default_featurizer(name).index_columns]))
        counts = _by_split(records, records[columns].any(axis=1))
        if any(counts.values()):
            yield name, counts


def _by_split(records: pd.DataFrame, chosen: pd.Series[bool]) -> dict[str, int]:
    counts = records.loc[chosen, "split"].value_counts()
    return {split: int(counts.get(split, 0)) for split in SPLITS}


def _no_dataset(workspace: Workspace, name: str) -> UserError:
    folder = workspace.dataset(name).parent
    there = folder.iterdir() if folder.exists() else ()
    names = sorted(one.name for one in there if (one / MANIFEST_NAME).exists())
    if not names:
        return UserError(f"{folder} holds no data set; make one with: omnimat ingest FOLDER")
    return UserError(f"no data set {name!r} in {folder}{suggestion(name, names)}")
