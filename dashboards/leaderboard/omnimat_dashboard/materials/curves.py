"""What is measured or computed of a material over an axis, as lines to draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnimat.materials.record import Record
from omnimat.modalities.dos import DensityOfStates
from omnimat.modalities.xrd import MeasuredPattern
from omnimat.modalities.xrd.features import XrdPattern
from omnimat_dashboard.artifacts import attempt
from omnimat_dashboard.figures import Figure, curves, rounded

MAX_POINTS = 1_500  # of a line; a screen shows no more
_MAX_TERMS = 3 * 10**6  # of a computed pattern: a tenth of a second
_COMPUTED = XrdPattern(max_terms=_MAX_TERMS)


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve, or why there is none.

    Attributes:
        title: what it is.
        told: where it comes from, in a sentence; or why it is missing.
        figure: the curve; None if it is missing.
    """

    title: str
    told: str
    figure: Figure | None


def curves_of(record: Record) -> list[Curve]:
    """Give the pattern of a material, and its density of states if the record has one."""
    return [_pattern(record), *_densities(record)]


def _pattern(record: Record) -> Curve:
    title, given = "Diffraction pattern", record.parts.get("xrd")
    if isinstance(given, MeasuredPattern):
        known = given.wavelength_angstrom
        at = f"at a wavelength of {known:.4f} Å" if known else "at a wavelength that is not known"
        return Curve(title, f"As it is stored, {at}.", _of_pattern(given))
    if record.structure is None:
        return Curve(title, "Neither a pattern nor a crystal is stored of this material.", None)
    found = attempt(lambda: _COMPUTED(record))
    if found.value is None:
        return Curve(title, f"It is not computed here: {found.reason}.", None)
    line = _line("", _COMPUTED.two_theta_degree, np.asarray(found.value["intensity"], float))
    figure = curves("two theta (°)", "intensity", [line])
    return Curve(
        title, "Computed from the crystal for copper K-alpha radiation, not measured.", figure
    )


def _of_pattern(pattern: MeasuredPattern) -> Figure:
    line = _line("", pattern.two_theta_degree, pattern.intensity)
    return curves("two theta (°)", "intensity", [line])


def _densities(record: Record) -> list[Curve]:
    dos = record.parts.get("dos")
    if not isinstance(dos, DensityOfStates):
        return []
    has_spins = dos.spin_down_per_ev is not None
    lines = [_line("spin up" if has_spins else "", dos.energies_ev, dos.spin_up_per_ev)]
    if dos.spin_down_per_ev is not None:
        lines.append(_line("spin down, downwards", dos.energies_ev, -dos.spin_down_per_ev))
    figure = curves("energy from the Fermi level (eV)", "states per eV", lines)
    return [Curve("Density of states", _origin(record), figure)]


def _origin(record: Record) -> str:
    said = record.provenance.get("dos")
    return f"As it is stored; {said}." if said else "As it is stored."


def _line(
    name: str, x: NDArray[np.floating[Any]], y: NDArray[np.floating[Any]]
) -> dict[str, object]:
    """Shorten a line to what a screen shows, and keep the highest point of each part."""
    if len(x) > MAX_POINTS:
        parts = np.array_split(np.arange(len(x)), MAX_POINTS)
        places = np.array([part[np.abs(y[part]).argmax()] for part in parts])
        x, y = x[places], y[places]
    return {"name": name, "x": rounded(np.asarray(x)), "y": rounded(np.asarray(y))}
