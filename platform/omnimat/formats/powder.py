"""Measured powder patterns as text: two theta, the intensity and possibly its error in each row.

The columns are separated by blanks, tabs, semicolons or commas. Lines of words may stand before
them, as may comments and the ``##KEY=value`` lines of the RRUFF project, of which the wavelength is
taken. Decimal commas are read where nothing else can be meant; a file that could be read in two
ways is refused.

The files of Bruker (``.raw``, ``.brml``) are not read: no library for them was found that is both
maintained and under a permissive licence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from upath import UPath

from omnimat.formats.decoding import decoded
from omnimat.formats.format import Format, Reading
from omnimat.formats.unpacked import beginning, whole
from omnimat.materials.record import Failure, Record
from omnimat.modalities.xrd import MeasuredPattern

_MAX_BYTES = 16 * 2**20
# Files with these endings are patterns; what others hold is seen in their first bytes.
_OWN_ENDINGS = (".xy", ".xye")
_NUM_BYTES_SEEN = 65_536
_NUM_ROWS_MORE_THAN = 20
# Characters that begin a comment in the files of programs that write patterns.
_COMMENTS = ("#", "!", ";", "'", '"', "/", "@")
_INLINE_COMMENT = re.compile(r"[#!].*")
_WAVELENGTH = re.compile(r"##X-RAY WAVELENGTH\s*=(.*)", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(?:(?:\d+[.,]?\d*|[.,]\d+)(?:e[+-]?\d+)?|nan|inf)", re.IGNORECASE)
_SEPARATORS = " \t,;"
_BLANKS, _COMMA, _SEMICOLON = (re.compile(one) for one in (r"\s+", r"\s*,\s*", r"\s*;\s*"))

FORMAT = Format(
    label="powder pattern",
    patterns=("*.xy", "*.xye", "*.dat", "*.csv", "*.txt"),
    read="omnimat.formats.powder:read",
    recognises="omnimat.formats.powder:recognises",
)


def read(path: UPath, reading: Reading, start: int, stop: int) -> Iterator[Record | Failure]:
    """Read the pattern of a file; see ``omnimat.formats.format.Read``."""
    del reading
    if start <= 0 < stop:
        text, _ = decoded(whole(path, _MAX_BYTES))
        yield Record("", {"xrd": parsed(text)})


def recognises(path: UPath) -> bool:
    """Say whether a file is a pattern, by its ending or by what its first 64 KB hold."""
    if path.suffix.lower() in _OWN_ENDINGS:
        return True
    data = beginning(path, _NUM_BYTES_SEEN)
    if len(data) == _NUM_BYTES_SEEN:  # the last line is cut off
        data = data[: data.rfind(b"\n") + 1]
    try:
        return len(parsed(decoded(data)[0]).two_theta_degree) > _NUM_ROWS_MORE_THAN
    except ValueError:
        return False


def parsed(text: str) -> MeasuredPattern:
    """Read a pattern from the text of a file.

    Raises:
        ValueError: the text has no such columns, they can be read in more than one way, or they are
            not a pattern.
    """
    lines = [line.strip() for line in text.splitlines()]
    found = (match[1] for line in lines if (match := _WAVELENGTH.match(line)))
    wavelength = next((_wavelength(value) for value in found if value.strip()), None)
    rows = list(_rows(lines))
    if not rows:
        raise ValueError("a pattern needs at least two points of two theta and intensity")
    layout = _layout_of(rows)
    table = [layout.numbers(row) for row in rows]
    if any(len(numbers) != len(table[0]) for numbers in table):
        raise ValueError("the rows differ in their number of columns")
    layout.check(rows, len(table[0]))
    columns = np.array(table, dtype=np.float64).T
    return pattern_of(columns[0], columns[1], wavelength)


def pattern_of(
    two_theta_degree: NDArray[np.float64],
    intensity: NDArray[np.float64],
    wavelength_angstrom: float | None,
) -> MeasuredPattern:
    """Check a pattern and bring it to the precision in which it is stored.

    Raises:
        ValueError: it has less than two points, the angles do not increase from 0 to 180 degrees at
            most, a number is not finite, no intensity is above zero, or the wavelength is not a
            positive number.
    """
    with np.errstate(over="ignore"):  # what becomes infinite is refused below
        angles, counts = two_theta_degree.astype(np.float32), intensity.astype(np.float32)
    if len(angles) < 2:
        raise ValueError("a pattern needs at least two points of two theta and intensity")
    if not (np.isfinite(angles).all() and (np.diff(angles) > 0).all()):
        raise ValueError("two theta must increase from point to point")
    if angles[0] < 0 or angles[-1] > 180:
        raise ValueError("two theta lies outside 0 to 180 degrees")
    if not np.isfinite(counts).all():
        raise ValueError("an intensity is not finite")
    if not counts.max() > 0:
        raise ValueError("no intensity is above zero")
    if wavelength_angstrom is not None and not 0 < wavelength_angstrom < np.inf:
        raise ValueError("the wavelength is not a positive number")
    return MeasuredPattern(angles, counts, wavelength_angstrom)


def _wavelength(value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise ValueError(f"the wavelength is not a positive number: {value.strip()!r}") from error


def _rows(lines: Sequence[str]) -> Iterator[str]:
    """Give the lines of numbers, without comments and without the words before them."""
    has_begun = False
    for line in lines:
        text = "" if line.startswith(_COMMENTS) else _INLINE_COMMENT.sub("", line).strip()
        has_begun = has_begun or _is_row(text)
        if text and (has_begun or not _is_heading(text)):
            yield text


def _is_row(text: str) -> bool:
    fields = re.split(r"[\s,;]+", text)
    return len(fields) > 1 and all(_NUMBER.fullmatch(field) for field in fields if field)


def _is_heading(text: str) -> bool:
    """Say whether a line may stand before the columns: words, a ruler, or a number of points.

    A line with a digit in each of its fields is none: it may be a damaged row.
    """
    fields = re.split(r"[\s,;]+", text)
    if len(fields) > 1 and all(re.search(r"\d", field) for field in fields):
        return False
    has_words = any(character.isalpha() for character in text)
    return has_words or text.isdecimal() or not any(character.isdigit() for character in text)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a row is to be read."""

    separator: re.Pattern[str]
    has_decimal_commas: bool = False

    def numbers(self, row: str) -> list[float]:
        fields = self.fields(row)
        if fields is None:
            raise ValueError(f"a row is not two or three numbers: {row[:60]!r}")
        return [float(field.replace(",", ".")) for field in fields]

    def fields(self, row: str) -> list[str] | None:
        """Split a row; None if it is not two or three numbers."""
        fields = self.separator.split(row.strip(_SEPARATORS))
        is_row = len(fields) in {2, 3} and all(self._is_number(field) for field in fields)
        return fields if is_row else None

    def _is_number(self, field: str) -> bool:
        comma_may_be = self.has_decimal_commas or "," not in field
        return comma_may_be and _NUMBER.fullmatch(field) is not None

    def check(self, rows: Sequence[str], num_columns: int) -> None:
        """Refuse rows that may mean something else."""
        has_points = any("." in row for row in rows)
        if self.has_decimal_commas:
            # Commas within the intensities alone might separate thousands; angles have none.
            angles = (self.separator.split(row, maxsplit=1)[0] for row in rows)
            is_clear = not has_points and any("," in angle for angle in angles)
        else:
            is_clear = self.separator is not _COMMA or num_columns == 2 or has_points
        if not is_clear:
            raise ValueError(
                "the commas may be decimal commas or something else: write decimal points"
            )


def _layout_of(rows: Sequence[str]) -> _Layout:
    """See in one row what separates the columns and what a comma is."""
    stripped = [row.strip(_SEPARATORS) for row in rows]
    row = next((one for one in stripped if "," in one), stripped[0])
    if ";" in row:
        return _Layout(_SEMICOLON, "," in row)
    if "," not in row:
        return _Layout(_BLANKS)
    for layout in (_Layout(_COMMA), _Layout(_BLANKS, has_decimal_commas=True)):
        if layout.fields(row) is not None:
            return layout
    raise ValueError(
        "the columns cannot be told from decimal commas: write decimal points, or separate the "
        "columns by semicolons"
    )
