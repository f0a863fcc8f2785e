import numpy as np
import pytest

from omnimat.materials.record import Record, Structure
from omnimat.modalities.composition import Formula
from omnimat.modalities.dos import DensityOfStates
from omnimat.modalities.xrd import MeasuredPattern


def make_record(material_id: str = "a-1", seed: int = 0, full: bool = True) -> Record:
    rng = np.random.default_rng(seed)
    structure = Structure(
        rng.normal(size=(3, 3)) * 0.1 + 4 * np.eye(3),
        np.array([11, 17], dtype=np.int32),
        np.array([[0, 0, 0], [0.5, 0.5, 1 / 3]]),
    )
    if not full:
        return Record(material_id, {"structure": structure})
    return Record(
        material_id,
        {
            "structure": structure,
            "dos": DensityOfStates(
                np.linspace(-5, 5, 7, dtype=np.float32), rng.random(7, dtype=np.float32)
            ),
            "charge_density": rng.random((4, 5, 6)).astype(np.float16),
            "text": "Sodium chloride, a = 5.64 Å.",
            "text_embedding": rng.random(8).astype(np.float32),
            "xrd": MeasuredPattern(
                np.linspace(10, 80, 9, dtype=np.float32), rng.random(9, dtype=np.float32), 1.54184
            ),
            "composition": Formula(np.array([11, 17], dtype=np.int32), np.array([1.0, 1.0])),
        },
        properties={"band_gap_ev": 0.1 + 0.2, "crystal_system": "cubic", "elastic": [1, 2.5]},
        provenance={"source": "test", "licence": "CC0"},
    )


@pytest.fixture
def new_record():
    return make_record
