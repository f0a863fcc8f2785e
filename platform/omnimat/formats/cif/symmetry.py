"""Finds the symmetry operations of a CIF, listed or named."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass

import gemmi
import numpy as np
import spglib
from numpy.typing import NDArray

from omnimat.formats.cif.document import Block, is_known

_LISTED = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
_MAGNETIC = ("_space_group_symop_magn_operation_xyz",)
_MAGNETIC_CENTRING = ("_space_group_symop_magn_centering_xyz",)
_HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_NAME = ("_space_group_name_h-m_alt", "_symmetry_space_group_name_h-m", "_space_group_name_h-m")
_NUMBER = ("_space_group_it_number", "_symmetry_int_tables_number")
_MODULATED = (
    "_space_group_ssg_",
    "_space_group_symop_ssg_",
    "_space_group_symop_magn_ssg_",
    "_cell_modulation_",
    "_cell_wave_vector",
    "_cell_subsystem",
    "_atom_site_fourier",
    "_atom_site_displace",
    "_atom_site_moment_fourier",
    "_atom_site_occ_",
    "_atom_site_rot_",
)
# Letters by which older databases mark the origin: S is the first choice, Z the second.
_EXTENSIONS = {"S": "1", "O1": "1", "Z": "2", "O2": "2"}
# How far rotations may change the product of two of the cell's vectors, as a share of the product
# of their lengths: a length by one per cent, a right angle by one degree. Cells have few digits.
_METRIC_TOLERANCE = 0.02


@dataclass(frozen=True, eq=False, slots=True)
class Operations:
    """The operations of a space group, its centring included.

    Attributes:
        rotations: float64 of shape (n, 3, 3), acting on columns of fractional coordinates.
        translations: float64 of shape (n, 3), in fractions of the cell.
        number: number of the space group, whatever its setting; 0 if it cannot be told.
    """

    rotations: NDArray[np.float64]
    translations: NDArray[np.float64]
    number: int

    def __len__(self) -> int:
        return len(self.rotations)


def operations_of(block: Block, metric_angstrom2: NDArray[np.float64]) -> Operations:
    """Return the operations of a crystal.

    Those that are listed count, else the Hall symbol, else the Hermann-Mauguin name, else the
    number. Where a name or a number has several settings, those that fit the cell are considered.

    Args:
        block: a data block.
        metric_angstrom2: products of the cell's vectors, shape (3, 3).

    Raises:
        ValueError: nothing says which symmetry it is, or what is said is unreadable, ambiguous, or
            contradicts itself or the cell.
    """
    _refuse_modulated(block)
    if magnetic := block.column(*_MAGNETIC):
        found = _magnetic(magnetic, block.column(*_MAGNETIC_CENTRING) or [])
    elif any(name.startswith("_space_group_symop_magn_") for name in block.items):
        raise ValueError("unknown symmetry: the magnetic operations are not listed as x,y,z,+1")
    else:
        found = _nonmagnetic(block, metric_angstrom2)
    if len(found) > 1 and not _fits(found, metric_angstrom2):
        raise ValueError(
            "contradicting symmetry: the cell does not have the symmetry of space group "
            f"{found.number or 'of the file'}"
        )
    return found


def _nonmagnetic(block: Block, metric_angstrom2: NDArray[np.float64]) -> Operations:
    name, hall, number = block.value(*_NAME), block.value(*_HALL), _stated_number(block)
    settings = () if name is None else _settings(name)
    stated = {"name": settings[0].number if settings else 0, "number": number}
    if (listed := block.column(*_LISTED)) and all(map(is_known, listed)):
        found = _from_triplets(tuple(listed))
    elif hall is not None and (from_hall := _from_hall(hall)) is not None:
        found = from_hall
    elif settings:
        found = _only_fitting(settings, f"the name {name!r}", metric_angstrom2)
    elif name is not None and _means_something(name):
        raise ValueError(f"unknown symmetry: {name[:40]!r} is no name of a space group known here")
    elif number:
        found = _only_fitting(_of_number(number), f"the number {number}", metric_angstrom2)
    else:
        raise ValueError("unknown symmetry: which symmetry is not said")
    for what, value in stated.items():
        if value and found.number and value != found.number:
            raise ValueError(
                f"contradicting symmetry: the operations are those of space group {found.number}, "
                f"but the {what} in the file is of {value}"
            )
    return found


def _refuse_modulated(block: Block) -> None:
    for name, values in block.items.items():
        if name.startswith(_MODULATED) and any(
            is_known(value) and value != "0" for value in values
        ):
            raise ValueError(f"modulated crystal: {name} describes one without a unit cell")


def _stated_number(block: Block) -> int:
    """Return the number of the space group that the file names, or 0."""
    text = block.value(*_NUMBER) or ""
    return int(text) if re.fullmatch(r"\d{1,3}", text) and 1 <= int(text) <= 230 else 0


def _means_something(name: str) -> bool:
    return any(character.isalnum() for character in name)


@functools.lru_cache(maxsize=4096)
def _from_triplets(triplets: tuple[str, ...]) -> Operations:
    """Read ``x,y,z`` triplets.

    Raises:
        ValueError: one is unreadable, or together they are no group.
    """
    operations = {}
    for triplet in triplets:
        try:
            operation = gemmi.Op(triplet).wrap()
        except RuntimeError as error:
            raise ValueError(f"unreadable symmetry operation: {error}") from error
        if abs(operation.det_rot()) != gemmi.Op.DEN**3:
            raise ValueError(f"unreadable symmetry operation: {triplet[:40]!r} is none")
        operations[operation.triplet()] = operation
    return _group(operations.values())


def _group(operations: Iterable[gemmi.Op]) -> Operations:
    listed = list(operations)
    try:
        group = gemmi.GroupOps(listed)
        group.add_missing_elements()
    except RuntimeError as error:
        raise ValueError(f"incomplete symmetry: the operations are no group ({error})") from error
    closed = {operation.wrap().triplet() for operation in group}
    if closed != {operation.triplet() for operation in listed}:
        raise ValueError(
            f"incomplete symmetry: the {len(listed)} operations that are listed are no whole group"
        )
    return _as_arrays(listed)


def _as_arrays(operations: Iterable[gemmi.Op]) -> Operations:
    listed = list(operations)
    rotations = np.array([one.rot for one in listed]) // gemmi.Op.DEN
    translations = np.array([one.tran for one in listed]) / gemmi.Op.DEN
    kind = spglib.get_spacegroup_type_from_symmetry(rotations, translations)
    number = 0 if kind is None else int(kind.number)
    return Operations(rotations.astype(np.float64), translations, number)


def _magnetic(operations: list[str], centring: list[str]) -> Operations:
    """Combine magnetic operations, of which the reversal of time is left out, with centring."""
    spatial = [_without_time(one) for one in operations]
    moves = [_without_time(one) for one in centring] or ["x,y,z"]
    try:
        products = [
            (gemmi.Op(move) * gemmi.Op(one)).wrap().triplet() for move in moves for one in spatial
        ]
    except RuntimeError as error:
        raise ValueError(f"unreadable symmetry operation: {error}") from error
    return _from_triplets(tuple(dict.fromkeys(products)))


def _without_time(operation: str) -> str:
    triplet, _, time = operation.rpartition(",")
    if time.strip() not in {"1", "+1", "-1"}:
        raise ValueError(f"unreadable symmetry operation: {operation[:40]!r} lacks its +1 or -1")
    return triplet


@functools.lru_cache(maxsize=1024)
def _from_hall(symbol: str) -> Operations | None:
    """Return the group of a Hall symbol; None if it is none."""
    try:
        group = gemmi.symops_from_hall(symbol.replace("_", " "))
    except RuntimeError:
        return None
    return _as_arrays(group)


@functools.lru_cache(maxsize=1024)
def _settings(name: str) -> tuple[gemmi.SpaceGroup, ...]:
    """Return the settings that a Hermann-Mauguin name may mean; none if it is no such name."""
    compact = re.sub(r"[\s_()]", "", name)
    base, _, extension = compact.partition(":")
    if not extension and (parts := re.fullmatch(r"(.+?)(O1|O2|[SZHR])", base, re.IGNORECASE)):
        base, extension = parts[1], parts[2]
    group = gemmi.find_spacegroup_by_name(base) if base else None
    if group is None:
        return ()
    same = tuple(one for one in gemmi.spacegroup_table() if one.hm == group.hm)
    if not extension or not any(map(_extension, same)):
        return same
    extension = _EXTENSIONS.get(extension.upper(), extension.upper())
    return tuple(one for one in same if _extension(one) == extension)


def _extension(group: gemmi.SpaceGroup) -> str:
    return group.ext.strip("\0")  # gemmi gives a NUL where there is none


@functools.lru_cache(maxsize=256)
def _of_number(number: int) -> tuple[gemmi.SpaceGroup, ...]:
    return tuple(one for one in gemmi.spacegroup_table_itb() if one.number == number)


@functools.lru_cache(maxsize=1024)
def _of_setting(hall: str) -> Operations:
    return _as_arrays(gemmi.symops_from_hall(hall))


def _only_fitting(
    settings: tuple[gemmi.SpaceGroup, ...], said: str, metric_angstrom2: NDArray[np.float64]
) -> Operations:
    halls = list(dict.fromkeys(one.hall for one in settings))
    fitting = [hall for hall in halls if _fits(_of_setting(hall), metric_angstrom2)]
    if len(fitting) > 1:
        names = ", ".join(one.xhm() for one in settings if one.hall in fitting)
        raise ValueError(f"ambiguous symmetry: {said} may mean {names[:100]}")
    if not fitting:
        raise ValueError(f"contradicting symmetry: the cell does not have that of {said}")
    return _of_setting(fitting[0])


def _fits(operations: Operations, metric_angstrom2: NDArray[np.float64]) -> bool:
    """Say whether rotations keep the cell: lengths within one per cent, angles within about 1°."""
    rotations = operations.rotations
    rotated = np.swapaxes(rotations, 1, 2) @ metric_angstrom2 @ rotations
    lengths = np.sqrt(np.diag(metric_angstrom2))
    difference = np.abs(rotated - metric_angstrom2) / np.outer(lengths, lengths)
    return bool((difference < _METRIC_TOLERANCE).all())
