"""What results do not have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ABSENT = "—"


@dataclass(frozen=True, slots=True)
class Varied:
    """One thing that results do not have in common, as text for each of them."""

    name: str
    told: Sequence[str]


def varied_configs(configs: Sequence[Mapping[str, Any]]) -> tuple[list[Varied], int]:
    """List the keys of configurations that differ, and count those that are equal."""
    return varied([dict(flat(one)) for one in configs])


def varied(told: Sequence[Mapping[str, str]]) -> tuple[list[Varied], int]:
    """Give what is not the same in all, and count what is."""
    names = dict.fromkeys(name for one in told for name in one)
    rows = [Varied(name, [one.get(name, ABSENT) for one in told]) for name in names]
    differ = [row for row in rows if len(set(row.told)) > 1]
    return differ, len(rows) - len(differ)


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Give the leaves of a tree by their path."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", "none" if value is None else str(value)
