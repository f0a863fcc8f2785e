"""The elastic response of a crystal as numbers of standard size."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field as Bounded
from pydantic import PositiveInt, model_validator

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.materials.record import Record, Structure
from omnimat.modalities.elastic_response import chgnet, elasticity
from omnimat.modalities.layout import Arrays, FeaturizerSettings, Field, TrainingRecords, Vector


class Number(NamedTuple):
    """One number of an elastic response, and how it is scaled.

    Attributes:
        name: its name, which ends with its unit.
        typical: its mean over crystals of the Materials Project whose moduli are known, about; that
            of the logarithm, where one is taken.
        spread: its standard deviation over them, about.
        is_log: whether sign(x) log10(1 + |x|) is taken, as of numbers that span magnitudes.
    """

    name: str
    typical: float
    spread: float
    is_log: bool = True

    def standard(self, value: float) -> float:
        """Scale a value to mean 0 and standard deviation 1, about."""
        scaled = np.sign(value) * np.log10(1 + abs(value)) if self.is_log else value
        return float((scaled - self.typical) / self.spread)


NUMBERS = (
    Number("energy_ev_per_atom", -6.0, 2.0, is_log=False),
    Number("volume_angstrom3_per_atom", 1.27, 0.14),
    Number("pressure_gpa", 0.35, 0.4),
    Number("bulk_modulus_voigt_gpa", 2.0, 0.3),
    Number("shear_modulus_voigt_gpa", 1.4, 0.35),
    Number("bulk_modulus_reuss_gpa", 2.0, 0.3),
    Number("shear_modulus_reuss_gpa", 1.3, 0.35),
    Number("stiffness_1_gpa", 1.3, 0.7),
    Number("stiffness_2_gpa", 1.35, 0.65),
    Number("stiffness_3_gpa", 1.65, 0.45),
    Number("stiffness_4_gpa", 1.8, 0.35),
    Number("stiffness_5_gpa", 1.85, 0.35),
    Number("stiffness_6_gpa", 2.45, 0.3),
    Number("force_response_ev_per_angstrom", 0.55, 0.4),
)


class ChgnetStrain(FeaturizerSettings):
    """What CHGNet says of a crystal as it is, and under small strains of both signs.

    The atoms go along with the cell, which makes a crystal stiffer than if they could relax. The
    numbers are energy, volume and pressure at rest; bulk and shear modulus as averaged by Voigt and
    by Reuss; the six eigenvalues of the stiffness in Kelvin's notation, from the lowest; and the
    force per unit strain, root mean square over strains and atoms. They are scaled to a mean near 0
    and a standard deviation near 1. Where CHGNet finds that a crystal gives way under a strain, the
    averages by Reuss are not known, which the mask says.

    No number depends on the cell that is chosen or on the order of the atoms, and energy, pressure
    and Voigt's bulk modulus do not depend on rotation. CHGNet is not quite linear under strains
    large enough to smooth its roughness, so the others vary with the axes by some hundredths of
    their spread; with ``strain: 0.001`` they hardly do, but tell less of moduli.

    CHGNet was trained on the Materials Project (MPtrj): energies, forces, stresses and magnetic
    moments along relaxations, but no moduli. So it has seen most materials by which others may be
    judged here.

    Attributes:
        force_field: the force field and what it was trained on.
        strain: size of a strain, as the root of the sum of its squared components.
        max_atoms: largest number of atoms; a larger crystal is refused.
        chgnet_version: version of the wheel, which is filled in when a job starts.
        weights_sha256: hash of its weights, which is filled in when a job starts, so that numbers
            of other weights are never mistaken for these.
    """

    modality: ClassVar[str] = "elastic_response"
    index_columns: ClassVar[tuple[str, ...]] = ("has_structure",)
    fields: ClassVar[tuple[Field, ...]] = (
        Field("values", "float32", (len(NUMBERS),)),
        Field("is_known", "float32", (len(NUMBERS),)),
    )

    type: Literal["chgnet_strain"] = "chgnet_strain"
    force_field: Literal["CHGNet 0.3.0 (MPtrj)"] = "CHGNet 0.3.0 (MPtrj)"
    strain: Annotated[float, Bounded(ge=0.001, le=0.05)] = 0.02
    max_atoms: PositiveInt = 200
    chgnet_version: str | None = None
    weights_sha256: str | None = None

    @model_validator(mode="after")
    def _extra_is_there(self) -> Self:
        if self.weights_sha256 is not None:  # of a job that has begun
            chgnet.require_forcefield_extra()
        return self

    @property
    def vector(self) -> Vector:
        """The numbers, each with its own entry of the mask."""
        size = len(NUMBERS)
        return Vector("values", size, "is_known", (1,) * size, is_standard=True)

    @property
    def outside(self) -> str:
        """The force field."""
        return self.force_field

    def located(self, workspace: Workspace, training: TrainingRecords) -> Self:
        """Return the same settings with version and hash of the weights filled in.

        Raises:
            UserError: CHGNet is not installed, or not with what is already filled in.
        """
        del workspace, training
        found = {
            "weights_sha256": chgnet.weights_sha256(),
            "chgnet_version": chgnet.chgnet_version(),
        }
        for name, value in found.items():
            if getattr(self, name) not in {None, value}:
                raise UserError(
                    f"modalities.elastic_response.featurizer.{name}: it is {getattr(self, name)}, "
                    f"but {value} here; install that version of chgnet, or remove the key"
                )
        return self.model_copy(update=found)

    def __call__(self, record: Record) -> Arrays | None:
        """Return the numbers, or None where the record has no structure.

        Raises:
            ValueError: the crystal is too large, or CHGNet cannot compute it.
        """
        if record.structure is None:
            return None
        known = self.numbers(record.structure)
        values = [one.standard(known[one.name]) if one.name in known else 0.0 for one in NUMBERS]
        return {
            "values": np.array(values, dtype=np.float32),
            "is_known": np.array([one.name in known for one in NUMBERS], dtype=np.float32),
        }

    def numbers(self, structure: Structure) -> dict[str, float]:
        """Return the numbers of a structure by name, in their units, without those not known.

        Raises:
            ValueError: for the same reasons as for a record.
        """
        num_atoms = len(structure.atomic_numbers)
        if num_atoms > self.max_atoms:
            raise ValueError(f"too large: {num_atoms} atoms, max_atoms is {self.max_atoms}")
        strains = np.concatenate([np.zeros((1, 3, 3)), elasticity.strains(self.strain)])
        found = chgnet.answers(structure, strains, self.weights_sha256)
        volume = abs(float(np.linalg.det(structure.lattice_angstrom)))
        return {
            "energy_ev_per_atom": float(found.energies_ev_per_atom[0]),
            "volume_angstrom3_per_atom": volume / num_atoms,
            "pressure_gpa": -float(np.trace(found.stresses_gpa[0])) / 3,
            **_moduli(elasticity.stiffness(found.stresses_gpa[1:], self.strain)),
            "force_response_ev_per_angstrom": _root_mean_square(
                elasticity.derivatives(found.forces_ev_per_angstrom[1:], self.strain)
            ),
        }


def _moduli(stiffness_gpa: NDArray[np.float64]) -> dict[str, float]:
    """Return the averages that are known, and the eigenvalues."""
    found = {"voigt": elasticity.voigt(stiffness_gpa), "reuss": elasticity.reuss(stiffness_gpa)}
    numbers: dict[str, float] = {}
    for name, moduli in found.items():
        if moduli is not None:
            numbers[f"bulk_modulus_{name}_gpa"] = moduli.bulk
            numbers[f"shear_modulus_{name}_gpa"] = moduli.shear
    for place, eigenvalue in enumerate(np.linalg.eigvalsh(stiffness_gpa), 1):
        numbers[f"stiffness_{place}_gpa"] = float(eigenvalue)
    return numbers


def _root_mean_square(forces: NDArray[np.float64]) -> float:
    """Return the length of a force, root mean square over strains and atoms (6, n, 3)."""
    return float(np.sqrt((forces**2).sum(axis=2).mean()))
