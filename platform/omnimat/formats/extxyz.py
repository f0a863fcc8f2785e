"""Reads extended XYZ files, whose frames are crystals with named values."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from io import StringIO
from itertools import islice
from typing import IO, Any

from upath import UPath

from omnimat.formats.ase_db import SCALARS
from omnimat.formats.format import Format, Reading
from omnimat.formats.named_values import note_of, properties_of
from omnimat.formats.sites import numbers_of
from omnimat.formats.unpacked import lines, unpacked
from omnimat.materials.record import Failure, Record

_HERE = "omnimat.formats.extxyz"

EXTXYZ = Format(
    label="extended XYZ",
    patterns=("*.xyz", "*.extxyz", "*.xyz.gz", "*.extxyz.gz"),
    read=f"{_HERE}:read",
    count=f"{_HERE}:count",
)

_MAX_ATOMS = 100_000
_MAX_DIGITS = 9
_MAX_FRAME_BYTES = 64 * 2**20
_MAX_COMMENT_CHARACTERS = 2**20
_MAX_WIDTHS = 1000
_WIDTH = re.compile(r"[0-9]{1,3}")
_MAX_REASON = 200


class _NoFrameError(ValueError):
    """A line that should begin a frame does not, so the frame before it may have lost atoms."""


def read(path: UPath, reading: Reading, start: int, stop: int) -> Iterator[Record | Failure]:
    """Read some frames, which are named by their numbers, counted from 0.

    Energies have the names that say that they are in eV, as ASE's convention is; other values keep
    theirs. What is known of each atom is left out, and named in the provenance.
    After a line that should begin a frame and does not, nothing more can be read, and the frame
    before it is refused, which has more rows than it says.
    """
    del reading
    frames = islice(_frames(path, range(start, stop)), start, stop)
    for number, frame in enumerate(frames, start):
        try:
            if isinstance(frame, ValueError):
                raise frame
            yield _record(str(number), frame)
        except ValueError as error:
            yield Failure(str(number), str(error))


def count(path: UPath) -> int:
    """Count the frames; a place where no frame begins counts as one."""
    return sum(1 for _ in _frames(path, range(0)))


def _frames(path: UPath, wanted: range) -> Iterator[str | ValueError]:
    """Yield each frame's text, which is empty for those not wanted, or why it cannot be read."""
    before: str | ValueError | None = None
    try:
        with unpacked(path) as file:
            for text in _frames_of(file, wanted):
                if before is not None:
                    yield before
                before = text
    except _NoFrameError as error:
        if before is not None:
            yield ValueError("wrong counts: more rows follow than it says that it has atoms")
        yield error
    except ValueError as error:
        if before is not None:
            yield before
        yield error
    else:
        yield ValueError("empty file: it has no frames") if before is None else before


def _frames_of(file: IO[bytes], wanted: range) -> Iterator[str | ValueError]:
    rows = lines(file)
    number = 0
    for head in rows:
        words = (head or b"?").removeprefix(b"\xef\xbb\xbf").split()
        if not words:
            continue
        if len(words) != 1 or not words[0].isdigit() or len(words[0]) > _MAX_DIGITS:
            raise _NoFrameError(
                f"no frame: no number of atoms is where frame {number} should begin"
            )
        body = islice(rows, int(words[0]) + 1)
        if number in wanted:
            yield _text(int(words[0]), body)
        else:
            deque(body, maxlen=0)
            yield ""
        number += 1


def _text(num_atoms: int, body: Iterator[bytes | None]) -> str | ValueError:
    """Take the comment and the atoms of a frame."""
    taken: list[bytes] = []
    num_bytes = 0
    for line in body:
        num_bytes += _MAX_FRAME_BYTES if line is None else len(line)
        if num_atoms <= _MAX_ATOMS and num_bytes < _MAX_FRAME_BYTES:
            taken.append(line or b"")
    if num_atoms > _MAX_ATOMS or num_bytes >= _MAX_FRAME_BYTES:
        return ValueError(f"too large: the frame has {num_atoms} atoms and {num_bytes} bytes")
    if len(taken) < num_atoms + 1:
        return ValueError(f"truncated: {max(0, len(taken) - 1)} of {num_atoms} atoms are there")
    return b"".join([b"%d\n" % num_atoms, *taken]).decode(errors="replace")


def _record(name: str, text: str) -> Record:
    from omnimat.formats.crystals import from_ase

    atoms = _parsed(text)
    structure = from_ase(atoms)
    results: Mapping[str, Any] = {} if atoms.calc is None else atoms.calc.results
    scalars = [(name, results[key]) for key, name in SCALARS.items() if key in results]
    properties, left_out = properties_of([*scalars, *atoms.info.items()])
    left_out += [key for key in results if key not in SCALARS]
    left_out += [key for key in atoms.arrays if key not in ("numbers", "positions")]
    return Record(name, {"structure": structure}, properties, note_of(left_out))


def _parsed(text: str) -> Any:
    """Parse one frame into ASE's ``Atoms``.

    Raises:
        ValueError: ASE cannot; whatever it raises, the frame counts as bad.
    """
    from ase.io.extxyz import read_xyz

    values = _values(text.split("\n", 2)[1])
    try:
        return next(read_xyz(StringIO(text), 0, properties_parser=lambda _: values))
    except KeyError as error:
        raise ValueError(f"unknown element: {error}"[:_MAX_REASON]) from error
    except Exception as error:
        raise ValueError(f"not extended XYZ: {error}"[:_MAX_REASON]) from error


def _values(comment: str) -> dict[str, Any]:
    """Parse the values of a frame, and check those by which ASE makes arrays."""
    from ase.io.extxyz import key_val_str_to_dict

    if len(comment) > _MAX_COMMENT_CHARACTERS:
        raise ValueError(f"too large: the values of the frame have {len(comment)} characters")
    try:
        values: dict[str, Any] = key_val_str_to_dict(comment)
    except Exception as error:
        raise ValueError(f"not extended XYZ: {error}"[:_MAX_REASON]) from error
    if "Lattice" not in values:
        raise ValueError("no cell: the frame has no Lattice")
    numbers_of(values["Lattice"], (3, 3), "Lattice")
    widths = str(values.get("Properties", "")).split(":")[2::3]
    if len(widths) > _MAX_WIDTHS or not all(map(_WIDTH.fullmatch, widths)):
        raise ValueError("not extended XYZ: its Properties are no names, types and widths")
    return values
