"""Every featurizer is tested by the rules that hold for all of them."""

import dataclasses
from typing import get_args

import numpy as np
import pytest
import transformers

from omnimat.modalities.charge_density.features import ChargeDensityGrid
from omnimat.modalities.composition.features import Magpie
from omnimat.modalities.dos.features import DosCurve
from omnimat.modalities.featurizers import (
    ChargeDensityFeaturizer,
    CompositionFeaturizer,
    DosFeaturizer,
    StructureFeaturizer,
    TextFeaturizer,
    XrdFeaturizer,
)
from omnimat.modalities.structure.features import CrystalGraph
from omnimat.modalities.text.embedding import TextEmbedding
from omnimat.modalities.text.huggingface_embedding import HuggingFaceEmbedding
from omnimat.modalities.text.tokenizer import TokenizerSettings, fit_tokenizer
from omnimat.modalities.text.tokens import TextTokens
from omnimat.modalities.xrd.features import XrdPattern
from omnimat.testing.featurizer_conformance import FeaturizerConformance
from omnimat.testing.materials import example_records


class TestCrystalGraph(FeaturizerConformance):
    featurizer = CrystalGraph()


class TestCrystalGraphForAnEncoderThatSums(FeaturizerConformance):
    featurizer = CrystalGraph(lattice_sums="in_encoder")


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
            dataclasses.replace(record, charge_density=density.copy())
            for record in super().records()
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
            dataclasses.replace(record, text_embedding=vector.copy())
            for record in super().records()
        )


class TestXrdPattern(FeaturizerConformance):
    featurizer = XrdPattern()


class TestMagpie(FeaturizerConformance):
    featurizer = Magpie()


TEXTS = [record.text for record in example_records() if record.text]


class TestTextTokens(FeaturizerConformance):
    featurizer = TextTokens(tokenizer=fit_tokenizer(TEXTS, TokenizerSettings(vocabulary_size=400)))
    needs = ("text",)


class TestHuggingFaceEmbedding(FeaturizerConformance):
    """Uses a random BERT, saved like a model folder of the hub."""

    featurizer = HuggingFaceEmbedding(model="set below", width=16)
    needs = ("text",)

    @pytest.fixture(autouse=True)
    def _saved_model(self, tmp_path):
        config = transformers.BertConfig(
            vocab_size=400,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
        )
        transformers.BertModel(config).save_pretrained(tmp_path)
        (tmp_path / "tokenizer.json").write_text(TestTextTokens.featurizer.tokenizer)
        self.featurizer = HuggingFaceEmbedding(model=str(tmp_path), width=16)


@pytest.mark.parametrize(
    "choice",
    [
        StructureFeaturizer,
        DosFeaturizer,
        ChargeDensityFeaturizer,
        *get_args(get_args(TextFeaturizer)[0]),
        XrdFeaturizer,
        CompositionFeaturizer,
    ],
)
def test_every_registered_featurizer_conforms(choice):
    tested = {type(tests.featurizer) for tests in FeaturizerConformance.__subclasses__()}
    assert choice in tested
