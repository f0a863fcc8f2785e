"""Prototypes, and a pretraining run ``pre`` of three modalities that was never trained."""

import numpy as np
import pytest
import torch
from upath import UPath

from omnimat.base.workspace import Workspace
from omnimat.evaluation.section import Embedder
from omnimat.models.inputs import featurizers_of, read_cards
from omnimat.shards.manifest import Manifest
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings
from omnimat.stream.source import Source
from omnimat.stream.store import FeatureStore
from omnimat.stream.unit import take
from omnimat.training.loop import build_model
from omnimat.training.settings import PretrainSettings


@pytest.fixture(scope="package")
def pretraining():
    return PretrainSettings(
        dataset="prototypes",
        modalities={
            "structure": {
                "featurizer": {"lattice_sums": "none", "max_neighbors": 8},
                "encoder": {"preset": "tiny", "lattice_sums": False},
            },
            "dos": {"encoder": {"preset": "tiny"}},
            "text": {"featurizer": {"source": "hashed"}, "encoder": {"preset": "tiny"}},
        },
        embedding_dim=16,
        objective={"type": "all_pairs_clip"},
        training={"seed": 7},
    )


@pytest.fixture(scope="package")
def model(pretraining):
    torch.manual_seed(0)
    return build_model(pretraining).eval()


@pytest.fixture(scope="package")
def workspace(tmp_path_factory, pretraining, write_dataset, write_run):
    """Holds the data set and the run; no feature store yet."""
    workspace = Workspace(UPath(tmp_path_factory.mktemp("storage")))
    source = Prototypes(num_materials=90, max_atoms=8)
    write_dataset(workspace, "prototypes", IngestSettings(source=source, records_per_shard=45))
    write_run(workspace, "pre", pretraining)
    return workspace


@pytest.fixture(scope="package")
def embedder(workspace):
    """The run over the data set, with features that were never written down."""
    folder, parent = workspace.dataset("prototypes"), workspace.run("pre")
    records = Manifest.load(folder).records(folder)
    cards = read_cards(parent)
    features = Source(folder, None, featurizers_of(cards)).features(
        take(records, np.arange(len(records)))
    )
    return Embedder(parent, cards, folder, FeatureStore(records, features), batch_size=32)


@pytest.fixture(scope="package")
def split(embedder):
    return embedder.embed("test")
