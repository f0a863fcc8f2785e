"""Charge densities on one coarse grid."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from omnimat.materials.record import Modality, Record
from omnimat.modalities.layout import Arrays, FeaturizerSettings, Field


class ChargeDensityGrid(FeaturizerSettings):
    """Electron density on a cubic grid of fractional coordinates.

    A finer or coarser grid is brought to ``num_points`` per axis by cutting or padding its Fourier
    series, which is exact for a density without higher terms and keeps the number of electrons.

    Attributes:
        num_points: grid points along each axis.
        scale: ``raw`` leaves CHGCAR units (density times cell volume), as MultiMat does;
            ``per_volume`` gives electrons/A^3; ``log`` is sign(x) log(1 + |x|) of that. ``log`` is
            the default since raw values grow with the cell, reach 3e4 (beyond half precision is
            near), and at the cores stand orders of magnitude above the bonding region, so that a
            few voxels would set the statistics of batch normalization. Below 1 electron/A^3 the
            logarithm is nearly linear, so the bonding region keeps its shape.
    """

    modality: ClassVar[Modality] = "charge_density"
    index_columns: ClassVar[tuple[str, ...]] = ("has_charge_density",)

    type: Literal["charge_density_grid"] = "charge_density_grid"
    num_points: PositiveInt = 32
    scale: Literal["raw", "per_volume", "log"] = "log"

    @property
    def fields(self) -> tuple[Field, ...]:
        """The grid, axes along a, b, c."""
        return (Field("density", "float32", (self.num_points,) * 3),)

    def __call__(self, record: Record) -> Arrays | None:
        """Give the grid, or None where the record has no charge density.

        Raises:
            ValueError: the stored density is not a three-dimensional grid of finite values, or
                the volume of the cell is needed and the record has no structure.
        """
        stored: NDArray[np.floating[Any]] | None = record.parts.get("charge_density")
        if stored is None:
            return None
        # Half-precision grids are widened first: their sums overflow.
        density: NDArray[np.floating[Any]] = stored.astype(np.float32)
        if density.ndim != 3 or not np.isfinite(density).all():
            raise ValueError("the charge density is not a 3D grid of finite values")
        for axis, size in enumerate(density.shape):
            if size != self.num_points:
                from scipy.signal import resample  # 0.4 s of import, seldom needed

                density = resample(density, self.num_points, axis=axis)
        if self.scale != "raw":
            if record.structure is None:
                raise ValueError("the volume of the cell is not known: set featurizer.scale to raw")
            density = density / abs(np.linalg.det(record.structure.lattice_angstrom))
        if self.scale == "log":
            density = np.sign(density) * np.log1p(np.abs(density))
        return {"density": density.astype(np.float32)}
