"""Every featurizer, by the rules that hold for all."""

import dataclasses

import numpy as np
import pytest

from omnimat.features.charge_density import ChargeDensityGrid
from omnimat.features.composition import Magpie
from omnimat.features.dos import DosCurve
from omnimat.features.registry import FEATURIZERS
from omnimat.features.structure import CrystalGraph
from omnimat.features.text import TextEmbedding
from omnimat.features.xrd import XrdPattern
from omnimat.testing.featurizer_conformance import FeaturizerConformance


class TestCrystalGraph(FeaturizerConformance):
    featurizer = CrystalGraph()


class TestDosCurve(FeaturizerConformance):
    featurizer = DosCurve()
    needs = ("dos",)


class TestChargeDensityGrid(FeaturizerConformance):
    featurizer = ChargeDensityGrid()
    needs = ("charge_density",)


class TestRawChargeDensityGrid(FeaturizerConformance):
    """Nothing is to be done to a grid of the right size, so its memory could be shared."""

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


@pytest.mark.parametrize("modality", FEATURIZERS)
def test_every_default_featurizer_conforms(modality):
    tested = {type(tests.featurizer) for tests in FeaturizerConformance.__subclasses__()}
    assert FEATURIZERS[modality] in tested
