"""Makes records of the JSON objects in which programs and databases write one crystal each.

No class is made by the name that a document gives, not even by pymatgen, whose sites decode their
properties so. Only the keys that are needed are taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from omnimat.formats.ase_db import RESULTS, SCALARS, record_of
from omnimat.formats.format import Reading
from omnimat.formats.named_values import note_of, properties_of
from omnimat.formats.sites import check_atoms, check_cell, check_periodic, numbers_of
from omnimat.materials.record import Record

Json = Mapping[str, Any]

NAMES = ("material_id", "mat_id", "entry_id", "jid", "id", "_id")
"""Keys under which an entry may have its name, in the order in which they are tried."""

# Computed entries of pymatgen, whose energies are those of the whole cell in eV.
_COMPUTED = ("ComputedEntry", "ComputedStructureEntry")
_OF_COMPUTED = {"energy": "energy_ev", "correction": "correction_ev"}
_PERIODIC = (True, True, True)
_OF_MONTY = ("@module", "@class", "@version")
# What rounding may add to a full site.
_MOST_AT_A_SITE = 1.01
# Keys of OPTIMADE that describe the structure, or say when it was stored.
_OF_OPTIMADE = re.compile(
    r"n?elements|elements_ratios|chemical_formula_\w+|n?(dimension_types|periodic_dimensions)|"
    r"lattice_vectors|(cartesian|fractional)_site_positions|nsites|species|species_at_sites|"
    r"assemblies|structure_features|space_group_symmetry_operations_xyz|"
    r"site_coordinate_span\w*|immutable_id|last_modified|id|type"
)


@dataclass(frozen=True, slots=True)
class _Crystal:
    """Sites as a document gives them.

    Attributes:
        lattice: cell in angstrom with rows a, b and c, shape (3, 3).
        species: amount of each element at each site.
        coordinates: coordinates of n sites, shape (n, 3).
        is_cartesian: whether they are in angstrom rather than fractions of the cell.
        left_out: names of what the document says of the sites besides.
    """

    lattice: Any
    species: list[dict[str, float]]
    coordinates: Any
    is_cartesian: bool
    left_out: list[str] = field(default_factory=list)


def holds_crystal(entry: Any) -> bool:
    """Say whether a JSON value is an object that looks like one crystal."""
    return isinstance(entry, dict) and _kind(entry) is not None


def name_of(entry: Any) -> str:
    """Return the name that an entry gives itself, or an empty string."""
    found = (entry.get(key) for key in NAMES) if isinstance(entry, dict) else ()
    return next((str(name) for name in found if isinstance(name, str | int) and name != ""), "")


def record(name: str, entry: Any, reading: Reading) -> Record:
    """Make a record of an entry.

    Raises:
        ValueError: it holds no crystal, or one that cannot be read.
    """
    kind = _kind(entry) if isinstance(entry, dict) else None
    if kind is None:
        raise ValueError("no structure: the entry holds none in a form that is known")
    return kind(name, entry, reading)


def _kind(entry: Json) -> Callable[[str, Json, Reading], Record] | None:
    if _is_structure(entry):
        return _of_structure
    if isinstance(entry.get("atoms"), dict) and "lattice_mat" in entry["atoms"]:
        return _of_jarvis
    if isinstance(entry.get("attributes"), dict) and "lattice_vectors" in entry["attributes"]:
        return _of_optimade
    if {"numbers", "positions", "unique_id"} <= entry.keys():
        return _of_ase
    return None if _structure_key(entry) is None else _of_named_structure


def _is_structure(value: Any) -> bool:
    return isinstance(value, dict) and "sites" in value and isinstance(value.get("lattice"), dict)


def _structure_key(entry: Json) -> str | None:
    """Return the key of the entry's structure; None if it has none.

    An object of nothing but structures is no entry: its keys are the names of several.
    """
    found = [key for key, value in entry.items() if _is_structure(value)]
    if "structure" in found:
        return "structure"
    return found[0] if len(found) == 1 and len(entry) > 1 else None


def _of_structure(name: str, entry: Json, reading: Reading) -> Record:
    """Read pymatgen's ``Structure.as_dict()``."""
    return _made(name, _pymatgen(entry), (), reading)


def _of_named_structure(name: str, entry: Json, reading: Reading) -> Record:
    """Read a computed entry of pymatgen, or any object with a structure among its values."""
    key = str(_structure_key(entry))
    values = {k: v for k, v in entry.items() if k not in (key, *NAMES, *_OF_MONTY)}
    if entry.get("@class") in _COMPUTED:
        return _made(name, _pymatgen(entry[key]), _computed(values), reading)
    return _made(name, _pymatgen(entry[key]), values.items(), reading)


def _computed(values: Json) -> Iterator[tuple[str, Any]]:
    """Give the values of a computed entry and of the data that it holds."""
    for key, value in values.items():
        if key == "data" and isinstance(value, dict):
            yield from value.items()
        elif key != "composition" and value not in ({}, []):
            yield _OF_COMPUTED.get(key, key), value


def _pymatgen(document: Json) -> _Crystal:
    lattice, sites = document["lattice"], document["sites"]
    check_periodic(lattice.get("pbc", _PERIODIC))
    if not isinstance(sites, list) or not all(isinstance(site, dict) for site in sites):
        raise ValueError("no structure: its sites are no list of objects")
    return _Crystal(
        lattice=lattice.get("matrix"),
        species=[_amounts(site.get("species"), "element", "occu") for site in sites],
        coordinates=[site.get("abc") for site in sites],
        is_cartesian=False,
        left_out=sorted({key for site in sites for key in site.get("properties") or ()}),
    )


