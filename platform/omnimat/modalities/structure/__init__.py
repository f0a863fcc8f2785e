"""Crystal structures, which are a lattice and the atoms in it."""

from __future__ import annotations

import json

import numpy as np

from omnimat.materials.record import Structure
from omnimat.materials.validation import check_arrays
from omnimat.modalities.modality import Modality
from omnimat.modalities.storage import Stored, encode_json

_HERE = "omnimat.modalities.structure"


def encode(structure: Structure) -> bytes:
    """Write a structure as JSON; only the ingest checks the distances between atoms.

    Raises:
        ValueError: a shape or a number is wrong.
    """
    check_arrays(structure)
    return encode_json(
        {
            "lattice_angstrom": structure.lattice_angstrom.tolist(),
            "atomic_numbers": structure.atomic_numbers.tolist(),
            "frac_coords": structure.frac_coords.tolist(),
        }
    )


def decode(data: bytes) -> Structure:
    """Read and check what ``encode`` writes."""
    value = json.loads(data)
    structure = Structure(
        lattice_angstrom=np.asarray(value["lattice_angstrom"], dtype=np.float64),
        atomic_numbers=np.asarray(value["atomic_numbers"], dtype=np.int32),
        frac_coords=np.asarray(value["frac_coords"], dtype=np.float64),
    )
    check_arrays(structure)
    return structure


MODALITY = Modality(
    name="structure",
    label="a structure",
    stored=(Stored("structure.json", encode, decode),),
    featurizers={"crystal_graph": f"{_HERE}.features:CrystalGraph"},
    encoders={
        "potnet": f"{_HERE}.potnet:PotNetSettings",
        "cgcnn": f"{_HERE}.cgcnn:CgcnnSettings",
        "gated_graph": f"{_HERE}.gated:GatedGraphSettings",
        "painn": f"{_HERE}.painn:PaiNNSettings",
        "dimenetpp": f"{_HERE}.dimenetpp:DimeNetPlusPlusSettings",
    },
    augmentation=f"{_HERE}.augment:StructureAugmentation",
    query=f"{_HERE}.query:QUERY",
)
