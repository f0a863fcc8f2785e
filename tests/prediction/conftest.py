from pathlib import Path

import pytest

from omnimat.materials.crystals import to_pymatgen
from omnimat.materials.record import Record
from omnimat.sources.prototypes import Prototypes
from omnimat.testing.packages import write_package

NUM_RECORDS = 30


@pytest.fixture(scope="session")
def records() -> list[Record]:
    return list(Prototypes(num_materials=NUM_RECORDS, max_atoms=8).read(0, NUM_RECORDS))


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """A packed model."""
    path = tmp_path_factory.mktemp("models") / "volume"
    write_package(path)
    return path


@pytest.fixture(scope="session")
def crystals(tmp_path_factory, records) -> Path:
    """A folder of CIFs, of which two cannot be read."""
    folder = tmp_path_factory.mktemp("crystals")
    for record in records:
        to_pymatgen(record.structure).to(str(folder / f"{record.material_id}.cif"), fmt="cif")
    (folder / "broken.cif").write_text("data_broken\n_cell_length_a 3\n")
    (folder / "empty.cif").write_text("")
    return folder
