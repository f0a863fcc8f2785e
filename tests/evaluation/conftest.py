"""Prototypes, and a pretraining run ``pre`` of three modalities that was never trained."""

import json

import numpy as np
import pytest
import torch
from upath import UPath

from omnimat.base.workspace import Workspace
from omnimat.evaluation.section import Embedder
from omnimat.models.export import Card, save
from omnimat.models.inputs import export_folder, featurizers_of, read_cards
from omnimat.shards.manifest import Manifest
from omnimat.sources.ingest import write_slice
from omnimat.sources.merge import merge
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings
from omnimat.stream.source import Source
from omnimat.stream.store import FeatureStore
from omnimat.stream.unit import take
from omnimat.training.model import Multimodal
from omnimat.training.settings import PretrainSettings

NUM_MATERIALS, RECORDS_PER_SHARD = 90, 45


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
    encoders = {
        name: choice.encoder.build(16) for name, choice in pretraining.modalities.chosen().items()
    }
    return Multimodal(encoders, 16, 0.2, False).eval()


@pytest.fixture(scope="package")
def workspace(tmp_path_factory, pretraining, model):
    """Holds the data set and the run; no feature store yet."""
    workspace = Workspace(UPath(tmp_path_factory.mktemp("storage")))
    settings = IngestSettings(
        source=Prototypes(num_materials=NUM_MATERIALS, max_atoms=8),
        records_per_shard=RECORDS_PER_SHARD,
    )
    folder = workspace.dataset("prototypes")
    merge(
        name="prototypes",
        source={},
        settings_fingerprint=settings.fingerprint(),
        reports=[
            write_slice(settings, folder, shard, ())
            for shard in range(NUM_MATERIALS // RECORDS_PER_SHARD)
        ],
        destination=folder,
    )
    run = workspace.run("pre")
    for name, choice in pretraining.modalities.chosen().items():
        card = Card(
            modality=name,
            encoder=choice.encoder,
            featurizer=choice.featurizer.model_dump(),
            embedding_dim=16,
            parent_run="pre",
            config_hash=pretraining.fingerprint(),
            dataset_fingerprint="0",
            samples_seen=640,
        )
        save(export_folder(run, name), model.encoders[name], card)
    (run / "result.json").write_text(json.dumps({"settings": pretraining.model_dump(mode="json")}))
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
