from importlib.util import find_spec

import pytest
import torch

from omnimat.modalities.charge_density.resnext import DensityResNeXtSettings
from omnimat.modalities.composition.mlp import CompositionMlpSettings
from omnimat.modalities.dos.transformer import DosTransformerSettings
from omnimat.modalities.properties.mlp import PropertyMlpSettings
from omnimat.modalities.registry import all_encoder_classes
from omnimat.modalities.structure.cgcnn import CgcnnSettings
from omnimat.modalities.structure.dimenetpp import DimeNetPlusPlusSettings
from omnimat.modalities.structure.features import CrystalGraph
from omnimat.modalities.structure.gated import GatedGraphSettings
from omnimat.modalities.structure.painn import PaiNNSettings
from omnimat.modalities.structure.potnet import PotNetSettings
from omnimat.modalities.text.huggingface_encoder import HuggingFaceTextSettings
from omnimat.modalities.text.mlp import TextMlpSettings
from omnimat.modalities.text.transformer import TextTransformerSettings
from omnimat.modalities.xrd.cnn import XrdCnnSettings
from omnimat.modalities.xrd.lattice_cnn import XrdLatticeCnnSettings
from omnimat.testing.encoder_conformance import CrystalEncoderConformance, EncoderConformance
from omnimat.testing.materials import permuted, repeated, rotated, translated

OF_THE_LATTICE = CrystalGraph(
    neighbors="within_cutoff",
    cutoff_angstrom=8.0,
    max_neighbors=12,
    lattice_sums="none",
    reduced_lattice=True,
)


class TestPotNet(CrystalEncoderConformance):
    # Not invariant under repetition: each atom has one infinite edge for every atom of the cell.
    settings = PotNetSettings(preset="tiny")


class TestPotNetThatSums(CrystalEncoderConformance):
    settings = PotNetSettings(preset="tiny")
    featurizer = CrystalGraph(lattice_sums="in_encoder")


class TestPotNetOnNearNeighbours(CrystalEncoderConformance):
    settings = PotNetSettings(preset="tiny", lattice_sums=False)
    invariant_under = (permuted, rotated, translated, repeated)


class TestCgcnn(CrystalEncoderConformance):
    settings = CgcnnSettings(preset="tiny")
    invariant_under = (permuted, rotated, translated, repeated)


class TestGatedGraph(CrystalEncoderConformance):
    settings = GatedGraphSettings(preset="tiny")
    invariant_under = (permuted, rotated, translated, repeated)


class TestGatedGraphWithoutAngles(CrystalEncoderConformance):
    settings = GatedGraphSettings(preset="tiny", num_densities=0)
    invariant_under = (permuted, rotated, translated, repeated)


class TestGatedGraphThatKnowsTheLattice(CrystalEncoderConformance):
    settings = GatedGraphSettings(preset="tiny", lattice="edges")
    featurizer = OF_THE_LATTICE


class TestGatedGraphThatKnowsTheCell(CrystalEncoderConformance):
    settings = GatedGraphSettings(preset="tiny", lattice="cell")
    featurizer = OF_THE_LATTICE


class TestGatedGraphOnVoronoiCells(CrystalEncoderConformance):
    settings = GatedGraphSettings(preset="tiny", multiplicity=True)
    featurizer = CrystalGraph(
        neighbors="voronoi", max_neighbors=None, lattice_sums="none", multiplicity=True
    )
    invariant_under = (permuted, rotated, translated, repeated)

    def build(self) -> torch.nn.Module:
        """Let the multiplicity count, which a new network makes nothing of."""
        encoder = super().build()
        torch.nn.init.normal_(encoder.get_parameter("sites.weight"))
        return encoder


class TestPaiNN(CrystalEncoderConformance):
    settings = PaiNNSettings(preset="tiny")
    invariant_under = (permuted, rotated, translated, repeated)


class TestPaiNNSummed(CrystalEncoderConformance):
    settings = PaiNNSettings(preset="tiny", pool="sum")


class TestDimeNetPlusPlus(CrystalEncoderConformance):
    settings = DimeNetPlusPlusSettings(preset="tiny")
    invariant_under = (permuted, rotated, translated, repeated)


class TestDosTransformer(EncoderConformance):
    settings = DosTransformerSettings(preset="tiny")


class TestDosTransformerMixingTwice(EncoderConformance):
    settings = DosTransformerSettings(preset="tiny", num_mixing_layers=2)


class TestDensityResNeXt(EncoderConformance):
    settings = DensityResNeXtSettings(preset="tiny")
    # There are 13 normalised convolutions in a row, and the last are normalised over 12 values.
    half_precision_error = 0.14


class TestTextMlp(EncoderConformance):
    settings = TextMlpSettings(preset="tiny")


if find_spec("transformers"):

    class TestTextTransformer(EncoderConformance):
        settings = TextTransformerSettings(preset="tiny")

    class TestTextTransformerOfMeans(EncoderConformance):
        settings = TextTransformerSettings(preset="tiny", pooling="mean")

    class TestHuggingFaceText(EncoderConformance):
        settings = HuggingFaceTextSettings(preset="tiny")

    class TestHuggingFaceTextOfMeans(EncoderConformance):
        settings = HuggingFaceTextSettings(preset="tiny", pooling="mean")


class TestXrdCnn(EncoderConformance):
    settings = XrdCnnSettings(preset="tiny")


class TestXrdLatticeCnn(EncoderConformance):
    settings = XrdLatticeCnnSettings(preset="tiny")


class TestCompositionMlp(EncoderConformance):
    settings = CompositionMlpSettings(preset="tiny")


class TestPropertyMlp(EncoderConformance):
    settings = PropertyMlpSettings(preset="tiny")


class TestPaiNNProjected(CrystalEncoderConformance):
    settings = PaiNNSettings(preset="tiny")
    projected = True
    invariant_under = (permuted, rotated, translated, repeated)


def test_every_registered_encoder_has_a_conformance_class() -> None:
    pytest.importorskip("transformers")  # without it, some of the suites above are left out
    registered = set(all_encoder_classes())
    suites = [c for c in globals().values() if isinstance(c, type) and hasattr(c, "settings")]
    assert {type(suite.settings) for suite in suites} == registered


@pytest.mark.parametrize(
    ("settings", "embedding_dim", "num_parameters"),
    [
        (PotNetSettings(), 128, 1_718_656),
        (CgcnnSettings(), 128, 97_216),
        (PaiNNSettings(), 512, 36_490_752),
        (PaiNNSettings(preset="revision"), 512, 15_172_608),
        # That of torch_geometric has 2,212,230 with the same settings, and 24 elements fewer.
        (DimeNetPlusPlusSettings(), 256, 2_212_230 + 24 * 128),
        (DosTransformerSettings(), 128, 1_611_392),
        (DosTransformerSettings(num_mixing_layers=2), 128, 1_611_392 + 256 * 257),
        (DensityResNeXtSettings(), 128, 26_084_032),
        (TextMlpSettings(), 128, 722_048),
    ],
    ids=lambda value: getattr(value, "type", value),
)
def test_published_sizes(settings, embedding_dim: int, num_parameters: int) -> None:
    with torch.device("meta"):
        encoder = settings.build(embedding_dim)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == num_parameters
