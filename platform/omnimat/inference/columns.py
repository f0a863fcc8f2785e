"""The columns of a table of predictions."""

from __future__ import annotations

from collections.abc import Iterable

from omnimat.base.errors import UserError
from omnimat.finetune.tasks import TaskSettings

NAME, DISTANCE, NOTES = "name", "distance", "notes"


def column_name(task: TaskSettings) -> str:
    """Name the column of a quantity: the property, whose name holds its unit."""
    return f"log10_{task.target}" if task.scale == "log10" else task.target


def columns_of(task: TaskSettings, *, has_interval: bool) -> tuple[str, ...]:
    """Name all columns of a quantity: its value, and its probability or the ends of its interval.

    Args:
        task: what is predicted.
        has_interval: whether a number has an interval; a class always has a probability.
    """
    name = column_name(task)
    if task.kind == "classification":
        return name, f"{name}_probability"
    return (name, f"{name}_low", f"{name}_high") if has_interval else (name,)


def check_columns(tasks: Iterable[TaskSettings]) -> None:
    """Check that every column of a table of predictions means one thing.

    Raises:
        UserError: two columns would have one name.
    """
    known = {NAME, DISTANCE, NOTES}
    for task in tasks:
        names = columns_of(task, has_interval=True)
        if twice := sorted(known & set(names)):
            raise UserError(
                f"tasks.{task.name}: the table of predictions would have two columns "
                f"{twice[0]!r}; package a run that predicts no two properties of one name, and "
                "none of this name"
            )
        known |= set(names)
