"""What pretraining has seen of other materials: by formula, and by structure in whatever cell."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from upath import UPath

from omnimat.base.workspace import Workspace
from omnimat.evaluation import overlap
from omnimat.evaluation.overlap import Overlap, find_overlap, kept_overlap
from omnimat.materials.crystals import from_pymatgen, reduced_formula, to_pymatgen
from omnimat.materials.record import Record, Structure
from omnimat.shards.writer import write_shard
from omnimat.training.seen import Materials

ROCKSALT = Structure(
    4.2 * np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]]),
    np.array([12, 8], dtype=np.int32),
    np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]),
)
ZINCBLENDE = dataclasses.replace(
    ROCKSALT, frac_coords=np.array([[0.0, 0.0, 0.0], [0.25, 0.25, 0.25]])
)
CALCIUM = dataclasses.replace(ROCKSALT, atomic_numbers=np.array([20, 8], dtype=np.int32))


def disguised(structure, noise_angstrom=0.02):
    """The same crystal in a rotated supercell with another origin, swollen and shaken."""
    crystal = to_pymatgen(structure)
    crystal.make_supercell([[2, 0, 0], [1, 1, 0], [0, 1, 2]])
    crystal.translate_sites(range(len(crystal)), [0.13, 0.27, 0.41])
    noise = np.random.default_rng(0).normal(0, noise_angstrom, (len(crystal), 3))
    for site, step in enumerate(noise):
        crystal.translate_sites([site], step, frac_coords=False)
    crystal.scale_lattice(crystal.volume * 1.03)
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    ours = from_pymatgen(crystal)
    turned = ours.lattice_angstrom @ (turn * np.sign(np.linalg.det(turn)))
    return dataclasses.replace(ours, lattice_angstrom=turned)


@pytest.fixture
def materials(tmp_path):
    """Write a data set of structures by their ids; None stands for a text."""

    def materials(name, structures, fingerprint=None):
        folder = UPath(tmp_path) / name
        folder.mkdir()
        parts = {
            one: {"text": "Magnesia."} if structure is None else {"structure": structure}
            for one, structure in structures.items()
        }
        shard = write_shard(
            folder / "shard-00000.tar", [Record(one, given) for one, given in parts.items()]
        )
        frame = pd.DataFrame(shard.rows).assign(shard=0)
        numbers = [s.atomic_numbers if s else ROCKSALT.atomic_numbers for s in structures.values()]
        frame["reduced_formula"] = [reduced_formula(one) for one in numbers]
        return Materials(folder, fingerprint or name, frame)

    return materials


def test_a_structure_is_found_in_any_cell(materials):
    judging = materials("judging", {"mgo": ROCKSALT, "cao": CALCIUM, "blende": ZINCBLENDE})
    seen = materials("seen", {"a": disguised(ROCKSALT), "b": disguised(ROCKSALT, 0.03)})
    found = find_overlap(judging, seen)
    assert found == Overlap(frozenset({"mgo", "blende"}), frozenset({"mgo"}), frozenset())
    assert find_overlap(seen, judging).same_structure == {"a", "b"}


def test_polymorphs_share_a_formula_alone(materials):
    found = find_overlap(
        materials("judging", {"a": disguised(ZINCBLENDE), "b": CALCIUM}),
        materials("seen", {"a": ROCKSALT, "b": ROCKSALT}),
    )
    assert found == Overlap(same_formula=frozenset({"a"}))


def test_what_cannot_be_compared_is_told(materials, monkeypatch):
    judging = materials("judging", {"known": ROCKSALT, "text": None, "blende": ZINCBLENDE})
    found = find_overlap(judging, materials("seen", {"a": ROCKSALT, "b": None}))
    assert found.same_structure == {"known"}
    # Of the text seen, nobody knows the structure; it may be that of the zincblende.
    assert found.not_compared == {"text", "blende"}
    monkeypatch.setattr(overlap, "MAX_ATOMS", 1)
    found = find_overlap(judging, materials("large", {"a": ROCKSALT}))
    assert (found.same_structure, len(found.not_compared)) == (set(), 3)


def test_of_a_material_without_a_formula_nobody_knows(materials):
    judging = materials("judging", {"a": None, "b": ROCKSALT})
    judging.records.loc[0, "reduced_formula"] = None
    found = find_overlap(judging, materials("seen", {"a": ROCKSALT}))
    assert (found.same_formula, found.without_formula) == ({"b"}, {"a"})
    counts = found.counts(["a", "b"])
    assert (counts.num_materials, counts.same_formula, counts.without_formula) == (2, 1, 1)


def test_a_record_that_cannot_be_read_is_not_compared(materials):
    judging = materials("judging", {"a": ROCKSALT, "b": ROCKSALT})
    judging.records.loc[0, "crc32"] += 1
    found = find_overlap(judging, materials("seen", {"a": ROCKSALT}))
    assert (found.same_structure, found.not_compared) == ({"b"}, {"a"})


def test_comparisons_within_a_formula_are_limited(materials, monkeypatch):
    judging = materials("judging", {"a": ROCKSALT, "b": ZINCBLENDE})
    seen = materials("seen", {"a": ROCKSALT, "b": ROCKSALT, "c": ZINCBLENDE})
    assert find_overlap(judging, seen).same_structure == {"a", "b"}
    monkeypatch.setattr(overlap, "MAX_COMPARISONS", 4)  # two for each
    found = find_overlap(judging, seen)
    assert (found.same_structure, found.not_compared) == ({"a"}, {"b"})


@pytest.mark.parametrize("num_at_a_time", [1, 2, 1000])
def test_formulas_are_compared_in_any_portions(materials, monkeypatch, num_at_a_time):
    monkeypatch.setattr(overlap, "_RECORDS_AT_A_TIME", num_at_a_time)
    structures = {
        f"{z}": dataclasses.replace(ROCKSALT, atomic_numbers=np.array([z, 8], np.int32))
        for z in (3, 11, 12, 19, 20)
    }
    judging = materials("judging", structures | {"blende": ZINCBLENDE})
    found = find_overlap(judging, materials("seen", dict(list(structures.items())[1:])))
    assert found.same_structure == {"11", "12", "19", "20"}
    assert found.same_formula == {"11", "12", "19", "20", "blende"}


def test_the_same_record_is_the_same_without_a_look(materials):
    judging = materials("judging", {"a": None, "b": ROCKSALT}, "one")
    judging.dataset.rename(judging.dataset.with_name("gone"))
    found = find_overlap(judging, dataclasses.replace(judging, records=judging.records[:1]))
    assert "a" in found.same_structure


def test_it_is_found_once_and_damage_is_seen(materials, tmp_path, monkeypatch):
    workspace = Workspace(UPath(tmp_path) / "storage")
    judging = materials("judging", {"mgo": ROCKSALT, "blende": ZINCBLENDE})
    seen = materials("seen", {"a": ROCKSALT})
    first = kept_overlap(workspace, judging, seen)
    (path,) = (workspace.root / "overlaps").iterdir()
    text = path.read_text()
    seen.dataset.rename(tmp_path / "gone")
    assert kept_overlap(workspace, judging, seen) == first
    (tmp_path / "gone").rename(seen.dataset)
    for damaged in (text.replace('"mgo"', '"mgp"'), text[:40], "[]", "{}", '{"check": 1}'):
        path.write_text(damaged)
        assert kept_overlap(workspace, judging, seen) == first
        assert path.read_text() == text
    # Other materials of the same data set are another question.
    fewer = dataclasses.replace(judging, records=judging.records[1:])
    assert kept_overlap(workspace, fewer, seen).same_structure == set()


@pytest.mark.parametrize("error", [IndexError, ZeroDivisionError, RecursionError, RuntimeError])
def test_a_crystal_that_cannot_be_reduced_is_not_compared(materials, monkeypatch, error):
    def reduced_but_calcium(structure):
        if 20 in structure.atomic_numbers:
            raise error("an odd cell")
        return to_pymatgen(structure)

    monkeypatch.setattr("omnimat.materials.crystals.to_pymatgen", reduced_but_calcium)
    judging = materials("judging", {"a": ROCKSALT, "b": CALCIUM})
    seen = materials("seen", {"c": ROCKSALT, "d": CALCIUM})
    found = find_overlap(judging, seen)
    assert found.same_formula == {"a", "b"}
    assert (found.same_structure, found.not_compared) == ({"a"}, {"b"})
