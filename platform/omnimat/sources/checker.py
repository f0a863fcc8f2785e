"""Checks the records of a source before they are stored, and notes why some are rejected."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from omnimat.materials.crystals import reduced_formula
from omnimat.materials.record import Failure, Record
from omnimat.materials.split import PUBLISHED_SPLIT, Split, SplitSettings, assign_split
from omnimat.materials.validation import validate
from omnimat.modalities.composition import Formula, formula_of
from omnimat.sources.labels.joins import SplitRule
from omnimat.sources.labels.matching import LABEL_ID, REPLACED

PROPERTY = "properties."
"""How the name of a required property begins, which tells it from that of a part."""


class _Note(NamedTuple):
    """What is told about an accepted record: its labels' id, and the names of properties."""

    label_id: str | None
    replaced: tuple[str, ...]
    known: tuple[str, ...]


class Checker:
    """Validates the records of one shard and assigns their split.

    Attributes:
        failures: (material id, reason) of what was not accepted, in order.
        columns: ``split`` and ``reduced_formula`` of each accepted record, by id; the formula is
            None where neither a structure nor a composition is known.
    """

    def __init__(
        self,
        split: SplitRule,
        excluded_ids: Iterable[str],
        required: Iterable[str] = (),
    ) -> None:
        self.failures: list[tuple[str, str]] = []
        self.columns: dict[str, dict[str, str | None]] = {}
        self._notes: dict[str, _Note] = {}
        self._split = split
        self._excluded_ids = frozenset(excluded_ids)
        self._required = tuple(required)
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
        """Return the distinct values of a provenance key among the accepted records."""
        return tuple(sorted(value for name, value in self._provenance if name == key))

    def counts(self, material_ids: Iterable[str]) -> dict[str, Any]:
        """Return what a ``ShardReport`` tells of the labels and properties of accepted records."""
        label_ids: dict[str, str | None] = {}
        replaced: Counter[str] = Counter()
        known: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for material_id in material_ids:
            note = self._notes[material_id]
            label_ids[material_id] = note.label_id
            replaced.update(note.replaced)
            for name in note.known:
                known[name][str(self.columns[material_id]["split"])] += 1
        return {
            "label_ids": label_ids,
            "replaced_properties": replaced,
            "property_counts": known,
        }

    def _accept(self, record: Record) -> None:
        if record.material_id in self.columns or record.material_id in self._excluded_ids:
            raise ValueError("duplicate: an earlier record has this material id")
        if missing := [name for name in self._required if not _has(record, name)]:
            raise ValueError(f"no {', '.join(missing)}")
        if not record.parts and not record.properties:
            raise ValueError("nothing is known about it")
        if record.structure is not None:
            validate(record.structure)
        formula = _reduced_formula(record)
        split = self._split_of(record, formula)
        self.columns[record.material_id] = {"split": split, "reduced_formula": formula}
        self._provenance.update(record.provenance.items())
        self._notes[record.material_id] = _Note(
            record.provenance.get(LABEL_ID),
            tuple(filter(None, record.provenance.get(REPLACED, "").split(", "))),
            tuple(name for name, value in record.properties.items() if value is not None),
        )

    def _split_of(self, record: Record, formula: str | None) -> Split:
        published = record.provenance.get(PUBLISHED_SPLIT)
        if isinstance(self._split, SplitSettings):
            # Where no formula is known, only the id distinguishes materials.
            return assign_split(formula or record.material_id, published, self._split)
        split = self._split(record)
        if published not in {None, split}:
            raise ValueError(f"its split is {split}, but the published one is {published}")
        return split


def _has(record: Record, required: str) -> bool:
    """Say whether a record has a part, or a property (``properties.hardness_gpa``)."""
    if required.startswith(PROPERTY):
        return record.properties.get(required.removeprefix(PROPERTY)) is not None
    return required in record.parts


def _reduced_formula(record: Record) -> str | None:
    """Return the reduced formula, which is the same for all polymorphs.

    Raises:
        ValueError: the record's formula and its structure contradict each other.
    """
    given: Formula | None = record.parts.get("composition")
    formula = formula_of(record)
    if formula is None:
        return None
    reduced = reduced_formula(formula.atomic_numbers, formula.amounts)
    if given is not None and record.structure is not None:
        of_structure = formula_of(replace(record, parts={"structure": record.structure}))
        if of_structure is not None:
            told = reduced_formula(of_structure.atomic_numbers, of_structure.amounts)
            if told != reduced:
                raise ValueError(f"its formula is {reduced}, but that of its structure is {told}")
    return reduced
