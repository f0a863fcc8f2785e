"""Charge densities, resampled to one coarse grid."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from omnimat.materials.record import Record
from omnimat.modalities.charge_density.resampling import resampled
from omnimat.modalities.layout import Arrays, FeaturizerSettings, Field


class ChargeDensityGrid(FeaturizerSettings):
    """Electron density on a cubic grid of fractional coordinates.

    A finer or coarser grid is resampled to ``num_points`` per axis by truncating or padding its
    Fourier series. This is exact for a density without higher terms and keeps the number of
    electrons.

    Attributes:
        num_points: number of grid points along each axis.
        scale: ``raw`` keeps the units of CHGCAR files (density times cell volume), as MultiMat
            does; ``per_volume`` converts to electrons/A^3; ``log`` is sign(x) log(1 + |x|) of that.
            ``log`` is the default because raw values grow with the cell and reach 3e4, close to the
            limit of half precision. At the cores they are orders of magnitude larger than in the
            bonding region, so that a few voxels would determine the statistics of batch
            normalization. Below 1 electron/A^3 the logarithm is nearly linear, so the bonding
            region keeps its shape.
    """

    modality: ClassVar[str] = "charge_density"
    index_columns: ClassVar[tuple[str, ...]] = ("has_charge_density",)

    type: Literal["charge_density_grid"] = "charge_density_grid"
    num_points: PositiveInt = 32
    scale: Literal["raw", "per_volume", "log"] = "log"

    @property
    def fields(self) -> tuple[Field, ...]:
        """Field of the grid, with axes along a, b and c."""
        return (Field("density", "float32", (self.num_points,) * 3),)

    def __call__(self, record: Record) -> Arrays | None:
        """Return the grid, or None where the record has no charge density.

        Raises:
            ValueError: the stored density is not a three-dimensional grid of finite values, or
                the volume of the cell is needed and the record has no structure.
        """
        stored: NDArray[np.floating[Any]] | None = record.parts.get("charge_density")
        if stored is None:
            return None
        # Half-precision grids are converted first, because their sums would overflow.
        density: NDArray[np.floating[Any]] = stored.astype(np.float32)
        if density.ndim != 3 or not np.isfinite(density).all():
            raise ValueError("the charge density is not a 3D grid of finite values")
        density = resampled(density, self.num_points)
        if self.scale != "raw":
            if record.structure is None:
                raise ValueError("the volume of the cell is not known: set featurizer.scale to raw")
            density = density / abs(np.linalg.det(record.structure.lattice_angstrom))
        if self.scale == "log":
            density = np.sign(density) * np.log1p(np.abs(density))
        return {"density": density.astype(np.float32)}
