"""Density-of-states curves, resampled to one length."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field as Option
from pydantic import model_validator

from omnimat.materials.record import Record
from omnimat.modalities.dos import DensityOfStates
from omnimat.modalities.layout import Arrays, FeaturizerSettings, Field, Vector

Float = NDArray[np.floating[Any]]

# Curves of the Materials Project have 301, 601 or 2001 points. MultiMat reduces the longest to 601
# points by taking every third one and then leaving out every tenth of those.
_LONG, _SHORT = 2001, 601


class DosCurve(FeaturizerSettings):
    """Density of states as a function of the energy relative to the Fermi level.

    On the ``native`` grid, that of MultiMat, each material keeps its own energy range, and curves
    of another length are resampled to ``num_points`` by linear interpolation over the index. On the
    ``common`` grid all materials share one window of evenly spaced energies, and the density is
    zero beyond the ends of a curve.

    Attributes:
        num_points: number of points of the curve.
        grid: kind of energy grid, see above.
        window_ev: first and last energy of the common grid.
        spin: ``up`` takes only that channel, as MultiMat does. ``total`` adds both channels, and
            there is no curve where only one is known.
        normalization: ``per_atom`` divides by the number of atoms, ``unit_area`` by the integral.
    """

    modality: ClassVar[str] = "dos"
    index_columns: ClassVar[tuple[str, ...]] = ("has_dos",)

    type: Literal["dos_curve"] = "dos_curve"
    num_points: int = Option(default=_SHORT, ge=2)
    grid: Literal["native", "common"] = "native"
    window_ev: tuple[float, float] = (-10.0, 10.0)
    spin: Literal["up", "total"] = "up"
    normalization: Literal["none", "per_atom", "unit_area"] = "none"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.window_ev[0] < self.window_ev[1]:
            raise ValueError("window_ev must increase")
        return self

    @property
    def fields(self) -> tuple[Field, ...]:
        """Fields of the energies and the densities."""
        shape = (self.num_points,)
        return (Field("energies_ev", "float32", shape), Field("dos_per_ev", "float32", shape))

    @property
    def vector(self) -> Vector | None:
        """The densities, if all materials have the same energies."""
        return Vector("dos_per_ev", self.num_points) if self.grid == "common" else None

    def __call__(self, record: Record) -> Arrays | None:
        """Return the curve, or None where the record lacks the density of states or its channel.

        Raises:
            ValueError: the curve has fewer than two points, no finite value, or no area to
                normalize by, or the number of atoms is needed and the record has no structure.
        """
        dos: DensityOfStates | None = record.parts.get("dos")
        channel = None if dos is None else self._channel(dos)
        if dos is None or channel is None:
            return None
        energies, density = _filled(dos.energies_ev), _filled(channel)
        if len(energies) != len(density):
            raise ValueError("energies and densities differ in length")
        if self.grid == "native":
            energies, density = self._thinned(energies), self._thinned(density)
        else:
            window = np.linspace(*self.window_ev, self.num_points)
            energies, density = window, np.interp(window, energies, density, left=0.0, right=0.0)
        density = density / self._norm(energies, density, record)
        return {
            "energies_ev": energies.astype(np.float32),
            "dos_per_ev": density.astype(np.float32),
        }

    def _channel(self, dos: DensityOfStates) -> Float | None:
        if self.spin == "up":
            return dos.spin_up_per_ev
        return None if dos.spin_down_per_ev is None else dos.spin_up_per_ev + dos.spin_down_per_ev

    def _thinned(self, values: Float) -> Float:
        if (len(values), self.num_points) == (_LONG, _SHORT):
            return np.delete(values[::3], np.s_[9::10])
        places = np.linspace(0, len(values) - 1, self.num_points)
        return np.interp(places, np.arange(len(values)), values)

    def _norm(self, energies: Float, density: Float, record: Record) -> float:
        if self.normalization == "none":
            return 1.0
        if self.normalization == "per_atom":
            if record.structure is None:
                raise ValueError("normalization per_atom needs the number of atoms of the cell")
            return float(len(record.structure.atomic_numbers))
        area = float(np.trapezoid(density, energies))
        if area <= 0:
            raise ValueError("the density of states has no area")
        return area


def _filled(values: Float) -> Float:
    """Replace values that are not finite by linear interpolation, constant beyond the ends."""
    finite = np.isfinite(values)
    if len(values) < 2 or not finite.any():
        raise ValueError("the density of states has no finite values")
    places = np.arange(len(values))
    filled: Float = np.interp(places, places[finite], values[finite])
    return filled
