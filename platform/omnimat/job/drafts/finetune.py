"""Drafts the fine-tuning job of a data set: what is predicted, from what, and at what size."""

from __future__ import annotations

from collections.abc import Sequence

from omnimat.base.errors import UserError
from omnimat.base.words import suggestion
from omnimat.finetune.tasks import TaskSettings
from omnimat.job.drafts.holdings import OF_THE_STRUCTURE, Holdings
from omnimat.job.drafts.pretrain import Views, run_name
from omnimat.job.drafts.sizes import finetune_sizes
from omnimat.job.drafts.text import filled
from omnimat.materials.split import SPLITS
from omnimat.sources.labels.settings import unit_in_names


def chosen_target(held: Holdings, asked: str | None = None) -> str:
    """Choose what is predicted: what the user asks for, or else what most records know.

    What follows from the structure comes last.

    Raises:
        UserError: there is no such property, it is no number and no class, or a split lacks it.
    """
    if asked is None and not held.kinds:
        raise UserError(
            f"data set {held.name} has no labels to predict; ingest it under another name with "
            "--labels FILE"
        )
    target = asked or min(held.kinds, key=lambda name: _preference(held, name))
    if target not in held.properties:
        raise UserError(
            f"--target: no record of data set {held.name} has the property "
            f"{target!r}{suggestion(target, held.kinds)}"
        )
    if target not in held.kinds:
        raise UserError(
            f"--target: {target!r} is neither a number nor a class; choose one of "
            f"{', '.join(held.kinds)}"
        )
    if lacking := [split for split in SPLITS if not held.properties[target].get(split)]:
        raise UserError(
            f"data set {held.name}: no {lacking[0]} record knows {target!r}; choose another "
            "--target, or ingest with larger fractions in split"
        )
    return target


def finetune_draft(held: Holdings, views: Views, needs: Sequence[str], target: str) -> str:
    """Write the fine-tuning job.

    Args:
        held: what the data set holds.
        views: what the pretraining run trains.
        needs: job files that it needs.
        target: the property that is predicted.
    """
    unit = held.units.get(target, "")
    task = task_name(target, unit)
    is_class = held.kinds[target] == "class"
    num_train = held.properties[target]["train"]
    return filled(
        "finetune",
        held=held,
        name=f"{held.name}-{_slug(task)}",
        needs=needs,
        run=run_name(held.name),
        modalities=("structure",) if "structure" in views.modalities else views.modalities,
        views=views,
        task=task,
        target=target,
        unit=unit,
        is_class=is_class,
        num_train=num_train,
        sizes=finetune_sizes(num_train),
    )


def task_name(target: str, unit: str) -> str:
    """Name a task after a property, without the unit with which the property's name ends."""
    ending = unit_in_names(unit)
    bare = target.removesuffix(f"_{ending}") if ending else target
    words = " ".join(bare.replace("_", " ").split())
    return words if any(map(str.isalnum, words)) else f"target {target}"


def _slug(task: str) -> str:
    slug = TaskSettings(name=task, target=task).slug
    return "".join(one if one.isascii() else "_" for one in slug)


def _preference(held: Holdings, name: str) -> tuple[bool, bool, int, bool, str]:
    counts = held.properties.get(name, {})
    is_class = held.kinds[name] == "class"
    is_everywhere = all(counts.get(split) for split in SPLITS)
    num_known = sum(counts.values()) if is_everywhere else 0
    is_a_name = name == "space_group_number"  # its distances mean nothing
    return (is_a_name, name in OF_THE_STRUCTURE, -num_known, is_class, name)
