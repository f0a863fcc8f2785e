"""What a format of files is, and the table of the formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any, Literal, Protocol

from upath import UPath

from omnimat.base.registry import Registry, imported
from omnimat.base.settings import Settings
from omnimat.materials.record import Failure, Record


class Reading(Settings):
    """How crystals are read, whatever the format.

    Attributes:
        disorder: what happens to a crystal with partially occupied sites: it is refused, or
            replaced by the nearest ordered one, which its provenance says.
        missing_hydrogens: what happens to a crystal whose formula has hydrogens without
            coordinates: it is refused, or kept without them, which its provenance says.
    """

    disorder: Literal["refuse", "nearest_ordered"] = "refuse"
    missing_hydrogens: Literal["refuse", "keep"] = "refuse"


class Read(Protocol):
    """Reads the entries of a file from ``start`` to before ``stop``, which may lie beyond the last.

    The ``material_id`` of what it yields is the entry's name within the file; it is empty where
    only the file has a name. An entry that cannot be read becomes a ``Failure``, and the others
    are read all the same.
    """

    def __call__(
        self, path: UPath, reading: Reading, start: int, stop: int
    ) -> Iterator[Record | Failure]:
        """Read some entries of a file.

        Raises:
            ValueError: nothing in the file can be read; the reason does not name the file.
        """


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of file.

    The file that defines it imports nothing heavy at its top: functions are named by import path
    (``module:name``) and import their libraries when they are called.

    Attributes:
        label: its name for people (``CIF``).
        patterns: shell patterns of the names of its files, in lower case (``*.cif``).
        read: import path of its ``Read``.
        count: import path of a function that counts the entries of a file without reading them
            whole. None if a file counts as one item, however many entries it has.
        recognises: import path of a function that looks at the beginning of a file and says whether
            it is of this format. None where the name decides.
        names_in_every_folder: names of files, in lower case and without the ending of a
            compression, that are the same in every folder, so that the folder names the material
            (``contcar``).
        goes_with_others: whether its files only say more about a material that another file of the
            same name describes (a text).
    """

    label: str
    patterns: tuple[str, ...]
    read: str
    count: str | None = None
    recognises: str | None = None
    names_in_every_folder: tuple[str, ...] = ()
    goes_with_others: bool = False

    def fits(self, path: UPath) -> bool:
        """Say whether a file is of this format."""
        if not any(fnmatch(path.name.lower(), pattern) for pattern in self.patterns):
            return False
        return self.recognises is None or bool(imported(self.recognises)(path))

    def entries(
        self, path: UPath, reading: Reading, start: int, stop: int
    ) -> Iterator[Record | Failure]:
        """Read some entries of a file; see ``Read``."""
        read: Read = imported(self.read)
        return read(path, reading, start, stop)

    def num_entries(self, path: UPath) -> int:
        """Count the items of a file."""
        count: Callable[[UPath], Any] | None = None if self.count is None else imported(self.count)
        return 1 if count is None else int(count(path))


_HERE = "omnimat.formats"

FORMATS: Registry[Format] = Registry(
    "omnimat.formats",
    {
        "cif": f"{_HERE}.cif:FORMAT",
        "vasprun": f"{_HERE}.vasp:VASPRUN",
        "chgcar": f"{_HERE}.vasp:CHGCAR",
        "aeccar": f"{_HERE}.vasp:AECCAR",
        "doscar": f"{_HERE}.vasp:DOSCAR",
        "poscar": f"{_HERE}.poscar:POSCAR",
        "extxyz": f"{_HERE}.extxyz:EXTXYZ",
        "ase_db": f"{_HERE}.ase_db:ASE_DATABASE",
        "json": f"{_HERE}.documents:JSON",
        "json_lines": f"{_HERE}.documents:JSON_LINES",
        "xrdml": f"{_HERE}.xrdml:FORMAT",
        "dos_table": f"{_HERE}.dos_table:FORMAT",
        "powder": f"{_HERE}.powder:FORMAT",
        "text": f"{_HERE}.text:FORMAT",
    },
)
"""Every format by its name. Where several fit a file, the first one reads it."""


def format_of(path: UPath) -> Format | None:
    """Return the format of a file, or None if it has none that can be read."""
    return next((one for one in map(FORMATS.load, FORMATS.names) if one.fits(path)), None)
