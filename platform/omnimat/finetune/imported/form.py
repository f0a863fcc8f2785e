"""What the value of a task looks like: a class, a number, or several numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from omnimat.materials.values import class_of, property_of


@dataclass(frozen=True, slots=True)
class Form:
    """The form of targets, in which predictions are read.

    Attributes:
        num_numbers: how many numbers a target is; 0 where it is a single number or a class.
        classes: how the targets write each class; None for numbers.
    """

    num_numbers: int
    classes: Mapping[str, str] | None

    @classmethod
    def of(cls, targets: Iterable[Any]) -> Self:
        """Find the form of targets, all of which have the same."""
        known = list(targets)
        first = known[0] if known else 0.0
        classes = {class_of(one): one for one in known} if isinstance(first, str) else None
        return cls(len(first) if isinstance(first, list) else 0, classes)

    def read(self, cell: Any) -> Any:
        """Read a known cell of a table.

        Returns:
            A class, written as targets are where one is of this class (``true`` as ``True``); a
            finite number; or a list of finite numbers.

        Raises:
            ValueError: it holds anything else.
        """
        if self.classes is not None:
            label = class_of(property_of(cell, "class"))
            return self.classes.get(label, label)
        if not self.num_numbers:
            return float(property_of(cell, "number"))
        numbers = property_of(cell)
        if not isinstance(numbers, list) or len(numbers) != self.num_numbers:
            raise ValueError(f"{cell!r} is no list of {self.num_numbers} numbers")
        return [float(number) for number in numbers]
