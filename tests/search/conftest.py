import json

import numpy as np
import pytest
import torch
from pymatgen.io.cif import CifWriter
from torch import nn
from upath import UPath

from omnimat.base.workspace import RESULT, STORAGE_VARIABLE, Workspace
from omnimat.materials.crystals import to_pymatgen
from omnimat.materials.record import Record
from omnimat.modalities.choices import ModalityChoices
from omnimat.modalities.xrd.features import XrdPattern
from omnimat.models.export import Card, save
from omnimat.models.inputs import export_folder
from omnimat.sources.ingest import write_slice
from omnimat.sources.merge import merge
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings
from omnimat.testing.materials import encoder_arrays

NUM_MATERIALS, RECORDS_PER_SHARD = 30, 20
ENDINGS = {"structure": ".cif", "dos": ".csv", "xrd": ".xy"}
SOURCE = Prototypes(num_materials=NUM_MATERIALS, max_atoms=6)

CHOICES = {
    "structure": {
        "featurizer": {"lattice_sums": "none", "max_neighbors": 8},
        "encoder": {"preset": "tiny", "lattice_sums": False},
    },
    "dos": {"encoder": {"preset": "tiny"}},
    "text": {"featurizer": {"source": "hashed"}, "encoder": {"preset": "tiny"}},
    "xrd": {"encoder": {"preset": "tiny"}},
    "composition": {"encoder": {"preset": "tiny"}},
}


@pytest.fixture(scope="session")
def records() -> list[Record]:
    return [item for item in SOURCE.read(0, NUM_MATERIALS) if isinstance(item, Record)]


@pytest.fixture(scope="session")
def sought(records) -> Record:
    """AuTe2, monoclinic."""
    return records[15]


@pytest.fixture(scope="session")
def workspace(tmp_path_factory, records) -> Workspace:
    """Thirty prototypes without a feature store, and runs with encoders that were never trained.

    ``pre`` has five modalities, ``two`` only XRD and composition, ``stored`` a text encoder that
    takes stored embeddings.
    """
    workspace = Workspace(UPath(tmp_path_factory.mktemp("storage")))
    write_dataset(workspace.dataset("prototypes"))
    write_run(workspace, "pre", CHOICES, records)
    two = {name: CHOICES[name] for name in ("xrd", "composition")}
    write_run(workspace, "two", two, records)
    stored = {"text": {"encoder": {"preset": "tiny"}}, "xrd": CHOICES["xrd"]}
    write_run(workspace, "stored", stored, records)
    return workspace


@pytest.fixture
def storage(workspace, monkeypatch) -> Workspace:
    """The workspace as the command line finds it."""
    monkeypatch.setenv(STORAGE_VARIABLE, str(workspace.root))
    return workspace


def write_dataset(folder: UPath) -> None:
    settings = IngestSettings(source=SOURCE, records_per_shard=RECORDS_PER_SHARD)
    shards = range(-(-NUM_MATERIALS // RECORDS_PER_SHARD))
    merge(
        name=folder.name,
        source={},
        settings_fingerprint=settings.fingerprint(),
        reports=[write_slice(settings, folder, shard, ()) for shard in shards],
        destination=folder,
    )


@torch.no_grad()
def center(encoder: nn.Module, arrays: dict[str, torch.Tensor]) -> None:
    """Take away what all materials have in common: nearly all that a random encoder says."""
    last = [module for module in encoder.modules() if isinstance(module, nn.Linear)][-1]
    last.bias -= encoder(arrays).mean(dim=0)


def write_run(workspace: Workspace, name: str, choices: dict, records: list[Record]) -> None:
    """Export random encoders as a finished pretraining would."""
    torch.manual_seed(0)
    for modality, choice in ModalityChoices.model_validate(choices).chosen().items():
        card = Card(
            modality=modality,
            encoder=choice.encoder,
            featurizer=choice.featurizer.model_dump(),
            embedding_dim=16,
            parent_run=name,
            config_hash="0",
            dataset_fingerprint="0",
            samples_seen=0,
        )
        encoder = choice.encoder.build(16).eval()
        if name == "pre":
            center(encoder, encoder_arrays(records, choice.featurizer))
        save(export_folder(workspace.run(name), modality), encoder, card)
    (workspace.run(name) / RESULT).write_text(json.dumps({"settings": {"dataset": "prototypes"}}))


@pytest.fixture(scope="session")
def query_files(tmp_path_factory, sought) -> dict[str, str]:
    """What a user would have at hand of the material ``sought``, by modality."""
    folder, record = tmp_path_factory.mktemp("queries"), sought
    files = {name: str(folder / f"sought{ending}") for name, ending in ENDINGS.items()}
    crystal = to_pymatgen(record.structure)
    CifWriter(crystal, significant_figures=10).write_file(files["structure"])
    curve = np.stack([record.parts["dos"].energies_ev, record.parts["dos"].spin_up_per_ev], axis=1)
    np.savetxt(files["dos"], curve, delimiter=",", header="energies_ev,dos", comments="")
    pattern = XrdPattern()
    counts = pattern(record)["intensity"] * 37.5  # a detector counts on a scale of its own
    table = np.stack([pattern.two_theta_degree, counts], axis=1)
    np.savetxt(files["xrd"], table, header="sample 7\n2theta intensity")
    return files | {
        "composition": crystal.composition.formula.replace(" ", ""),
        "text": record.parts["text"],
    }
