"""An honest leaderboard: a small data set, and the rows of real runs on it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from upath import UPath

from omnimat.base.files import write_atomically
from omnimat.base.provenance import sha256_of
from omnimat.base.workspace import Workspace
from omnimat.cli.recomputation import recomputation
from omnimat.evaluation.evaluate import evaluate
from omnimat.evaluation.settings import EvaluateSettings
from omnimat.finetune.ensemble import ensemble_row
from omnimat.finetune.outcome import trial_folder
from omnimat.finetune.plan import make_plan
from omnimat.finetune.rows import Scored, make_row
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.trial import predict, predict_mean, run_trial
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.materials.record import Record, Structure
from omnimat.materials.split import split_sha256
from omnimat.modalities.dos import DensityOfStates
from omnimat.models.inputs import read_cards
from omnimat.shards.manifest import RECORDS_NAME, Manifest, dataset_fingerprint
from omnimat.testing.leased import leased
from omnimat.training.settings import PretrainSettings
from omnimat.verification.verify import verify

NUM_RECORDS = 60
SYSTEMS = ("cubic", "hexagonal", "tetragonal")
TASKS = (
    {"name": "lattice lengths", "target": "lattice_lengths_angstrom", "unit": "angstrom"},
    {"name": "crystal system", "target": "crystal_system", "kind": "classification"},
    {"name": "mean number", "target": "mean_number", "unit": "e", "transform": "log10"},
)

ZERO_SHOT = {
    "name": "crystal system",
    "target": "crystal_system",
    "prompts": {label: [f"a {label} crystal"] for label in SYSTEMS[:2]},
    "modality": "dos",
}
SECTIONS = {
    "retrieval": {"pool_size": 10, "num_choices": [4, 10]},
    "discovery": {"max_neighbors": 5, "seed": 3},
    "zero_shot": {"tasks": [ZERO_SHOT]},
    "clusters": {"max_materials": 10},
}


def split_of(material_id):
    return {"8": "validation", "9": "test", "4": "test"}.get(material_id[-1], "train")


def record(index):
    """A caesium chloride; every seventh has no density of states, one has no mean number.

    Two in succession are of the same elements.
    """
    numbers = np.random.default_rng(index // 2).integers(3, 50, 2).astype(np.int32)
    lengths = np.random.default_rng(index).uniform(3, 4, 3)
    properties = {
        "lattice_lengths_angstrom": lengths.tolist(),
        "crystal_system": SYSTEMS[index % 3],
        "space_group_number": 221,
        "mean_number": None if index == 19 else float(numbers.mean()),
    }
    structure = Structure(np.diag(lengths), numbers, np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]))
    energies = np.linspace(-5, 5, 16, dtype=np.float32)
    peak = np.exp(-((energies - (numbers.mean() - 25) / 10) ** 2))
    dos = None if index % 7 == 3 else DensityOfStates(energies, peak)
    text = f"elements {numbers[0]} and {numbers[1]}, {lengths[0]:.1f} wide"
    parts = {"structure": structure, "text": text} | ({} if dos is None else {"dos": dos})
    return Record(f"mat-{index:03d}", parts, properties=properties)


RECORDS = [record(index) for index in range(NUM_RECORDS)]


PRETRAINING = PretrainSettings(
    dataset="cubes",
    modalities={
        "structure": {
            "featurizer": {"lattice_sums": "none", "max_neighbors": 8},
            "encoder": {"preset": "tiny", "lattice_sums": False},
        },
        "dos": {"featurizer": {"num_points": 16}, "encoder": {"preset": "tiny"}},
        "text": {"featurizer": {"source": "hashed"}, "encoder": {"preset": "tiny"}},
    },
    embedding_dim=8,
    objective={"type": "all_pairs_clip"},
    training={"seed": 5, "global_batch_size": 8},
)


def sweep_settings(modality):
    return FinetuneSettings(
        dataset="cubes",
        run="pre",
        modalities=[modality],
        tasks=TASKS,
        variants=["frozen"],
        learning_rates=[1e-3],
        grid={"weight_decay": [0.0]},
        seeds=[0, 1],
        trial={"num_epochs": 3, "batch_size": 16},
    )


def finetune(workspace, modality):
    """Run the trials of a sweep, predict the test split and make rows, all in this process.

    Returns:
        The rows of the networks by task, and those of the means of both seeds.
    """
    settings = sweep_settings(modality)
    cards, run = read_cards(workspace.run("pre")), workspace.run(f"fit-{modality}")
    plan = make_plan(settings, workspace, cards)
    members = []
    for trial in settings.trials():
        folder = trial_folder(run, trial)
        members.append((run_trial(plan, trial, folder, lambda entry: None), folder))
    of_each = [predict(plan, *member, "test") for member in members]
    of_mean = predict_mean(plan, members, "test")
    rows, means = [], []
    for task in settings.tasks:
        own = []
        for (result, folder), tables in zip(members, of_each, strict=True):
            path = written(run, task, result.settings.name, tables[task.name])
            scored = Scored(task, result, folder, tables[task.name], path)
            own.append(make_row(run.name, settings, plan, cards, scored, workspace.files))
        rows += own
        path = written(run, task, "mean", of_mean[task.name])
        uri, sha256 = workspace.files.name_of(path), sha256_of(path)
        files = {"predictions_uri": uri, "predictions_sha256": sha256}
        means.append(ensemble_row(own, task, of_mean[task.name], files))
    return rows, means


def written(run, task, name, table):
    path = run / "predictions" / task.slug / f"{name}.parquet"
    write_atomically(path, table.to_parquet(index=False))
    return path


@pytest.fixture(scope="session")
def honest(tmp_path_factory, write_records, write_run, write_features):
    """A workspace with the rows that its runs have written, by section; not to be changed."""
    workspace = Workspace(UPath(tmp_path_factory.mktemp("honest")))
    half = NUM_RECORDS // 2
    write_records(workspace.dataset("cubes"), [RECORDS[:half], RECORDS[half:]], split_of)
    write_run(workspace, "pre", PRETRAINING)
    write_features(workspace, "cubes", PRETRAINING.modalities.featurizers())
    settings = EvaluateSettings(dataset="cubes", run="pre", **SECTIONS)
    rows = evaluate("score", settings, workspace, leased(workspace.run("score")))
    fits, means = {}, {}
    for modality in ("structure", "dos"):
        fits[modality], means[f"mean of {modality}"] = finetune(workspace, modality)
    by_section = {key: [row for row in rows if row.section == key] for key in SECTIONS}
    return workspace, by_section | fits | means


@dataclass
class Bench:
    """A copy of the honest workspace with a leaderboard of its own, and what tests do to them."""

    workspace: Workspace
    rows: dict

    @property
    def store(self):
        return LeaderboardStore(self.workspace.leaderboard_url)

    @property
    def dataset(self):
        return self.workspace.dataset("cubes")

    def verify(self, **selected):
        return verify(self.store, self.workspace.files, recomputation, **selected)

    def sweep_settings(self, modality):
        """The settings of which the rows of this modality are."""
        return sweep_settings(modality)

    def evaluate_settings(self, section):
        """Settings that give the rows of this section alone."""
        others = {"retrieval": None, section: SECTIONS[section]}
        return EvaluateSettings(dataset="cubes", run="pre", **others)

    def file(self, name):
        """The place of a file that a row names."""
        return Path(str(self.workspace.root / name))

    def test_records(self):
        return [one for one in RECORDS if split_of(one.material_id) == "test"]

    def rewrite_index(self, edit, folder=None):
        """Edit the index of a data set, and the name and every hash in the manifest with it."""
        folder = folder or self.dataset
        manifest, path = Manifest.load(folder), folder / RECORDS_NAME
        index = edit(pd.read_parquet(path))
        index.to_parquet(path)
        splits = split_sha256(zip(index["material_id"], index["split"], strict=True))
        hashes = {"records_sha256": sha256_of(path), "split_sha256": splits}
        hashes["dataset_fingerprint"] = dataset_fingerprint(manifest.shards, splits)
        manifest.model_copy(update=hashes | {"name": folder.name}).save(folder)

    def with_another_split(self, row):
        """Give a row of the same records, of which one of the test split is in training."""
        folder = self.dataset.with_name("moved")
        shutil.copytree(str(self.dataset), str(folder))
        self.rewrite_index(move_to_training, folder)
        manifest = Manifest.load(folder)
        names = ("dataset_fingerprint", "split_sha256")
        changes = {name: getattr(manifest, name) for name in names}
        return row.model_copy(
            update=changes | {"dataset": manifest.name, "dataset_uri": f"datasets/{folder.name}"}
        )


def move_to_training(index):
    index.loc[4, "split"] = "train"
    return index


@pytest.fixture
def bench(honest, tmp_path):
    workspace, rows = honest
    copy = tmp_path / "storage"
    ignored = shutil.ignore_patterns("leaderboard.sqlite*", "features")
    shutil.copytree(str(workspace.root), copy, ignore=ignored)
    return Bench(Workspace(UPath(copy)), rows)
