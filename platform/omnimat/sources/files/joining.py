"""Makes one record of what several files say about a material."""

from __future__ import annotations

from collections.abc import Iterable

from omnimat.materials.record import Failure, Record
from omnimat.sources.files.listing import File


def joined(record: Record, addition: Record, file: File) -> Record:
    """Add what another file says; where both say something, the record's own stays."""
    new = addition.parts.keys() - record.parts.keys()
    told = {name: addition.provenance.get(name, f"from {file.name}") for name in sorted(new)}
    return Record(
        record.material_id,
        {**addition.parts, **record.parts},
        {**addition.properties, **record.properties},
        {**addition.provenance, **record.provenance, **told},
    )


def said_twice(record: Record, addition: Record, file: File) -> Iterable[Failure]:
    """Name the parts that two files give, and which of the two counts.

    The outputs of one calculation repeat each other (``POSCAR``, ``CONTCAR``, ``vasprun.xml``), and
    the order of the formats decides between them.
    """
    if file.is_of_calculation:
        return
    for name in sorted(addition.parts.keys() & record.parts.keys()):
        of_which = record.provenance["file"]
        reason = f"two files give its {name}: {of_which} was read, {file.name} left out"
        yield Failure(record.material_id, reason)
