"""Which pairs each objective aligns, what it refuses, and how a job file names it."""

import pytest
from pydantic import TypeAdapter, ValidationError

from omnimat.materials.errors import UserError
from omnimat.objectives.all_pairs_clip import AllPairsClipSettings
from omnimat.objectives.anchored_clip import AnchoredClipSettings
from omnimat.objectives.clip import ClipSettings
from omnimat.objectives.registry import AnyObjective, Objective

FOUR = ("text", "structure", "charge_density", "dos")


def test_pairs_do_not_depend_on_the_order_of_modalities():
    for objective in (AllPairsClipSettings(), AnchoredClipSettings(anchor="text")):
        assert objective.pairs(FOUR) == objective.pairs(FOUR[::-1])


def test_all_pairs():
    pairs = AllPairsClipSettings().pairs(FOUR)
    assert len(pairs) == 6
    assert {frozenset(pair) for pair in pairs} == {
        frozenset((a, b)) for a in FOUR for b in FOUR if a != b
    }


def test_anchored():
    assert AnchoredClipSettings().pairs(FOUR) == (
        ("structure", "dos"),
        ("structure", "charge_density"),
        ("structure", "text"),
    )


def test_clip():
    assert ClipSettings().pairs(("text", "structure")) == (("structure", "text"),)


@pytest.mark.parametrize(
    ("objective", "modalities", "message"),
    [
        (ClipSettings(), FOUR, "exactly two"),
        (ClipSettings(), ("dos",), "exactly two"),
        (AllPairsClipSettings(), ("dos",), "at least two"),
        (AnchoredClipSettings(anchor="xrd"), FOUR, "objective.anchor"),
        (AnchoredClipSettings(anchor="dos"), ("dos",), "objective.anchor"),
    ],
)
def test_refusals_name_the_key(objective, modalities, message):
    with pytest.raises(UserError, match=message):
        objective.pairs(modalities)


def test_job_file_names_an_objective_by_type():
    adapter = TypeAdapter(AnyObjective)
    objective: Objective = adapter.validate_python(
        {"type": "anchored_clip", "anchor": "dos", "temperature": {"initial": 0.07}}
    )
    assert isinstance(objective, AnchoredClipSettings)
    assert objective.pairs(("dos", "text")) == (("dos", "text"),)
    assert objective.temperature.initial == 0.07
    with pytest.raises(ValidationError):
        adapter.validate_python({"type": "anchored_clip", "anker": "dos"})
