"""The keys of a job file that say which column of a table holds what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from omnimat.base.settings import Settings
from omnimat.materials.split import Split
from omnimat.sources.tables.values import Kind

Column = Annotated[str, Field(min_length=1)]
Columns = Column | tuple[Column, Column, Column]


class ColumnGroup(Settings):
    """Keys that name columns.

    Attributes:
        of_no_column: keys whose texts name no column.
    """

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)
    of_no_column: ClassVar[frozenset[str]] = frozenset()

    def columns(self) -> Iterator[tuple[str, str]]:
        """Yield each key of this group, with dots, and the column that it names."""
        for name, field in type(self).model_fields.items():
            value, key = getattr(self, name), field.alias or name
            if isinstance(value, ColumnGroup):
                yield from ((f"{key}.{inner}", column) for inner, column in value.columns())
            elif name not in self.of_no_column:
                yield from ((key, column) for column in as_tuple(value))


def as_tuple(value: Any) -> tuple[str, ...]:
    """Return the columns that a key names: none, one or several."""
    if isinstance(value, str):
        return (value,)
    return value if isinstance(value, tuple) else ()


class Cell(ColumnGroup):
    """A structure as arrays.

    Attributes:
        lattice_angstrom: column of a 3 x 3 matrix, flat or nested, with rows a, b and c.
        parameters: column of six numbers: a, b, c in angstrom, alpha, beta, gamma in degrees.
        lengths_angstrom: one column of a, b, c, or three columns.
        angles_degree: one column of alpha, beta, gamma, or three columns.
        atomic_numbers: column of the atomic number of each of the n atoms.
        symbols: column of the element symbol of each of the n atoms.
        frac_coords: fractional coordinates: one column of 3 n numbers, flat (atom by atom) or
            nested, or three columns of n numbers each.
        frac_scale: number by which the coordinates are divided, or the key of a Parquet file's
            metadata under which it stands; 1 where the file has no such key.
    """

    of_no_column: ClassVar[frozenset[str]] = frozenset({"frac_scale"})

    lattice_angstrom: Column | None = None
    parameters: Column | None = None
    lengths_angstrom: Columns | None = None
    angles_degree: Columns | None = None
    atomic_numbers: Column | None = None
    symbols: Column | None = None
    frac_coords: Columns
    frac_scale: float | str = 1.0

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        by_parts = self.lengths_angstrom is not None and self.angles_degree is not None
        ways = (self.lattice_angstrom is not None, self.parameters is not None, by_parts)
        if sum(ways) != 1 or (self.lengths_angstrom is None) != (self.angles_degree is None):
            raise ValueError(
                "give the cell in one way: lattice_angstrom, parameters, or lengths_angstrom with "
                "angles_degree"
            )
        if (self.atomic_numbers is None) == (self.symbols is None):
            raise ValueError("give atomic_numbers or symbols, and not both")
        if isinstance(self.frac_scale, float) and not self.frac_scale > 0:
            raise ValueError("frac_scale must be above zero")
        return self


class StructureColumns(ColumnGroup):
    """Where the structure stands; exactly one of these keys is given.

    Attributes:
        cif: column of CIF texts.
        pymatgen: column of pymatgen's dictionaries of a structure, or of such dictionaries as JSON.
        poscar: column of texts in VASP's format POSCAR, with the symbols of the elements.
        cell: columns of arrays.
    """

    cif: Column | None = None
    pymatgen: Column | None = None
    poscar: Column | None = None
    cell: Cell | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if sum(getattr(self, key) is not None for key in type(self).model_fields) != 1:
            raise ValueError("give one of cif, pymatgen, poscar and cell")
        return self


class DosColumns(ColumnGroup):
    """Where the density of states stands, as lists of n numbers.

    Attributes:
        energies_ev: column of energies relative to the Fermi level, increasing.
        spin_up_per_ev: column of the density of the channel of spin up.
        spin_down_per_ev: column of the density of the channel of spin down.
    """

    energies_ev: Column
    spin_up_per_ev: Column
    spin_down_per_ev: Column | None = None


class XrdColumns(ColumnGroup):
    """Where the diffraction pattern stands.

    Attributes:
        two_theta_degree: column of lists of scattering angles, increasing.
        start_degree: column of the first angle, instead of ``two_theta_degree``.
        step_degree: column of the distance of two angles, with ``start_degree``.
        intensity: column of lists of intensities.
        wavelength_angstrom: column of the wavelength, or a number for all rows. Where it is not
            known, the featurizer's own is assumed.
    """

    two_theta_degree: Column | None = None
    start_degree: Column | None = None
    step_degree: Column | None = None
    intensity: Column
    wavelength_angstrom: float | Column | None = None

    @model_validator(mode="after")
    def _has_angles(self) -> Self:
        has_start, has_step = self.start_degree is not None, self.step_degree is not None
        if has_start != has_step or has_start == (self.two_theta_degree is not None):
            raise ValueError("give two_theta_degree, or start_degree and step_degree")
        return self


class ArrayColumn(ColumnGroup):
    """Where an array stands.

    Attributes:
        column: column of lists of numbers, or of the bytes of an array in C order; ``from`` in a
            job file.
        dtype: type of the numbers.
        shape: shape of the array; None keeps that of the lists.
    """

    of_no_column: ClassVar[frozenset[str]] = frozenset({"dtype", "shape"})

    column: Column = Field(alias="from")
    dtype: Literal["float16", "float32", "float64"] = "float32"
    shape: tuple[int, ...] | None = None


class PropertyColumn(ColumnGroup):
    """Where a property stands.

    Attributes:
        column: column of numbers, texts or lists of them; ``from`` in a job file.
        type: what the property is. None takes it from the table. A CSV file does not say it, and a
            JSON file may mix them, so the first rows of the first file decide there.
    """

    of_no_column: ClassVar[frozenset[str]] = frozenset({"type"})

    column: Column = Field(alias="from")
    type: Kind | None = None


class SplitColumn(ColumnGroup):
    """Where the published split stands; one of ``column`` and ``stems`` is given.

    Attributes:
        column: column that names the split.
        values: the split for each value of the column.
        stems: the split for each file's name without its ending. Of a folder or pattern, only these
            files are read, in this order. A single file is split by a hash all the same.
    """

    column: Column | None = None
    values: Mapping[str, Split] = {"train": "train", "validation": "validation", "test": "test"}
    stems: Mapping[str, Split] | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.column is None) == (self.stems is None):
            raise ValueError("give column or stems, and not both")
        return self


def _from_name(value: Any) -> Any:
    return {"from": value} if isinstance(value, str) else value


Array = Annotated[
    ArrayColumn, BeforeValidator(_from_name, json_schema_input_type=Column | ArrayColumn)
]
Property = Annotated[
    PropertyColumn, BeforeValidator(_from_name, json_schema_input_type=Column | PropertyColumn)
]