def _amounts(species: Any, symbol: str, amount: str) -> dict[str, float]:
    """Read how much of each element is at a site from a list of objects."""
    found: dict[str, float] = {}
    try:
        for one in species:
            found[str(one[symbol])] = found.get(str(one[symbol]), 0.0) + float(one[amount])
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"no structure: a site does not say its {symbol} and {amount}") from error
    return found


def _of_jarvis(name: str, entry: Json, reading: Reading) -> Record:
    """Read an entry of JARVIS, where ``na`` stands for what is not known."""
    atoms = entry["atoms"]
    elements = atoms.get("elements")
    if not isinstance(elements, list):
        raise ValueError("no structure: its atoms have no list of elements")
    crystal = _Crystal(
        lattice=atoms["lattice_mat"],
        species=[{str(element).strip(): 1.0} for element in elements],
        coordinates=atoms.get("coords"),
        is_cartesian=bool(atoms.get("cartesian")),
        left_out=["props"] if any(atoms.get("props") or ()) else [],
    )
    described = ("atoms", *NAMES)
    values = [pair for pair in entry.items() if pair[0] not in described and pair[1] != "na"]
    return _made(name, crystal, values, reading)


def _of_optimade(name: str, entry: Json, reading: Reading) -> Record:
    """Read a structure of OPTIMADE (https://specification.optimade.org, section 6.2)."""
    attributes = entry["attributes"]
    if unread := set(attributes.get("structure_features") or ()) - {"disorder"}:
        raise ValueError(f"unsupported feature: the structure has {sorted(unread)}")
    check_periodic(attributes.get("dimension_types", _PERIODIC))
    try:
        kinds = {one["name"]: _mixture(one) for one in attributes["species"]}
        species = [kinds[site] for site in attributes["species_at_sites"]]
    except (TypeError, KeyError) as error:
        raise ValueError("no structure: a site does not say its species") from error
    crystal = _Crystal(
        lattice=attributes["lattice_vectors"],
        species=species,
        coordinates=attributes.get("cartesian_site_positions"),
        is_cartesian=True,
    )
    values = [pair for pair in attributes.items() if not _OF_OPTIMADE.fullmatch(pair[0])]
    return _made(name, crystal, values, reading)


def _mixture(species: Json) -> dict[str, float]:
    """Return how much of each element a species of OPTIMADE has; the rest is vacant."""
    symbols, amounts = species["chemical_symbols"], species["concentration"]
    if len(symbols) != len(amounts):
        raise ValueError("wrong counts: a species has not one concentration for each element")
    pairs = [{"element": one, "occu": much} for one, much in zip(symbols, amounts, strict=True)]
    found = _amounts(pairs, "element", "occu")
    found.pop("vacancy", None)
    return found


def _of_ase(name: str, entry: Json, reading: Reading) -> Record:
    """Read a row of ASE's JSON database."""
    del reading
    atoms = {
        "numbers": numbers_of(_listed(entry["numbers"]), (-1,), "numbers"),
        "positions": numbers_of(_listed(entry["positions"]), (-1, 3), "positions"),
        "cell": numbers_of(_listed(entry.get("cell", np.zeros((3, 3)))), (3, 3), "cell"),
        "pbc": numbers_of(_listed(entry.get("pbc", [0, 0, 0])), (3,), "pbc").astype(bool),
    }
    scalars = [(new, entry.get(key)) for key, new in SCALARS.items()]
    pairs = entry.get("key_value_pairs") or {}
    left_out = [key for key in (*RESULTS, "data") if entry.get(key)]
    return record_of(name, atoms, [*scalars, *pairs.items()], left_out)


def _listed(value: Any) -> Any:
    """Undo how ASE writes arrays and cells in JSON."""
    if isinstance(value, dict) and "array" in value:
        value = value["array"]
    if isinstance(value, dict) and "__ndarray__" in value:
        try:
            shape, _, flat = value["__ndarray__"]
            return np.array(flat, dtype=np.float64).reshape(shape)
        except (TypeError, ValueError) as error:
            raise ValueError("wrong counts: an array does not fill its shape") from error
    return value


def _made(
    name: str, crystal: _Crystal, values: Iterable[tuple[str, Any]], reading: Reading
) -> Record:
    """Check a crystal, and make a record of it and of the other values."""
    from pymatgen.core import Lattice
    from pymatgen.core import Structure as PymatgenStructure

    from omnimat.formats.crystals import to_structure

    lattice = numbers_of(crystal.lattice, (3, 3), "lattice")
    check_cell(lattice)
    _check_species(crystal)
    structure, notes = to_structure(
        PymatgenStructure(
            Lattice(lattice),
            crystal.species,
            np.array(crystal.coordinates),
            coords_are_cartesian=crystal.is_cartesian,
        ),
        reading,
    )
    properties, others = properties_of(values)
    notes = notes | note_of([*crystal.left_out, *others])
    return Record(name, {"structure": structure}, properties, notes)


def _check_species(crystal: _Crystal) -> None:
    from pymatgen.core import Element

    if not crystal.species:
        raise ValueError("no atoms: the cell is empty")
    symbols = {symbol for site in crystal.species for symbol in site}
    if unknown := sorted(one for one in symbols if not Element.is_valid_symbol(one)):
        raise ValueError(f"dummy atom: {', '.join(unknown)[:80]!r} is no element")
    if not all(0 < sum(site.values()) <= _MOST_AT_A_SITE for site in crystal.species):
        raise ValueError("wrong occupancy: a site holds no atom, or more than one")
    check_atoms(np.ones(len(crystal.species)), numbers_of(crystal.coordinates, (-1, 3), "sites"))
