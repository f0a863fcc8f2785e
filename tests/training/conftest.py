import pytest
from upath import UPath

from omnimat.base.workspace import Workspace
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings
from omnimat.training.settings import PretrainSettings


@pytest.fixture(scope="session")
def workspace(tmp_path_factory, write_dataset) -> Workspace:
    """A workspace that holds ``prototypes``, a data set of 40 materials."""
    workspace = Workspace(UPath(tmp_path_factory.mktemp("storage")))
    source = Prototypes(num_materials=40, max_atoms=6)
    write_dataset(workspace, "prototypes", IngestSettings(source=source, records_per_shard=10))
    return workspace


@pytest.fixture(scope="session")
def new_settings():
    """Return a function that makes the settings of a small run with batch norm in one encoder."""

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
