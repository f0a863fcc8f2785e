"""Output files of VASP, which have the same names in the folder of every calculation."""

from __future__ import annotations

from omnimat.formats.format import Format

_HERE = "omnimat.formats.vasp"

VASPRUN = Format(
    label="VASP vasprun.xml",
    patterns=("vasprun.xml*",),
    read=f"{_HERE}.vasprun:read",
    is_named_after_folder=True,
)
DOSCAR = Format(
    label="VASP DOSCAR",
    patterns=("doscar*",),
    read=f"{_HERE}.doscar:read",
    is_named_after_folder=True,
)
CHGCAR = Format(
    label="VASP CHGCAR",
    patterns=("chgcar*",),
    read=f"{_HERE}.chgcar:read",
    is_named_after_folder=True,
)
AECCAR = Format(
    label="VASP AECCAR0 beside AECCAR2",
    patterns=("aeccar0*",),
    read=f"{_HERE}.chgcar:read_all_electrons",
    is_named_after_folder=True,
)
