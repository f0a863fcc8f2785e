"""Drafts the fine-tuning job of a data set: what is predicted, from what, and at what size."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Self, get_args

from omnimat.base.errors import UserError
from omnimat.base.words import suggestion
from omnimat.finetune.tasks import TaskSettings, Transform
from omnimat.finetune.trial_settings import Variant
from omnimat.job.drafts.holdings import OF_THE_STRUCTURE, Holdings
from omnimat.job.drafts.pretrain import Views, run_name
from omnimat.job.drafts.text import filled
from omnimat.job.drafts.tuning import Tuning
from omnimat.materials.split import SPLITS
from omnimat.sources.labels.names import unit_in_names


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


@dataclass(frozen=True, slots=True)
class Start:
    """What a network starts from.

    Attributes:
        key: ``run`` of the storage, or a packed ``model``.
        value: its name, or its path.
        modalities: what the prediction sees.
        is_pretrained: whether its encoders have learned anything.
    """

    key: Literal["run", "model"]
    value: str
    modalities: tuple[str, ...]
    is_pretrained: bool = True

    @classmethod
    def of_views(cls, dataset: str, views: Views) -> Self:
        """Start from the pretraining run of a data set."""
        return cls("run", run_name(dataset), _seen(views.modalities), not views.is_alone)

    @classmethod
    def of_model(cls, path: str, modalities: Collection[str], held: Holdings) -> Self:
        """Start from a packed model with encoders of these modalities.

        Raises:
            UserError: the data set holds nothing that they read.
        """
        there = tuple(name for name in held.views if name in modalities)
        if not there:
            raise UserError(
                f"{path} reads {', '.join(modalities)}, and data set {held.name} has "
                f"{', '.join(held.views) or 'none of its modalities'}; take another model"
            )
        return cls("model", path, _seen(there))


@dataclass(frozen=True, slots=True)
class Target:
    """What is predicted.

    Attributes:
        name: name of the property.
        unit: its unit; empty where nobody said it.
        transform: what is taken of it before it is learned.
    """

    name: str
    unit: str = ""
    transform: Transform = "none"

    @property
    def task(self) -> str:
        """Name of the task."""
        return task_name(self.name, self.unit)

    def run(self, dataset: str) -> str:
        """Name the run that learns it on a data set."""
        return f"{dataset}-{_slug(self.task)}"


def finetune_draft(
    held: Holdings,
    start: Start,
    target: Target,
    tuning: Tuning,
    needs: Sequence[str] = (),
    name: str | None = None,
) -> str:
    """Write the fine-tuning job.

    Args:
        held: what the data set holds.
        start: what the network starts from.
        target: what is predicted.
        tuning: how.
        needs: job files that it needs.
        name: name of the run; None names it after data set and task.
    """
    return filled(
        "finetune",
        held=held,
        name=name or target.run(held.name),
        needs=needs,
        missing="the encoders are missing" if start.key == "run" else "their output is missing",
        start=start,
        task=target.task,
        target=target.name,
        unit=target.unit,
        transform=target.transform,
        is_class=held.kinds[target.name] == "class",
        num_train=held.properties[target.name]["train"],
        tuning=tuning,
        purpose=_purpose(start, tuning),
        others=_others(start, tuning),
    )


def _seen(modalities: tuple[str, ...]) -> tuple[str, ...]:
    return ("structure",) if "structure" in modalities else modalities


def _purpose(start: Start, tuning: Tuning) -> str:
    if tuning.num_folds:
        return "and measure on folds how well that goes"
    if start.key == "model":
        return "with the encoders of a packed model"
    if not start.is_pretrained:
        return "with a network that starts from random weights"
    return (
        "with the encoders that were pretrained and with new ones of the same shape, each at its "
        "best\n# learning rate"
    )


def _others(start: Start, tuning: Tuning) -> str:
    if not start.is_pretrained:
        return "nothing was pretrained"
    known: tuple[str, ...] = get_args(Variant)
    left = [name for name in known if name not in tuning.variants]
    return f"also {', '.join(left[:-1])} and {left[-1]}"


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
