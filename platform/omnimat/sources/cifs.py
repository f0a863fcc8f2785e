"""Reads a folder of CIF files."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Literal, Self

from upath import UPath

from omnimat.base.settings import Settings
from omnimat.materials.crystals import from_pymatgen, parse_cif, symmetry_properties
from omnimat.materials.record import Failure, Record
from omnimat.sources.base import absolute_path

_MAX_ID_LENGTH = 128


class Cifs(Settings):
    """All ``.cif`` files of a folder, in order of name, with one structure each.

    Attributes:
        path: path of the folder.
        licence: licence of the files, which is recorded in the provenance.
        database_version: version of the files, which is recorded in the provenance.
    """

    type: Literal["cifs"] = "cifs"
    path: str
    licence: str = "unknown"
    database_version: str = "unknown"

    def located(self) -> Self:
        """Resolve ``path``."""
        return self.model_copy(update={"path": absolute_path(self.path, "source.path")})

    def inputs(self) -> dict[str, UPath]:
        """Return the CIF files that the folder holds now."""
        _files.cache_clear()
        return {file.name: file for file in _files(self.path)}

    def num_items(self) -> int:
        """Return the number of files."""
        return len(_files(self.path))

    def read(self, start: int, stop: int) -> Iterator[Record | Failure]:
        """Parse the files of a slice."""
        for file in _files(self.path)[start:stop]:
            material_id = re.sub(r"[^A-Za-z0-9_\-]", "_", file.stem)[:_MAX_ID_LENGTH]
            try:
                yield self._record(material_id, file)
            except ValueError as error:
                yield Failure(material_id, f"{file.name}: {error}")

    def _record(self, material_id: str, file: UPath) -> Record:
        crystal = parse_cif(file.read_text())
        structure = from_pymatgen(crystal)
        return Record(
            material_id=material_id,
            parts={"structure": structure},
            properties=symmetry_properties(crystal),
            provenance={
                "source": f"CIF {file.name}",
                "licence": self.licence,
                "database_version": self.database_version,
            },
        )


@functools.lru_cache(maxsize=1)
def _files(path: str) -> tuple[UPath, ...]:
    return tuple(sorted(UPath(path).glob("*.cif"), key=lambda file: file.name))
