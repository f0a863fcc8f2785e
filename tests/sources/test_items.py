import pandas as pd
import pytest

from omnimat.base.child import Limits
from omnimat.materials.record import Failure, Record
from omnimat.shards.codec import encode
from omnimat.sources.items import guarded_items, item_name, usual_items
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.tables.source import Table
from omnimat.testing.hostile_source import RAISED, Hostile

LIMITS = Limits(max_cpu_s=60, max_memory_gb=2)
ORDINARY = [name for name in RAISED if name != "MemoryError"]


def results(reading, source, start=0, stop=100):
    with reading(source, start, stop, LIMITS) as items:
        return [
            (one.material_id, one.reason) if isinstance(one, Failure) else one.material_id
            for one in items
        ]


def test_an_exception_costs_its_item(tmp_path):
    names = ["good-1", *ORDINARY, "RecursionError", "good-2", "good-3"]
    first, *failures, second, third = results(
        usual_items, Hostile(items=names, notes=str(tmp_path))
    )
    assert [first, second, third] == ["good-1", "good-2", "good-3"]
    reasons = dict(failures)
    assert list(reasons) == names[1:-2]
    assert reasons["ValueError"] == "in: one line"
    assert reasons["KeyError"] == "KeyError: 'a'"
    assert reasons["AssertionError"] == "AssertionError"
    for name in set(reasons) - {"ValueError"}:
        assert reasons[name].startswith(name)
        assert "\n" not in reasons[name]


class TwoResults(Hostile):
    """Each item gives a record and says what that lacks; a bad one dies in between."""

    def read(self, start, stop):
        for name in self.items[start:stop]:
            yield Record(name)
            if name == "bad":
                raise TypeError("no number")
            yield Failure(name, "no text")


def test_what_was_given_before_an_exception_is_not_given_again(tmp_path):
    source = TwoResults(items=("a", "bad", "c"), notes=str(tmp_path))
    assert results(usual_items, source, 0, 3) == [
        "a",
        ("a", "no text"),
        "bad",
        ("bad", "TypeError: no number"),
        "c",
        ("c", "no text"),
    ]


@pytest.mark.parametrize("name", ["flaky", "MemoryError"])
def test_errors_of_the_storage_and_limits_are_not_the_items(name, tmp_path):
    with pytest.raises((ConnectionResetError, MemoryError)):
        results(usual_items, Hostile(items=("good-1", name), notes=str(tmp_path)))


@pytest.mark.slow
def test_the_guarded_way_gives_the_same(tmp_path):
    source = Hostile(items=("good-1", *ORDINARY, "RecursionError", "good-2"), notes=str(tmp_path))
    assert results(guarded_items, source) == results(usual_items, source)
    assert results(guarded_items, source, 2, 4) == results(usual_items, source, 2, 4)


@pytest.mark.slow
def test_records_with_all_their_parts_come_out_of_the_child_as_they_were():
    source = Prototypes(num_materials=2, max_atoms=6)
    read = {}
    for reading in (usual_items, guarded_items):
        with reading(source, 0, 2, LIMITS) as items:
            read[reading] = list(items)
    assert {"structure", "dos", "charge_density", "text"} <= set(read[usual_items][0].parts)
    usual, guarded = ([encode(one) for one in read[way]] for way in (usual_items, guarded_items))
    assert guarded == usual


def test_an_item_has_a_name():
    assert item_name(Hostile(items=("a", "b"), notes=""), 1) == "b"
    assert item_name(Hostile(items=("a", "b"), notes=""), 2) == "item 2"
    assert item_name(Table(path="t.csv", text="t"), 7) == "item 7"


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")
def test_a_cell_of_nan_in_a_table_stands_beside_good_ones(tmp_path):
    """Such a cell used to end spglib, and its process, by a segmentation fault."""
    edges = [4.1, float("nan"), 4.3]
    pd.DataFrame(
        {
            "material_id": ["a", "b", "c"],
            "lattice_abc_angstrom": [[edge] * 3 for edge in edges],
            "lattice_angles_degree": [[90.0] * 3] * 3,
            "atomic_numbers": [[55, 17]] * 3,
            "frac_coords": [[0.0, 0, 0, 0.5, 0.5, 0.5]] * 3,
        }
    ).to_parquet(tmp_path / "cells.parquet")
    source = Table(path=str(tmp_path / "cells.parquet"), mapping="multimodal").located()
    first, (name, reason), last = results(usual_items, source)
    assert [first, name, last] == ["a", "b", "c"], reason
    assert "NaN" in reason
