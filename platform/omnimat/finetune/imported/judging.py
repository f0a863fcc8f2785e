"""What judges published predictions: the targets of a data set, by test split or by fold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.words import suggestion
from omnimat.finetune.folds import Fold, FoldRule, Folds, read_properties
from omnimat.finetune.tasks import TaskSettings, read_targets
from omnimat.leaderboard.folds import FOLD
from omnimat.materials.split import Split

TEST: Split = "test"


@dataclass(frozen=True, slots=True)
class Part:
    """The materials of one board: of the test split, or of a fold.

    Attributes:
        task: what is predicted, under its name on the leaderboard.
        config: what the configuration of a row says of the fold; empty for the test split.
        targets: the target of each material that has one.
    """

    task: TaskSettings
    config: Mapping[str, Any]
    targets: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Judging:
    """The N materials of a data set.

    Attributes:
        parts: the boards that have targets.
        material_ids: the ids of all materials.
        groups: the fold of each material that has one, or ``test`` for those of the test split.
    """

    parts: tuple[Part, ...]
    material_ids: frozenset[str]
    groups: Mapping[str, str]

    @property
    def targets(self) -> dict[str, Any]:
        """The targets of all boards."""
        return {one: target for part in self.parts for one, target in part.targets.items()}


def read_judging(dataset: UPath, task: TaskSettings, fold_property: str | None) -> Judging:
    """Read what judges; all records of the data set are read for that.

    Args:
        dataset: its folder.
        task: what is predicted.
        fold_property: the property that names the folds; None for the test split.

    Raises:
        UserError: the data set is missing, or none of its materials that judge has a target.
    """
    index, properties = read_properties(dataset)
    ids: list[str] = index["material_id"].tolist()
    found = read_targets(properties, task)
    targets = {
        one: value.tolist()
        for one, value, is_known in zip(ids, found.values, found.is_known, strict=True)
        if is_known
    }
    groups = _groups(index, properties, fold_property)
    parts = _parts(task, fold_property, groups, targets)
    if not parts:
        names = {name for text in properties for name in json.loads(text or "{}")}
        wanted = task.target if fold_property is None or groups else fold_property
        where = "the test split of data set" if fold_property is None else "data set"
        raise UserError(
            f"no material of {where} {dataset.name} has {wanted!r}{suggestion(wanted, names)}"
        )
    return Judging(parts, frozenset(ids), groups)


def _groups(
    index: pd.DataFrame, properties: Sequence[str | None], fold_property: str | None
) -> dict[str, str]:
    if fold_property is None:
        return dict.fromkeys(index["material_id"][index["split"] == TEST], TEST)
    names = Folds.of(index, properties, FoldRule(property=fold_property)).names
    pairs = zip(index["material_id"], names, strict=True)
    return {material_id: name for material_id, name in pairs if name is not None}


def _parts(
    task: TaskSettings,
    fold_property: str | None,
    groups: Mapping[str, str],
    targets: Mapping[str, Any],
) -> tuple[Part, ...]:
    """Make a board of each fold, or of the test split, that has targets."""
    members: dict[str, dict[str, Any]] = {name: {} for name in sorted(set(groups.values()))}
    for material_id, target in targets.items():
        if material_id in groups:
            members[groups[material_id]][material_id] = target
    if fold_property is None:
        return tuple(Part(task, {}, own) for own in members.values() if own)
    parts = []
    for name, own in members.items():
        fold = Fold(property=fold_property, test=name).counted(len(members))
        # How others have divided the rest into training and validation is not known.
        told = fold.model_dump(mode="json", include={"property", "test", "num_folds"})
        parts.append(Part(fold.task(task), {FOLD: told}, own))
    return tuple(one for one in parts if one.targets)
