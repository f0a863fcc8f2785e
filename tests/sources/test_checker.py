from dataclasses import replace

import numpy as np
import pytest

from omnimat.base.errors import UserError
from omnimat.materials.record import Failure, Record, Structure
from omnimat.materials.split import SplitSettings
from omnimat.sources.checker import Checker
from omnimat.sources.settings import IngestSettings


def record(material_id, numbers=(11, 17), **provenance):
    structure = Structure(
        4 * np.eye(3), np.array(numbers, dtype=np.int32), np.array([[0, 0, 0], [0.5, 0.5, 0.5]])
    )
    return Record(material_id, {"structure": structure}, provenance=provenance)


def test_every_item_is_accepted_or_a_failure():
    checker = Checker(SplitSettings(), excluded_ids=["elsewhere"])
    items = [
        record("a", licence="CC0"),
        Failure("b", "no structure"),
        record("a"),
        record("c", numbers=(0, 17)),
        record("elsewhere"),
        record("d", published_split="test", licence="MIT"),
        record("e", published_split="dev"),
    ]
    assert [r.material_id for r in checker.accepted(items)] == ["a", "d"]
    reasons = dict(checker.failures)
    assert list(reasons) == ["b", "a", "c", "elsewhere", "e"]
    assert reasons["b"] == "no structure"
    assert "duplicate" in reasons["a"]
    assert "atomic number" in reasons["c"]
    assert "duplicate" in reasons["elsewhere"]
    assert "'dev'" in reasons["e"]
    assert checker.columns["d"] == {"split": "test", "reduced_formula": "NaCl"}
    assert checker.provenance_values("licence") == ("CC0", "MIT")


def test_a_record_without_a_required_property_is_refused_by_its_name():
    items = [
        replace(record("a"), properties={"hardness_gpa": 0.0, "fold": 2.0}),
        replace(record("b"), properties={"hardness_gpa": None, "fold": 2.0}),
        record("c"),
    ]
    required = ("structure", "properties.hardness_gpa", "properties.fold")
    checker = Checker(SplitSettings(), (), required)
    assert [one.material_id for one in checker.accepted(items)] == ["a"]
    assert checker.failures == [
        ("b", "no properties.hardness_gpa"),
        ("c", "no properties.hardness_gpa, properties.fold"),
    ]


@pytest.mark.parametrize("required", ["structrue", "properties.fald", "fold"])
def test_what_no_record_can_have_is_refused_before_anything_is_read(tmp_path, required):
    path = tmp_path / "labels.csv"
    path.write_text("material_id,fold\na,1\n")
    settings = IngestSettings(labels={"path": str(path)}, required=[required])
    with pytest.raises(UserError, match=f"required: no record can have '{required}'"):
        settings.located()
    right = settings.model_copy(update={"required": ("structure", "properties.fold")})
    assert right.located().required == ("structure", "properties.fold")


def test_noble_gases_have_a_formula():
    checker = Checker(SplitSettings(), ())
    list(checker.accepted([record("a", numbers=(10, 10))]))
    assert checker.columns["a"]["reduced_formula"] == "Ne"
