"""Finds out, before anything runs, whether a data set has what the tasks of a job predict."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

import pandas as pd
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.words import suggestion
from omnimat.finetune.folds import Folds, FoldSettings, read_properties
from omnimat.finetune.tasks import TaskSettings
from omnimat.materials.split import SPLITS, Split
from omnimat.shards.manifest import Manifest

# What to do about a fold that leaves no record with a target in a part.
_REMEDIES: Mapping[Split, str] = {
    "test": "take this fold out",
    "train": "take this fold out, or make more folds",
    "validation": "raise folds.validation_fraction",
}


def check_targets(
    tasks: Sequence[TaskSettings], manifest: Manifest, splits: Sequence[Split] = SPLITS
) -> None:
    """Insist that splits of a data set have records that know the target of every task.

    A data set that was ingested before properties were counted passes.

    Args:
        tasks: the tasks.
        manifest: that of the data set.
        splits: the splits that are used.

    Raises:
        UserError: a split has none.
    """
    counts = manifest.property_counts
    if counts is None:
        return
    check_names(tasks, counts, f"no record of data set {manifest.name} has")
    for place, task in enumerate(tasks):
        for split in splits:
            if not counts[task.target].get(split):
                raise UserError(
                    f"tasks.{place}.target: {task.name!r}: no {split} record of data set "
                    f"{manifest.name} has the property {task.target!r}; ingest one whose {split} "
                    "split has it, or choose another target"
                )


def check_names(tasks: Sequence[TaskSettings], known: Collection[str], complaint: str) -> None:
    """Insist that every target is among the names of properties.

    Args:
        tasks: the tasks.
        known: names of properties.
        complaint: what to say before the name of a property that is not among them.

    Raises:
        UserError: one is not.
    """
    for place, task in enumerate(tasks):
        if task.target not in known:
            raise UserError(
                f"tasks.{place}.target: {task.name!r}: {complaint} the property "
                f"{task.target!r}{suggestion(task.target, known)}"
            )


def check_folds(tasks: Sequence[TaskSettings], settings: FoldSettings, dataset: UPath) -> None:
    """Insist that every fold of a job leaves records that know the target of every task.

    This reads the properties of all records of the data set.

    Raises:
        UserError: no record has the property that names the folds, or a fold; or a fold leaves no
            training, validation or test record with a target.
    """
    index, texts = read_properties(dataset)
    folds = Folds.of(index, texts, settings)
    properties = [json.loads(text or "{}") for text in texts]
    names = {name for one in properties for name in one}
    told = f"no record of data set {dataset.name} has"
    check_fold_property(settings, names, told)
    for place, name in enumerate(settings.test):
        if name not in folds.known:
            raise UserError(
                f"folds.test.{place}: {told} {settings.property} {name!r}"
                f"{suggestion(name, folds.known)}"
            )
    check_names(tasks, names, told)
    for place, fold in enumerate(settings.each()):
        parts = pd.Series(folds.split(fold))
        for task in tasks:
            is_known = [one.get(task.target) is not None for one in properties]
            there = set(parts[is_known])
            for split, remedy in _REMEDIES.items():
                if split not in there:
                    raise UserError(
                        f"folds.test.{place}: with {fold.property} {fold.test} as the test part, "
                        f"no {split} record of data set {dataset.name} has {task.target!r}; "
                        f"{remedy}"
                    )


def check_fold_property(settings: FoldSettings, known: Collection[str], complaint: str) -> None:
    """Insist that the property that names the folds, if one does, is among those that are known.

    Args:
        settings: the folds.
        known: names of properties.
        complaint: what to say before the name of a property that is not among them.

    Raises:
        UserError: it is not.
    """
    if settings.of_formulas is None and settings.property not in known:
        raise UserError(
            f"folds.property: {complaint} the property "
            f"{settings.property!r}{suggestion(settings.property, known)}"
        )
