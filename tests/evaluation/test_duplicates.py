import dataclasses

import numpy as np
import pandas as pd
import pytest
from upath import UPath

from omnimat.evaluation.duplicates import by_structure, by_symmetry
from omnimat.materials.crystals import reduced_formula
from omnimat.materials.record import Record, Structure
from omnimat.shards.writer import write_shard

ROCKSALT = Structure(
    4.2 * np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]]),
    np.array([12, 8], dtype=np.int32),
    np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]),
)
ZINCBLENDE = dataclasses.replace(
    ROCKSALT, frac_coords=np.array([[0.0, 0.0, 0.0], [0.25, 0.25, 0.25]])
)


def moved(structure, strain=0.0, shift=0.0):
    """The same crystal, strained, with another origin and its cell vectors in another order."""
    order = [1, 2, 0]
    return Structure(
        (structure.lattice_angstrom * (1 + strain))[order],
        structure.atomic_numbers,
        np.mod(structure.frac_coords[:, order] + shift, 1.0),
    )


STRUCTURES = {
    "first": ROCKSALT,
    "again": moved(ROCKSALT, strain=0.02, shift=0.1),
    "other": ZINCBLENDE,
    "calcium": dataclasses.replace(ROCKSALT, atomic_numbers=np.array([20, 8], dtype=np.int32)),
    "other_again": moved(ZINCBLENDE),
}


@pytest.fixture
def records(tmp_path):
    shard = write_shard(
        UPath(tmp_path) / "shard-00000.tar",
        [Record(name, {"structure": structure}) for name, structure in STRUCTURES.items()],
    )
    frame = pd.DataFrame(shard.rows)
    frame["shard"] = 0
    frame["reduced_formula"] = [reduced_formula(s.atomic_numbers) for s in STRUCTURES.values()]
    return frame


def test_structures_are_matched_within_a_formula(records, tmp_path):
    groups = by_structure(records, [{}] * len(records), UPath(tmp_path))
    assert groups.tolist() == [0, 0, 1, 2, 1]
    # Rows of a split need not be counted from zero.
    part = records.iloc[[4, 2, 1]]
    assert by_structure(part, [{}] * 3, UPath(tmp_path)).tolist() == [0, 0, 1]


def test_a_record_that_cannot_be_read_has_no_duplicate(records, tmp_path):
    records.loc[0, "crc32"] += 1
    groups = by_structure(records, [{}] * len(records), UPath(tmp_path))
    assert groups.tolist() == [0, 1, 2, 3, 2]


def test_symmetry_tells_polymorphs_apart(records):
    known = [
        {"space_group_number": 225, "crystal_system": "cubic"},
        {"space_group_number": 225, "crystal_system": "cubic"},
        {"space_group_number": 216, "crystal_system": "cubic"},
        {"space_group_number": 225, "crystal_system": "cubic"},
        {"space_group_number": 216},
    ]
    assert by_symmetry(records, known, UPath()).tolist() == [0, 0, 1, 2, 1]
    systems = [{"crystal_system": "cubic"}] * 3 + [{}] * 2
    assert by_symmetry(records, systems, UPath()).tolist() == [0, 0, 0, 1, 2]


def test_of_unknown_symmetry_nothing_is_a_duplicate(records):
    assert by_symmetry(records, [{}] * len(records), UPath()).tolist() == [0, 1, 2, 3, 4]


def test_a_split_knows_its_duplicates(embedder):
    split = embedder.embed("train")
    keys = [
        (formula, known["space_group_number"])
        for formula, known in zip(split.records["reduced_formula"], split.properties, strict=True)
    ]
    alike = split.duplicate_groups[:, None] == split.duplicate_groups
    assert (alike == [[one == other for other in keys] for one in keys]).all()
