"""Measured powder patterns in PANalytical's XML (``.xrdml``, versions 1 and 2)."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from upath import UPath

from omnimat.formats.format import Format, Reading
from omnimat.formats.powder import pattern_of
from omnimat.formats.unpacked import whole
from omnimat.materials.record import Failure, Record
from omnimat.modalities.xrd import MeasuredPattern

Float = NDArray[np.float64]

_MAX_BYTES = 16 * 2**20
# Which line the instrument means, by the attribute of the element ``usedWavelength``.
_LINES = {"k-alpha 1": "kAlpha1", "k-alpha 2": "kAlpha2", "k-beta": "kBeta"}

FORMAT = Format(label="XRDML", patterns=("*.xrdml",), read="omnimat.formats.xrdml:read")


def read(path: UPath, reading: Reading, start: int, stop: int) -> Iterator[Record | Failure]:
    """Read the pattern of a file; see ``omnimat.formats.format.Read``."""
    del reading
    if start <= 0 < stop:
        yield Record("", {"xrd": parsed(whole(path, _MAX_BYTES))})


def parsed(data: bytes) -> MeasuredPattern:
    """Read the only scan of two theta of a document.

    Counts are multiplied by the factors of a beam attenuator, and divided by the counting times
    where these differ from point to point.

    Raises:
        ValueError: the document is damaged, it has another number of scans, or the scan is not a
            pattern.
    """
    root = _tree(data)
    scans = [
        (points, positions)
        for points in root.iterfind(".//{*}scan/{*}dataPoints")
        if (positions := _moving(points)) is not None
    ]
    if len(scans) != 1:
        raise ValueError(
            f"the file does not hold exactly one scan of two theta: it holds {len(scans)}"
        )
    points, positions = scans[0]
    intensity = _intensity(points)
    return pattern_of(_angles(positions, len(intensity)), intensity, _wavelength(root))


class _Builder(ElementTree.TreeBuilder):
    """Builds a tree, but refuses documents that define entities, which may grow without end."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Refuse a document type definition."""
        del name, pubid, system
        raise ValueError("the XML defines a document type, which measured patterns do not have")


def _tree(data: bytes) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(data, parser=ElementTree.XMLParser(target=_Builder()))
    except (ElementTree.ParseError, LookupError) as error:
        raise ValueError(f"the XML is cut off or damaged: {error}") from error


def _moving(points: ElementTree.Element) -> ElementTree.Element | None:
    """Find the positions of two theta, if the scan moves along it."""
    for positions in points.iterfind("{*}positions"):
        moves = positions.find("{*}commonPosition") is None
        if moves and positions.get("axis", "").lower() == "2theta":
            return positions
    return None


def _angles(positions: ElementTree.Element, num_points: int) -> Float:
    if positions.find("{*}listPositions") is not None:
        return _same_length(_numbers(positions, "listPositions"), num_points)
    first, last = (_number(positions, name) for name in ("startPosition", "endPosition"))
    if first is None or last is None or not np.isfinite([first, last]).all():
        raise ValueError("the scan has no range of two theta")
    return np.linspace(first, last, num_points)


def _intensity(points: ElementTree.Element) -> Float:
    """Return intensities, which are already corrected, or counts, which are not."""
    if points.find("{*}intensities") is not None:
        return _per_second(_numbers(points, "intensities"), points)
    counts = _numbers(points, "counts")
    if points.find("{*}beamAttenuationFactors") is not None:
        counts = counts * _same_length(_numbers(points, "beamAttenuationFactors"), len(counts))
    return _per_second(counts, points)


def _per_second(counts: Float, points: ElementTree.Element) -> Float:
    """Divide by the counting times where they differ; else only the scale would change."""
    if points.find("{*}countingTimes") is None:
        return counts
    seconds = _same_length(_numbers(points, "countingTimes"), len(counts))
    if not (seconds > 0).all():
        raise ValueError("a counting time is not positive")
    return counts / seconds


def _wavelength(root: ElementTree.Element) -> float | None:
    """Return the wavelength that was meant; of K alpha, the mean weighted by the intensities."""
    used = root.find(".//{*}usedWavelength")
    if used is None:
        return None
    intended = used.get("intended", "K-Alpha").lower()
    if intended in _LINES:
        return _number(used, _LINES[intended])
    first, second = _number(used, "kAlpha1"), _number(used, "kAlpha2")
    ratio = _number(used, "ratioKAlpha2KAlpha1")
    if first is None or second is None or ratio is None:
        return first
    return (first + ratio * second) / (1 + ratio)


def _number(parent: ElementTree.Element, name: str) -> float | None:
    return None if parent.find(f"{{*}}{name}") is None else float(_numbers(parent, name)[0])


def _numbers(parent: ElementTree.Element, name: str) -> Float:
    """Read the numbers of a child, at least one."""
    text = parent.findtext(f"{{*}}{name}", "")
    try:
        numbers = np.array(text.split(), dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"the numbers of {name} cannot be read: {error}") from error
    if not numbers.size:
        raise ValueError(f"the scan has no {name}")
    return numbers


def _same_length(numbers: Float, num_points: int) -> Float:
    if len(numbers) != num_points:
        raise ValueError(
            "the lists of the scan differ in length: "
            f"{len(numbers)} numbers for {num_points} intensities"
        )
    return numbers
