"""Which modalities each objective aligns, what it refuses, and how a job file names it."""

import pytest
from pydantic import TypeAdapter, ValidationError

from omnimat.base.errors import UserError
from omnimat.modalities.registry import MODALITIES
from omnimat.objectives.all_pairs_clip import AllPairsClipSettings
from omnimat.objectives.anchored_clip import AnchoredClipSettings
from omnimat.objectives.barlow_twins import BarlowTwinsSettings
from omnimat.objectives.clip import ClipSettings
from omnimat.objectives.registry import AnyObjective
from omnimat.objectives.tensor_clip import TensorClipSettings

FOUR = ("text", "structure", "charge_density", "dos")


def test_pairs_do_not_depend_on_the_order_of_modalities():
    for objective in (AllPairsClipSettings(), AnchoredClipSettings(anchor="text")):
        assert objective.groups(FOUR) == objective.groups(FOUR[::-1])


def test_all_pairs():
    pairs = AllPairsClipSettings().groups(FOUR)
    assert len(pairs) == 6
    assert {frozenset(pair) for pair in pairs} == {
        frozenset((a, b)) for a in FOUR for b in FOUR if a != b
    }


def test_anchored():
    assert AnchoredClipSettings().groups(FOUR) == (
        ("structure", "dos"),
        ("structure", "charge_density"),
        ("structure", "text"),
    )


def test_clip():
    assert ClipSettings().groups(("text", "structure")) == (("structure", "text"),)


def test_three_at_once_are_one_group():
    assert TensorClipSettings().groups(FOUR[:3]) == (("structure", "charge_density", "text"),)


@pytest.mark.parametrize(
    ("objective", "modalities", "message"),
    [
        (ClipSettings(), FOUR, r"clip' aligns 2 modalities, not 4 \(structure, dos, charge"),
        (ClipSettings(), ("dos",), "aligns 2 modalities, not 1"),
        (AllPairsClipSettings(), ("dos",), "aligns 2 or more modalities, not 1"),
        (TensorClipSettings(), FOUR, "aligns 3 modalities, not 4"),
        (BarlowTwinsSettings(), MODALITIES.names, "aligns 2 to 4 modalities, not 9"),
        (AnchoredClipSettings(anchor="xrd"), FOUR, "objective.anchor"),
        (AnchoredClipSettings(anchor="dos"), ("dos",), "aligns 2 or more modalities, not 1"),
    ],
)
def test_refusals_name_the_key(objective, modalities, message):
    with pytest.raises(UserError, match=message):
        objective.groups(modalities)


def test_job_file_names_an_objective_by_type():
    adapter = TypeAdapter(AnyObjective)
    objective = adapter.validate_python(
        {"type": "anchored_clip", "anchor": "dos", "temperature": {"initial": 0.07}}
    )
    assert isinstance(objective, AnchoredClipSettings)
    assert objective.groups(("dos", "text")) == (("dos", "text"),)
    assert objective.temperature.initial == 0.07
    with pytest.raises(ValidationError):
        adapter.validate_python({"type": "anchored_clip", "anker": "dos"})
