"""Drafts the ingest job of what a user points to, and says in lines what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from omnimat.base.errors import UserError
from omnimat.job.document import parsed
from omnimat.job.drafts.look import LOOKED_AT_ROWS, LabelsLook, Look
from omnimat.job.drafts.text import filled
from omnimat.materials.record import Failure, Record
from omnimat.materials.split import Split
from omnimat.sources.settings import IngestSettings
from omnimat.sources.tables.told import Labelled, TableColumns, by_name

Disorder = Literal["refuse", "nearest_ordered"]

_FEW, _SOME = 200, 2000  # materials
_SAMPLE = 12
_SYNONYMS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
_FROM_STRUCTURE = ("composition", "xrd")


@dataclass(frozen=True, slots=True)
class SplitDraft:
    """A column that says the split of each material.

    Attributes:
        column: its name.
        values: the split for each value that is not its name.
        is_in_labels: whether it stands in the table of labels, not in that of the materials.
    """

    column: str
    values: dict[str, Split]
    is_in_labels: bool


def ingest_draft(
    name: str,
    look: Look,
    labels: LabelsLook | None = None,
    split: SplitDraft | None = None,
    disorder: Disorder = "refuse",
) -> str:
    """Write the ingest job of what was found.

    Args:
        name: name of the data set.
        look: the materials.
        labels: the table of labels, if there is one.
        split: where the split is written down, if it is.
        disorder: what becomes of crystals with partially occupied sites.

    Raises:
        UserError: two columns would be one label.
    """
    written = () if look.table is None else look.table.labels
    properties = [one for one in written if split is None or one.column != split.column]
    return filled(
        "ingest",
        name=name,
        look=look,
        table=look.table,
        properties=list(by_name(properties).values()),
        labels=labels,
        split=split,
        disorder=disorder,
        is_small=look.num_items < _FEW,
        records_per_shard=64 if look.num_items < _SOME else 256,
    )


def split_draft(column: str, values: Iterable[str], is_in_labels: bool) -> SplitDraft:
    """Say which split the values of a column stand for.

    Raises:
        UserError: one stands for none.
    """
    named = {}
    for value in values:
        if value.lower() not in _SYNONYMS:
            raise UserError(
                f"--split: column {column!r} holds {value!r}, which is none of "
                f"{', '.join(_SYNONYMS)}; write the splits in these words"
            )
        named[value] = _SYNONYMS[value.lower()]
    others = {value: split for value, split in named.items() if value != split}
    return SplitDraft(column, others, is_in_labels)


def settings_of(text: str) -> IngestSettings:
    """Read the settings in the text of an ingest job."""
    values: dict[str, Any] = parsed(text, "the drafted job")
    return IngestSettings.model_validate(
        {key: value for key, value in values.items() if key not in {"kind", "name"}}
    )


def sample(settings: IngestSettings) -> list[Record | Failure]:
    """Read a few items, evenly spaced."""
    source = settings.located().source
    num_items = source.num_items()
    step = max(1, num_items // _SAMPLE)
    return [one for i in range(0, num_items, step) for one in list(source.read(i, i + 1))[:1]]


def told_look(look: Look) -> list[str]:
    """Say in lines what a path holds."""
    lines = [f"{look.path}: {', '.join(look.found)}"]
    if look.table is not None:
        lines += [f"  column {line}" for line in _told_columns(look.table)]
        if look.num_items > LOOKED_AT_ROWS:
            lines.append(f"  as told by the first {LOOKED_AT_ROWS} rows")
    return [*lines, *(f"  {line}" for line in look.not_read)]


def told_sample(items: Sequence[Record | Failure]) -> list[str]:
    """Say in lines what a few materials give, and why the first of those was refused that were."""
    records = [one for one in items if isinstance(one, Record)]
    refused = [one for one in items if isinstance(one, Failure)]
    parts = Counter(part for record in records for part in record.parts)
    lines = [f"  read {len(items)} of them to try: {_told_parts(parts) or 'no material'}"]
    if refused:
        lines.append(
            f"  {len(refused)} of these {len(items)} are refused, the first of them because: "
            f"{refused[0].material_id}: {refused[0].reason}"
        )
    return lines


def told_labels(labels: LabelsLook, look: Look) -> list[str]:
    """Say in lines what a table of labels holds for some materials."""
    first = "the first " if look.num_named < look.num_items else ""
    lines = [
        f"{labels.path}: {labels.num_rows} rows; column {labels.id!r} names "
        f"{labels.num_matching} of {first}{look.num_named} materials"
    ]
    lines += [f"  label {_told_label(one)}" for one in labels.labels]
    if labels.left_out:
        lines.append(
            f"  left out, neither numbers nor classes that occur more than once: "
            f"{', '.join(labels.left_out)}"
        )
    return lines


def _told_columns(table: TableColumns) -> list[str]:
    structure = (
        f"{table.structure[1]}: structures ({table.structure[0]})" if table.structure else ""
    )
    pattern = f"{table.two_theta_degree} and {table.intensity}: patterns"
    return [
        line
        for line in (
            f"{table.id}: ids" if table.id else "",
            structure,
            f"{table.formula}: formulas" if table.formula else "",
            f"{table.text}: texts" if table.text else "",
            pattern if table.two_theta_degree else "",
            *(f"{_told_label(one)}" for one in table.labels),
        )
        if line
    ]


def _told_label(label: Labelled) -> str:
    renamed = "" if label.name == label.column else f", from {label.column!r}"
    return f"{label.name}: {label.kind}, {label.num_known} known{renamed}"


def _told_parts(parts: Counter[str]) -> str:
    told = [f"{part} ({count})" for part, count in parts.most_common()]
    if "structure" in parts:
        derived = [part for part in _FROM_STRUCTURE if part not in parts]
        told.append(f"and from the structure {' and '.join(derived)}" if derived else "")
    return ", ".join(one for one in told if one)
