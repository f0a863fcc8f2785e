import copy

import torch

from omnimat.modalities.structure.cgcnn import CgcnnSettings
from omnimat.testing.encoder_conformance import as_double
from omnimat.testing.materials import encoder_arrays, example_records, featurizer_for
from omnimat.testing.published_graphs import in_published_form


def test_it_equals_its_published_form() -> None:
    settings = CgcnnSettings(preset="tiny")
    ours = settings.build(8).double()
    published = in_published_form(copy.deepcopy(ours))
    arrays = as_double(encoder_arrays(example_records(), featurizer_for(settings)))
    results = []
    for network in (ours, published):
        embeddings = network(arrays)
        embeddings.sin().sum().backward()
        gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
        results.append((embeddings.detach(), gradients, dict(network.named_buffers())))
    torch.testing.assert_close(*results)
