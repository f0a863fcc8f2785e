"""Every objective is tested by the rules that hold for all of them."""

import torch

from omnimat.objectives.all_pairs_clip import AllPairsClipSettings
from omnimat.objectives.anchored_clip import AnchoredClipSettings
from omnimat.objectives.barlow_twins import BarlowTwinsSettings
from omnimat.objectives.clac import ClacSettings
from omnimat.objectives.clip import ClipSettings
from omnimat.objectives.dcl import DclSettings
from omnimat.objectives.embeddings import Embeddings
from omnimat.objectives.none import NoContrastSettings
from omnimat.objectives.registry import OBJECTIVES
from omnimat.objectives.siglip import SigLipSettings
from omnimat.objectives.tensor_clip import TensorClipSettings
from omnimat.testing.objective_conformance import ObjectiveConformance
from omnimat.testing.sent import sent


class TestClip(ObjectiveConformance):
    objective = ClipSettings()
    modalities = ("structure", "text")


class TestAllPairsClip(ObjectiveConformance):
    objective = AllPairsClipSettings()
    modalities = ("structure", "dos", "charge_density", "text")


class TestAnchoredClip(ObjectiveConformance):
    objective = AnchoredClipSettings(anchor="dos")
    modalities = ("structure", "dos", "text")


class TestDcl(ObjectiveConformance):
    objective = DclSettings()
    modalities = ("structure", "xrd")


class TestSigLip(ObjectiveConformance):
    objective = SigLipSettings(bias=-2.0)
    modalities = ("structure", "dos", "text")


class TestTensorClip(ObjectiveConformance):
    objective = TensorClipSettings()
    modalities = ("structure", "dos", "text")


class TestBarlowTwins(ObjectiveConformance):
    objective = BarlowTwinsSettings()
    modalities = ("structure", "dos")


class TestBarlowTwinsOfThreeAsPrinted(ObjectiveConformance):
    objective = BarlowTwinsSettings(standardize=False)
    modalities = ("structure", "dos", "text")


class TestBarlowTwinsOfFour(ObjectiveConformance):
    objective = BarlowTwinsSettings()
    modalities = ("structure", "dos", "charge_density", "text")


class TestClac(ObjectiveConformance):
    objective = ClacSettings()
    modalities = ("structure", "text")


class TestClacWithoutProjectors(ObjectiveConformance):
    objective = ClacSettings(projectors=False)
    modalities = ("structure", "text")


def test_every_registered_objective_conforms():
    tested = {type(tests.objective) for tests in ObjectiveConformance.__subclasses__()}
    # The rules are about losses, and that of no contrast has none.
    assert tested == set(OBJECTIVES.load_all().values()) - {NoContrastSettings}


def test_no_contrast_has_no_loss_whatever_the_modalities():
    none = NoContrastSettings()
    row = {name: torch.ones(2, 3) for name in ("structure", "text")}
    embeddings = Embeddings(row, {name: torch.ones(2, dtype=torch.bool) for name in row})
    assert none.groups(row) == none.groups(()) == ()
    assert none(embeddings, embeddings, 0, torch.zeros(1)) == {}
    assert sent(none) == none
