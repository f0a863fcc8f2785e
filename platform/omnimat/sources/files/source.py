"""Reads the files of a folder, whatever their formats."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal, Self

from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.paths import expanded_path
from omnimat.formats.format import Reading
from omnimat.materials.crystals import symmetry_properties, to_pymatgen
from omnimat.materials.record import Failure, Record, safe_id
from omnimat.materials.validation import validate
from omnimat.sources.base import SourceSettings
from omnimat.sources.files.joining import joined, said_twice
from omnimat.sources.files.listing import File, Group, listing


class Files(SourceSettings):
    """Files of any format that ``omnimat.formats`` knows, in a folder and those below it.

    Attributes:
        path: a folder, one file, or a pattern (``data/**/*.cif``).
        reading: how crystals are read.
        licence: licence of the files, which is recorded in the provenance.
        database_version: version of the files, which is recorded in the provenance.
    """

    type: Literal["files"] = "files"
    path: str
    reading: Reading = Reading()
    licence: str = "unknown"
    database_version: str = "unknown"

    def located(self) -> Self:
        """Resolve ``path``, and insist that it leads to a file."""
        found = self.model_copy(update={"path": str(expanded_path(self.path, "source.path"))})
        listing.cache_clear()
        if not listing(found.path).groups:
            told = "; ".join(listing(found.path).described()) or "nothing is there"
            raise UserError(
                f"source.path: no file of {found.path} can be read ({told}); give a folder of "
                "crystals, or a pattern such as 'data/**/*.cif'"
            )
        return found

    def inputs(self) -> dict[str, UPath]:
        """Return the files that are there now and can be read."""
        listing.cache_clear()
        groups = listing(self.path).groups
        return {file.name: file.path for group in groups for file in group.files}

    def remarks(self) -> list[str]:
        """Say which files are not read."""
        return listing(self.path).described()

    def num_items(self) -> int:
        """Return the number of materials, as far as it is known without reading the files."""
        return listing(self.path).num_items

    def item_name(self, index: int) -> str:
        """Name the file of an item; a number follows where the file has several."""
        ((group, first, _),) = listing(self.path).slices(index, index + 1)
        return safe_id(f"{group.material_id}-{first}" if group.num_items > 1 else group.material_id)

    def read(self, start: int, stop: int) -> Iterator[Record | Failure]:
        """Read the materials of a slice."""
        for group, first, last in listing(self.path).slices(start, stop):
            yield from self._materials(group, first, last)

    def _materials(self, group: Group, first: int, last: int) -> Iterator[Record | Failure]:
        """Read a group: the entries of its first file, and what its other files add to them."""
        main, *others = group.files
        entries = self._entries(main, group, first, last)
        yield from map(
            _with_symmetry, self._completed(entries, others, group) if others else entries
        )

    def _completed(
        self, entries: Iterable[Record | Failure], others: Iterable[File], group: Group
    ) -> Iterator[Record | Failure]:
        """Add what other files say to the only material of the first one that can be read."""
        record, *more = entries
        failures: list[Failure] = []
        for file in others:
            for addition in self._entries(file, group, 0, 1):
                if isinstance(addition, Failure):
                    failures.append(addition)
                elif more:
                    reason = f"no single material to belong to: {file.name} was left out"
                    failures.append(Failure(group.material_id, reason))
                elif isinstance(record, Failure):
                    failures.append(record)
                    record = addition
                else:
                    failures += said_twice(record, addition, file)
                    record = joined(record, addition, file)
        yield from (record, *more, *failures)

    def _entries(
        self, file: File, group: Group, first: int, last: int
    ) -> Iterator[Record | Failure]:
        """Read one file; say of each entry which material it is, and where it comes from."""
        is_empty = True
        if file.format.count is None:  # one item, however many entries it has
            first, last = 0, sys.maxsize
        try:
            for entry in file.format.entries(file.path, self.reading, first, last):
                material_id = _entry_id(group.material_id, entry.material_id)
                yield self._told(replace(entry, material_id=material_id), file)
                is_empty = False
            if is_empty:
                raise ValueError("empty: it holds no material")
        except (ValueError, PermissionError) as error:
            yield Failure(group.material_id, f"{error} ({file.name})")

    def _told(self, entry: Record | Failure, file: File) -> Record | Failure:
        if isinstance(entry, Failure):
            return replace(entry, reason=f"{entry.reason} ({file.name})")
        provenance = {
            "source": f"{file.format.label} {file.name}",
            "file": file.name,
            "licence": self.licence,
            "database_version": self.database_version,
        }
        return replace(entry, provenance={**provenance, **entry.provenance})


def _with_symmetry(entry: Record | Failure) -> Record | Failure:
    """Add the symmetry of a crystal, if it is one that can be stored."""
    if isinstance(entry, Failure) or entry.structure is None:
        return entry
    try:
        validate(entry.structure)
        symmetry = symmetry_properties(to_pymatgen(entry.structure))
    except ValueError as error:
        return Failure(entry.material_id, f"{error} ({entry.provenance['file']})")
    return replace(entry, properties={**symmetry, **entry.properties})


def _entry_id(material_id: str, name: str) -> str:
    """Name an entry as its file does, but a mere number or nothing after the file."""
    if not name:
        return material_id
    return safe_id(f"{material_id}-{name}" if name.isdigit() else name)
