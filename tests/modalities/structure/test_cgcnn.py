import copy

import torch

from omnimat.modalities.structure.cgcnn import CgcnnSettings
from omnimat.testing.encoder_conformance import as_double, trained
from omnimat.testing.materials import encoder_arrays, example_records, featurizer_for
from omnimat.testing.published_graphs import in_published_form


def test_it_equals_its_published_form() -> None:
    settings = CgcnnSettings(preset="tiny")
    ours = settings.build(8).double()
    published = in_published_form(copy.deepcopy(ours))
    arrays = as_double(encoder_arrays(example_records(), featurizer_for(settings)))
    torch.testing.assert_close(*(trained(one, arrays) for one in (ours, published)))
