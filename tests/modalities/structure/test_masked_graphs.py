"""Graphs whose atoms and edges an augmentation has masked."""

import numpy as np
import pytest
import torch

from omnimat.modalities.structure.cgcnn import CgcnnSettings
from omnimat.modalities.structure.dimenetpp import DimeNetPlusPlusSettings
from omnimat.modalities.structure.painn import PaiNNSettings
from omnimat.modalities.structure.potnet import PotNetSettings
from omnimat.testing.materials import encoder_arrays, example_records, featurizer_for

WITH_CUTOFF = [PaiNNSettings, DimeNetPlusPlusSettings]
EVERY_SEVENTH = slice(None, None, 7)


def build(settings):
    torch.manual_seed(0)
    encoder = settings(preset="tiny")
    arrays = encoder_arrays(example_records()[:4], featurizer_for(encoder))
    return encoder.build(16), dict(arrays)


def masked(arrays):
    numbers, vectors = (arrays[k].clone() for k in ("atomic_numbers", "edge_vectors_angstrom"))
    numbers[EVERY_SEVENTH], vectors[EVERY_SEVENTH] = 0, 0
    return {**arrays, "atomic_numbers": numbers, "edge_vectors_angstrom": vectors}


@pytest.mark.parametrize("settings", [*WITH_CUTOFF, PotNetSettings, CgcnnSettings])
def test_value_and_gradients_are_finite(settings):
    encoder, arrays = build(settings)
    embeddings = encoder(masked(arrays))
    assert embeddings.isfinite().all()
    embeddings.square().sum().backward()
    for parameter in encoder.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize("settings", WITH_CUTOFF)
def test_a_masked_edge_is_as_if_it_were_not_there(settings):
    encoder, arrays = build(settings)
    arrays = masked(arrays)
    kept = np.ones(len(arrays["edge_sources"]), dtype=bool)
    kept[EVERY_SEVENTH] = False
    edges = ("edge_sources", "edge_targets", "edge_vectors_angstrom")
    removed = arrays | {name: arrays[name][kept] for name in edges}
    removed.pop("joined_edges")
    # The float32 sums run over fewer zeros.
    torch.testing.assert_close(encoder(arrays), encoder(removed), rtol=1e-4, atol=1e-5)
