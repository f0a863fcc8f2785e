"""Every featurizer is tested by the rules that hold for all of them."""

import numpy as np
import pytest

from omnimat.base.workspace import Workspace
from omnimat.modalities.charge_density.features import ChargeDensityGrid
from omnimat.modalities.composition import formula_of
from omnimat.modalities.composition.features import Magpie
from omnimat.modalities.composition.fractions import ElementFractions
from omnimat.modalities.dos.features import DosCurve
from omnimat.modalities.elastic_response.features import ChgnetStrain
from omnimat.modalities.geometry.features import PairDensity
from omnimat.modalities.properties.features import PropertyValues
from omnimat.modalities.registry import MODALITIES
from omnimat.modalities.structure.features import CrystalGraph
from omnimat.modalities.text.embedding import TextEmbedding
from omnimat.modalities.text.huggingface_embedding import HuggingFaceEmbedding
from omnimat.modalities.text.tokenizer import TokenizerSettings, fit_tokenizer
from omnimat.modalities.text.tokens import TextTokens
from omnimat.modalities.xrd import MeasuredPattern
from omnimat.modalities.xrd.features import XrdPattern
from omnimat.testing.featurizer_conformance import FeaturizerConformance
from omnimat.testing.materials import example_records


class TestCrystalGraph(FeaturizerConformance):
    featurizer = CrystalGraph()
    needs = ("structure",)


class TestCrystalGraphForAnEncoderThatSums(FeaturizerConformance):
    featurizer = CrystalGraph(lattice_sums="in_encoder")
    needs = ("structure",)


class TestCrystalGraphOfVoronoiCells(FeaturizerConformance):
    featurizer = CrystalGraph(
        neighbors="voronoi", max_neighbors=None, lattice_sums="none", multiplicity=True
    )
    needs = ("structure",)


class TestDosCurve(FeaturizerConformance):
    featurizer = DosCurve()
    needs = ("dos",)


class TestChargeDensityGrid(FeaturizerConformance):
    featurizer = ChargeDensityGrid()
    needs = ("charge_density",)


class TestRawChargeDensityGrid(FeaturizerConformance):
    """A grid of the right size needs no work, so its memory might be shared by mistake."""

    featurizer = ChargeDensityGrid(scale="raw")
    needs = ("charge_density",)

    def records(self):
        density = np.arange(32**3, dtype=np.float32).reshape(32, 32, 32)
        return tuple(
            record.with_part("charge_density", density.copy()) for record in super().records()
        )


class TestHashedText(FeaturizerConformance):
    featurizer = TextEmbedding(source="hashed")
    needs = ("text",)


class TestStoredText(FeaturizerConformance):
    featurizer = TextEmbedding()
    needs = ("text_embedding",)

    def records(self):
        vector = np.arange(768, dtype=np.float32)
        return tuple(
            record.with_part("text_embedding", vector.copy()) for record in super().records()
        )


class TestXrdPattern(FeaturizerConformance):
    featurizer = XrdPattern()
    needs = ("structure",)


class TestMeasuredPattern(FeaturizerConformance):
    featurizer = XrdPattern(origin="given")
    needs = ("xrd",)

    def records(self):
        angles = np.linspace(5, 85, 400, dtype=np.float32)
        return tuple(
            record.with_part("xrd", MeasuredPattern(angles, 1 + np.cos(angles + place), 1.0))
            for place, record in enumerate(super().records())
        )


class TestMagpie(FeaturizerConformance):
    featurizer = Magpie()
    needs = ("structure",)


class TestMagpieOfAGivenFormula(FeaturizerConformance):
    featurizer = Magpie(origin="given")
    needs = ("composition",)

    def records(self):
        given = super().records()
        return tuple(record.with_part("composition", formula_of(record)) for record in given)


class TestElementFractions(FeaturizerConformance):
    featurizer = ElementFractions()
    needs = ("structure",)


class TestPairDensity(FeaturizerConformance):
    featurizer = PairDensity()
    needs = ("structure",)


class TestChgnetStrain(FeaturizerConformance):
    featurizer = ChgnetStrain()
    needs = ("structure",)

    @pytest.fixture(autouse=True)
    def _installed(self):
        pytest.importorskip("chgnet", reason="it comes with omnimat[forcefield]")


class TestPropertyValues(FeaturizerConformance):
    featurizer = PropertyValues(
        numbers=("density_g_per_cm3", "num_atoms"), classes=("crystal_system",)
    ).located(Workspace.open(), lambda parts: iter(example_records()))


TEXTS = [record.parts["text"] for record in example_records() if "text" in record.parts]


class TestTextTokens(FeaturizerConformance):
    featurizer = TextTokens(tokenizer=fit_tokenizer(TEXTS, TokenizerSettings(vocabulary_size=400)))
    needs = ("text",)


class TestHuggingFaceEmbedding(FeaturizerConformance):
    featurizer = HuggingFaceEmbedding(model="set below", width=16)
    needs = ("text",)

    @pytest.fixture(autouse=True)
    def _saved_model(self, tmp_path, save_bert):
        save_bert(tmp_path)
        (tmp_path / "tokenizer.json").write_text(TestTextTokens.featurizer.tokenizer)
        self.featurizer = HuggingFaceEmbedding(model=str(tmp_path), width=16)


@pytest.mark.parametrize(
    "choice",
    [one for modality in MODALITIES.load_all().values() for one in modality.featurizer_classes()],
)
def test_every_registered_featurizer_conforms(choice):
    tested = {type(tests.featurizer) for tests in FeaturizerConformance.__subclasses__()}
    assert choice in tested
