from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice
from pymatgen.core import Structure as PymatgenStructure

from omnimat.materials.record import Record, Structure


def to_record(
    crystal: PymatgenStructure,
    material_id: str = "material",
    properties: Mapping[str, Any] = MappingProxyType({}),
    **parts: Any,
) -> Record:
    structure = Structure(
        np.array(crystal.lattice.matrix),
        np.array(crystal.atomic_numbers, dtype=np.int32),
        np.array(crystal.frac_coords),
    )
    return Record(material_id, {"structure": structure, **parts}, properties)


@pytest.fixture(scope="session")
def record_of() -> Callable[..., Record]:
    return to_record


@pytest.fixture(scope="session")
def save_bert():
    """Save a random BERT like a model folder of the hub."""
    transformers = pytest.importorskip("transformers")

    def save_bert(folder: Path, **changes: int) -> Path:
        torch.manual_seed(7)
        sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
        sizes |= {"vocab_size": 400, "num_hidden_layers": 1}
        model = transformers.BertModel(transformers.BertConfig(**sizes | changes))
        model.save_pretrained(folder)
        return folder

    return save_bert


@pytest.fixture(scope="session")
def nacl() -> PymatgenStructure:
    """The conventional cell of rock salt, with 8 atoms."""
    return PymatgenStructure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )


@pytest.fixture(scope="session")
def triclinic() -> PymatgenStructure:
    """A triclinic crystal of five atoms without symmetry."""
    lattice = Lattice.from_parameters(4.1, 5.3, 6.2, 71, 83, 104)
    fractional = [
        [0.05, 0.1, 0.07],
        [0.52, 0.47, 0.11],
        [0.31, 0.78, 0.45],
        [0.83, 0.22, 0.61],
        [0.6, 0.7, 0.9],
    ]
    return PymatgenStructure(lattice, ["Ba", "Ti", "O", "O", "O"], fractional)
