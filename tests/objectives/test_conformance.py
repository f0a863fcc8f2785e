"""Every objective is tested by the rules that hold for all of them."""

from omnimat.objectives.all_pairs_clip import AllPairsClipSettings
from omnimat.objectives.anchored_clip import AnchoredClipSettings
from omnimat.objectives.barlow_twins import BarlowTwinsSettings
from omnimat.objectives.clac import ClacSettings
from omnimat.objectives.clip import ClipSettings
from omnimat.objectives.dcl import DclSettings
from omnimat.objectives.registry import OBJECTIVES
from omnimat.objectives.siglip import SigLipSettings
from omnimat.objectives.tensor_clip import TensorClipSettings
from omnimat.testing.objective_conformance import ObjectiveConformance


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
    assert tested == set(OBJECTIVES.load_all().values())
