import pytest
from upath import UPath

from omnimat.materials.workspace import Workspace
from omnimat.sources.ingest import write_slice
from omnimat.sources.merge import merge
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings
from omnimat.training.settings import PretrainSettings


@pytest.fixture(scope="session")
def write_dataset():
    """Ingest into a workspace, in this process."""

    def write_dataset(workspace: Workspace, name: str, settings: IngestSettings) -> None:
        folder = workspace.dataset(name)
        num_shards = -(-settings.source.num_items() // settings.records_per_shard)
        merge(
            name=name,
            source={},
            settings_fingerprint=settings.fingerprint(),
            reports=[write_slice(settings, folder, shard, ()) for shard in range(num_shards)],
            destination=folder,
        )

    return write_dataset


@pytest.fixture(scope="session")
def workspace(tmp_path_factory, write_dataset) -> Workspace:
    """A data set ``prototypes`` of 40 materials."""
    workspace = Workspace(UPath(tmp_path_factory.mktemp("storage")))
    source = Prototypes(num_materials=40, max_atoms=6)
    write_dataset(workspace, "prototypes", IngestSettings(source=source, records_per_shard=10))
    return workspace


@pytest.fixture(scope="session")
def new_settings():
    """Make the settings of a small run; two encoders, one with batch norm."""

    def new_settings(**training) -> PretrainSettings:
        return PretrainSettings.model_validate(
            {
                "dataset": "prototypes",
                "modalities": {
                    "charge_density": {"encoder": {"preset": "tiny"}},
                    "text": {"featurizer": {"source": "hashed"}, "encoder": {"preset": "tiny"}},
                },
                "embedding_dim": 8,
                "objective": {"type": "clip"},
                "training": {
                    "global_batch_size": 8,
                    "num_epochs": 3,
                    "lr": 1e-2,
                    "report_interval_steps": 1,
                    "checkpoint_interval_epochs": 1,
                }
                | training,
            }
        )

    return new_settings
