import numpy as np
import pytest
import torch
from upath import UPath

from omnimat.base.workspace import Workspace
from omnimat.finetune.plan import make_plan
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.tasks import TaskSettings
from omnimat.materials.record import Record, Structure
from omnimat.modalities.dos import DensityOfStates
from omnimat.modalities.dos.features import DosCurve
from omnimat.modalities.dos.transformer import DosTransformerSettings
from omnimat.modalities.structure.features import CrystalGraph
from omnimat.modalities.structure.potnet import PotNetSettings
from omnimat.models.export import Card, save
from omnimat.models.inputs import export_folder, featurizers_of, read_cards

NUM_RECORDS = 60


def record(index: int) -> Record:
    """A caesium chloride of two elements; its mean atomic number is easy to learn.

    Its density of states, a peak at a place that tells the mean too, is missing for every seventh.
    Record 5 has no fold.
    """
    generator = np.random.default_rng(index)
    numbers = generator.integers(3, 50, 2).astype(np.int32)
    properties = {"mean_atomic_number": float(numbers.mean()), "is_heavy": bool(numbers[0] > 25)}
    properties["atomic_numbers"] = sorted(numbers.tolist())
    if split_of(index) != "test":
        properties["known_in_training"] = 1.0
    if index == 0 or split_of(index) != "train":
        properties["rare"] = 1.0
    if index == 1:
        properties["mean_atomic_number"] = None
    if index != 5:
        properties["fold"] = float(index % 3)  # as labels store numbers
    structure = Structure(
        np.eye(3) * generator.uniform(3, 4), numbers, np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]])
    )
    energies = np.linspace(-5, 5, 16, dtype=np.float32)
    peak = np.exp(-((energies - (numbers.mean() - 25) / 5) ** 2))
    dos = None if index % 7 == 3 else DensityOfStates(energies, peak)
    parts = {"structure": structure} | ({} if dos is None else {"dos": dos})
    return Record(f"mat-{index:03d}", parts, properties=properties)


def split_of(index: int) -> str:
    return {8: "validation", 9: "test"}.get(index % 10, "train")


@pytest.fixture(scope="session")
def workspace(tmp_path_factory, write_records, write_features) -> Workspace:
    """Data sets with their feature stores, and a run ``pre`` with random encoders.

    ``cubes-unlike`` has other materials than ``cubes`` in its test split alone.
    """
    workspace = Workspace(UPath(tmp_path_factory.mktemp("storage")))
    graph = CrystalGraph(lattice_sums="none", max_neighbors=8)
    cards = {
        "structure": _card(PotNetSettings(preset="tiny", lattice_sums=False), graph),
        "dos": _card(DosTransformerSettings(preset="tiny"), DosCurve(num_points=16)),
    }
    torch.manual_seed(0)
    for modality, card in cards.items():
        save(export_folder(workspace.run("pre"), modality), card.encoder.build(16), card)
    records = [record(index) for index in range(NUM_RECORDS)]
    unlike = [record(i + NUM_RECORDS if split_of(i) == "test" else i) for i in range(NUM_RECORDS)]
    for name, shard in (("cubes", records), ("cubes-unlike", unlike)):
        write_records(
            workspace.dataset(name), [shard], lambda material: split_of(int(material[-3:]))
        )
        write_features(workspace, name, featurizers_of(cards))
    return workspace


def _card(encoder, featurizer) -> Card:
    return Card(
        modality=featurizer.modality,
        encoder=encoder,
        featurizer=featurizer.model_dump(),
        embedding_dim=16,
        parent_run="pre",
        config_hash="0",
        dataset_fingerprint="0",
        samples_seen=640,
    )


@pytest.fixture(scope="session")
def settings() -> FinetuneSettings:
    """A sweep of two rates and two seeds."""
    return FinetuneSettings(
        dataset="cubes",
        run="pre",
        tasks=(TaskSettings(name="mean atomic number", target="mean_atomic_number", unit="e"),),
        learning_rates=(1e-5, 1e-2),
        seeds=(0, 1),
        trial={"num_epochs": 8, "batch_size": 16},
    )


@pytest.fixture(scope="session")
def plan(workspace, settings):
    return make_plan(settings, workspace, read_cards(workspace.run("pre")))
