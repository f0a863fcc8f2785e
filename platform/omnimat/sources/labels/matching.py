"""Which labels belong to which record.

A row belongs to the record whose ``material_id`` it names, or else to the record of the file that
it names, with or without the ending. Names are compared as they are, and then as ``safe_id`` makes
ids of them. A label replaces a property of the source that has its name, in all records: a property
never mixes values of two origins. The provenance of each record says which labels it got.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from upath import UPath

from omnimat.materials.record import Failure, Record, safe_id
from omnimat.materials.values import LabelKind
from omnimat.sources.labels.cells import Unusable

# Keys of a record's provenance.
LABEL_ID, LABELS, REPLACED = "label_id", "labels", "replaced_by_labels"
# Key under which a source names the file of a record whose id differs from the file's name.
FILE = "file"

_PACKED = frozenset({".gz", ".bz2", ".xz", ".zst"})

LabelRow = dict[str, float | str | Unusable]
"""The labels of an id by their names."""


@dataclass(frozen=True)
class Labels:
    """Tables of labels, read.

    Attributes:
        files: names of the tables.
        kinds: whether each label is a number or a class, by its name.
        rows: labels by id and name; unknown ones are absent, unusable ones say why they are.
        num_unknown: how many cells of each label are empty or NaN.
        num_repeated: how many rows say what an earlier one of the same table says.
        num_without_id: how many rows have no id.
        takes_all_columns: whether every column but the ids was taken.
        by_safe_id: ids of the tables by the material id that each of them becomes.
    """

    files: tuple[str, ...]
    kinds: Mapping[str, LabelKind]
    rows: Mapping[str, LabelRow] = field(default_factory=dict)
    num_unknown: Mapping[str, int] = field(default_factory=Counter)
    num_repeated: int = 0
    num_without_id: int = 0
    takes_all_columns: bool = False
    by_safe_id: Mapping[str, set[str]] = field(default_factory=dict)

    def id_of(self, record: Record) -> str | None:
        """Return the id under which the tables know a record, or None if they do not know it."""
        names = _names_of(record)
        for name in names:
            if name in self.rows:
                return name
        for name in names:
            found = self.by_safe_id.get(safe_id(name), set())
            if len(found) == 1:
                return next(iter(found))
        return None

    def rivals(self, label_id: str) -> list[str]:
        """Return the other ids of the tables that become the same material id."""
        return sorted(self.by_safe_id[safe_id(label_id)] - {label_id})

    def usable(self, label_id: str) -> dict[str, float | str]:
        """Return the labels of an id that are known and usable."""
        row = self.rows[label_id].items()
        return {name: value for name, value in row if not isinstance(value, Unusable)}

    def joined(self, items: Iterable[Record | Failure]) -> Iterator[Record | Failure]:
        """Yield each record with its labels, in order."""
        for item in items:
            yield item if isinstance(item, Failure) else self._joined(item)

    def _joined(self, record: Record) -> Record:
        label_id = self.id_of(record)
        labels = {} if label_id is None else self.usable(label_id)
        properties = {k: v for k, v in record.properties.items() if k not in self.kinds}
        provenance = dict(record.provenance)
        if replaced := sorted(record.properties.keys() & self.kinds.keys()):
            provenance[REPLACED] = ", ".join(replaced)
        if label_id is not None:
            told = f"{', '.join(labels) or 'none'} from {', '.join(self.files)}"
            provenance |= {LABEL_ID: label_id, LABELS: told}
        return replace(record, properties=properties | labels, provenance=provenance)


def _names_of(record: Record) -> Sequence[str]:
    """Return the names under which a table may know a record."""
    names = [record.material_id]
    if file := record.provenance.get(FILE):
        name = UPath(file).name
        path = UPath(name)
        unpacked = path.stem if path.suffix.lower() in _PACKED else name
        names += [name, UPath(unpacked).stem]
    return names
