"""Output files of VASP, which have the same names in the folder of every calculation."""

from __future__ import annotations

from omnimat.formats.format import Format

_HERE = "omnimat.formats.vasp"

VASPRUN = Format(
    label="VASP vasprun.xml",
    patterns=("vasprun.xml*",),
    read=f"{_HERE}.vasprun:read",
    names_in_every_folder=("vasprun.xml",),
)
DOSCAR = Format(
    label="VASP DOSCAR",
    patterns=("doscar*",),
    read=f"{_HERE}.doscar:read",
    names_in_every_folder=("doscar",),
)
CHGCAR = Format(
    label="VASP CHGCAR",
    patterns=("chgcar*",),
    read=f"{_HERE}.chgcar:read",
    names_in_every_folder=("chgcar",),
)
AECCAR = Format(
    label="VASP AECCAR0 beside AECCAR2",
    patterns=("aeccar0*", "aeccar2*"),
    read=f"{_HERE}.chgcar:read_all_electrons",
    names_in_every_folder=("aeccar0", "aeccar2"),
)
