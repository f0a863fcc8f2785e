"""What a table of labels says of the materials of an index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from omnimat.base.errors import UserError
from omnimat.materials.record import Record
from omnimat.search.materials import KNOWN, Chunk, under
from omnimat.sources.labels.cells import Unusable
from omnimat.sources.labels.matching import FILE, Labels
from omnimat.sources.labels.reader import read_labels
from omnimat.sources.labels.settings import LabelsSettings


def known_labels(path: str, id_column: str) -> Labels:
    """Read a table of known properties.

    Raises:
        UserError: it cannot be read, or has no such column.
    """
    settings = LabelsSettings(path=path, id=id_column).located()
    return read_labels(settings, "known", "known.{}")


def labelled(chunk: Chunk, labels: Labels) -> Chunk:
    """Replace what is known by the labels of a table, all of a property or nothing."""
    rows: list[Mapping[str, Any]] = []
    for name in chunk.names:
        found = _id_of(name, labels)
        rows.append({} if found is None else labels.usable(found))
    known = {label: [row.get(label) for row in rows] for label in labels.kinds}
    return replace(chunk, columns={**chunk.columns, **under(KNOWN, known)})


def unused(labels: Labels, names: Iterable[str]) -> list[str]:
    """Say in whole sentences what of a table goes into no index of materials of these names.

    Raises:
        UserError: nothing of it does, for none of its ids is that of a material.
    """
    names = list(names)
    matched = {_id_of(name, labels) for name in names}
    strange = [one for one in labels.rows if one not in matched]
    if len(strange) == len(labels.rows):
        example = (
            f"it has {strange[0]!r}, they {names[0]!r}" if strange and names else "it has none"
        )
        raise UserError(
            f"known: none of its ids names a material that was given ({example}); name the column "
            "that does"
        )
    found = []
    if strange:
        found.append(f"known: ids that name no material: {len(strange)}, first {strange[0]!r}.")
    reasons = [
        f"{label_id}: {name}: {cell.reason}"
        for label_id, row in labels.rows.items()
        for name, cell in row.items()
        if isinstance(cell, Unusable)
    ]
    if reasons:
        found.append(f"known: cells that cannot be used: {len(reasons)}, first {reasons[0]}.")
    return found


def _id_of(name: str, labels: Labels) -> str | None:
    # The name of an entry within a file may be its id.
    return labels.id_of(Record(name.rpartition(":")[2], provenance={FILE: name}))
