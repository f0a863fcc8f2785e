"""One rule says what a value is, whatever kind of file it stands in."""

import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from ase.build import bulk
from ase.io import write
from upath import UPath

from omnimat.formats.extxyz import EXTXYZ
from omnimat.materials.values import property_of, safe_name
from omnimat.sources.labels.reader import read_labels
from omnimat.sources.labels.settings import LabelsSettings
from omnimat.sources.tables.source import Table
from omnimat.testing.format_conformance import records_of


@pytest.mark.parametrize(
    "value", [None, "", " ", "nan", "NaN", float("nan"), np.float32("nan"), Decimal("nan"), [], ()]
)
@pytest.mark.parametrize("kind", [None, "number", "class"])
def test_what_is_not_known(value, kind):
    assert property_of(value, kind) is None


@pytest.mark.parametrize(
    ("value", "as_it_is", "as_class"),
    [
        (True, "true", "true"),
        (np.False_, "false", "false"),
        ("TRUE", "true", "true"),
        (" cubic ", "cubic", "cubic"),
        (3, 3, "3"),
        (np.float64(3.0), 3.0, "3"),
        (4.5, 4.5, "4.5"),
        (Decimal("4.5"), 4.5, "4.5"),
    ],
)
def test_numbers_and_classes(value, as_it_is, as_class):
    found = property_of(value)
    assert (found, type(found)) == (as_it_is, type(as_it_is))
    assert property_of(value, "class") == as_class


def test_lists_are_of_finite_numbers():
    assert property_of(np.array([1.0, 2.0])) == [1.0, 2.0]
    for wrong in ([1.0, None], [1.0, float("nan")], ["a"], [[1.0]], [True], np.eye(2)):
        with pytest.raises(ValueError, match="not"):
            property_of(wrong)
    for kind in ("number", "class"):
        with pytest.raises(ValueError, match="single"):
            property_of([1.0], kind)


@pytest.mark.parametrize("value", [float("inf"), 10**400, "1e400", True, "7 GPa", "1,5", {}, b"1"])
def test_what_is_no_number_is_refused_and_shown(value):
    with pytest.raises(ValueError, match="not") as error:
        property_of(value, "number")
    assert repr(value)[:3] in str(error.value) or "inf" in str(error.value)


VALUES = [True, False, None, float("nan")]


@pytest.mark.parametrize("value", ["cubic\u200b", "\u202ecibuc", "a\x1b[2J", "a\x00b"])
@pytest.mark.parametrize("kind", [None, "class"])
def test_a_class_with_a_hidden_character_is_refused_and_shown(value, kind):
    with pytest.raises(ValueError, match=r"holds the hidden character U\+") as caught:
        property_of(value, kind)
    assert str(caught.value).isprintable()


def in_labels(tmp_path):
    path = tmp_path / "labels.jsonl"
    rows = [{"id": str(i), "a b": value} for i, value in enumerate(VALUES)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    labels = read_labels(LabelsSettings(path=str(path), id="id"))
    return [labels.usable(str(i)) if str(i) in labels.rows else {} for i in range(len(VALUES))]


def in_a_table(tmp_path):
    pd.DataFrame({"x": pd.Series(VALUES, dtype=object)}).to_csv(tmp_path / "t.csv")
    source = Table(path=str(tmp_path / "t.csv"), properties={"a_b": "x"})
    return [record.properties for record in source.read(0, len(VALUES))]


def in_frames(tmp_path):
    def frame(value):
        atoms = bulk("NaCl", "rocksalt", a=5.6)
        atoms.info = {} if value is None else {"a b": value}
        return atoms

    write(tmp_path / "a.xyz", [frame(value) for value in VALUES], format="extxyz")
    return [record.properties for record in records_of(EXTXYZ, UPath(tmp_path / "a.xyz"))]


@pytest.mark.parametrize("way", [in_labels, in_a_table, in_frames])
def test_every_way_in_says_the_same(way, tmp_path):
    assert way(tmp_path) == [{"a_b": "true"}, {"a_b": "false"}, {}, {}]


def test_names_are_made_safe():
    assert safe_name("a b/µ (eV)") == "a_b_eV_"
