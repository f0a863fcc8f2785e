"""Checks the records of a source before they are stored, and notes why others are rejected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from omnimat.materials.crystals import reduced_formula
from omnimat.materials.record import Record
from omnimat.materials.split import PUBLISHED_SPLIT, SplitSettings, assign_split
from omnimat.materials.validation import validate
from omnimat.sources.base import Failure


class Checker:
    """Validates the records of one shard and assigns their split.

    Attributes:
        failures: (material id, reason) of what was not accepted, in order.
        columns: ``split`` and ``reduced_formula`` of each accepted record, by id.
    """

    def __init__(self, split: SplitSettings, excluded_ids: Iterable[str]) -> None:
        self.failures: list[tuple[str, str]] = []
        self.columns: dict[str, dict[str, str]] = {}
        self._split = split
        self._excluded_ids = frozenset(excluded_ids)
        self._provenance: set[tuple[str, str]] = set()

    def accepted(self, items: Iterable[Record | Failure]) -> Iterator[Record]:
        """Yield the records that may be stored, and note the others."""
        for item in items:
            try:
                if isinstance(item, Failure):
                    raise ValueError(item.reason)
                self._accept(item)
            except ValueError as error:
                self.failures.append((item.material_id, str(error)))
            else:
                yield item

    def provenance_values(self, key: str) -> tuple[str, ...]:
        """Give the distinct values of a provenance key among the accepted records."""
        return tuple(sorted(value for name, value in self._provenance if name == key))

    def _accept(self, record: Record) -> None:
        if record.material_id in self.columns or record.material_id in self._excluded_ids:
            raise ValueError("duplicate: an earlier record has this material id")
        validate(record.structure)
        formula = reduced_formula(record.structure.atomic_numbers)
        split = assign_split(formula, record.provenance.get(PUBLISHED_SPLIT), self._split)
        self.columns[record.material_id] = {"split": split, "reduced_formula": formula}
        self._provenance.update(record.provenance.items())
