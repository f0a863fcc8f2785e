"""An honest leaderboard: a small data set, its predictions and embeddings, and rows of them."""

import io
import json
import shutil
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import normalize
from upath import UPath

from omnimat.base.provenance import sha256_of
from omnimat.base.settings import fingerprint
from omnimat.base.workspace import Workspace
from omnimat.evaluation.clusters import ClustersSettings
from omnimat.evaluation.discovery import DiscoverySettings, Neighbors
from omnimat.evaluation.dos_curves import Curves, best_of, read_densities
from omnimat.evaluation.duplicates import by_symmetry
from omnimat.evaluation.metrics import METRICS, per_class_accuracy
from omnimat.evaluation.retrieval import RetrievalSettings
from omnimat.evaluation.section import Finding
from omnimat.evaluation.zero_shot import PromptTask
from omnimat.finetune.tasks import TaskSettings, read_targets
from omnimat.leaderboard.row import Row
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.materials.crystals import reduced_formula
from omnimat.materials.record import Record, Structure
from omnimat.materials.split import split_sha256
from omnimat.modalities.dos import DensityOfStates
from omnimat.modalities.dos.features import DosCurve
from omnimat.modalities.dos.transformer import DosTransformerSettings
from omnimat.modalities.structure.features import CrystalGraph
from omnimat.modalities.structure.potnet import PotNetSettings
from omnimat.models.export import Card, save
from omnimat.objectives.embeddings import Embeddings
from omnimat.shards.manifest import RECORDS_NAME, Manifest, dataset_fingerprint
from omnimat.shards.writer import write_shard

NUM_RECORDS = 60
TASKS = (
    TaskSettings(name="lattice lengths", target="lattice_lengths_angstrom", unit="angstrom"),
    TaskSettings(name="crystal system", target="crystal_system", kind="classification"),
    TaskSettings(name="mean number", target="mean_number", unit="e", transform="log10"),
)
SYSTEMS = ("cubic", "hexagonal", "tetragonal")


def split_of(index):
    return {8: "validation", 9: "test", 4: "test"}.get(index % 10, "train")


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
    parts = {"structure": structure} | ({} if dos is None else {"dos": dos})
    return Record(f"mat-{index:03d}", parts, properties=properties)


def write_dataset(directory):
    """Two shards, with the manifest that an ingest would write."""
    records = [record(index) for index in range(NUM_RECORDS)]
    half = NUM_RECORDS // 2
    written = [
        write_shard(directory / f"shard-{shard:05d}.tar", records[shard * half :][:half])
        for shard in range(2)
    ]
    rows = [row | {"shard": shard} for shard, one in enumerate(written) for row in one.rows]
    index = pd.DataFrame(rows).assign(
        split=[split_of(i) for i in range(NUM_RECORDS)],
        reduced_formula=[reduced_formula(one.structure.atomic_numbers) for one in records],
    )
    index.to_parquet(directory / RECORDS_NAME)
    write_manifest(directory, index, tuple(one.entry for one in written))


def write_manifest(directory, index, shards):
    splits = split_sha256(zip(index["material_id"], index["split"], strict=True))
    Manifest(
        name=directory.name,
        source={},
        settings_fingerprint="0",
        licences=(),
        database_versions=(),
        shards=shards,
        split_counts=index["split"].value_counts().to_dict(),
        split_sha256=splits,
        records_sha256=sha256_of(directory / RECORDS_NAME),
        num_failures=0,
        dataset_fingerprint=dataset_fingerprint(shards, splits),
    ).save(directory)


def trial_result(seed):
    """What a trial says of itself, as far as rows have it too."""
    settings = {"seed": seed, "variant": "frozen", "train_fraction": 1.0, "lr": 1e-3}
    settings |= {"chosen": ["weight_decay"], "weight_decay": 0.0}
    counts = {"samples_seen": 120, "num_records": {"train": 40, "validation": 6}}
    return {"settings": settings, "best_epoch": 3, **counts}


def cards():
    """Encoders of two modalities."""
    graph = CrystalGraph(lattice_sums="none", max_neighbors=8)
    encoders = {
        graph: PotNetSettings(preset="tiny", lattice_sums=False),
        DosCurve(num_points=16): DosTransformerSettings(preset="tiny"),
    }
    return {
        featurizer.modality: Card(
            modality=featurizer.modality,
            encoder=encoder,
            featurizer=featurizer.model_dump(),
            embedding_dim=8,
            parent_run="pre",
            config_hash="0",
            dataset_fingerprint="0",
            samples_seen=0,
        )
        for featurizer, encoder in encoders.items()
    }


@dataclass
class Bench:
    """A workspace with a leaderboard of its own, and what tests do to them."""

    workspace: Workspace

    @property
    def url(self):
        return self.workspace.leaderboard_url

    @property
    def store(self):
        return LeaderboardStore(self.url)

    @property
    def dataset(self):
        return self.workspace.dataset("cubes")

    def test_records(self):
        return [record(index) for index in range(NUM_RECORDS) if split_of(index) == "test"]

    def properties(self, modalities):
        """Predictions for every task and two seeds, as a fine-tuning run leaves them; its rows."""
        used = [one for one in self.test_records() if "dos" not in modalities or "dos" in one.parts]
        known = cards()
        config = {
            "tasks": [task.model_dump(mode="json") for task in TASKS],
            "modalities": list(modalities),
            "missing_modalities": "leave_out",
            "train_fraction": 1.0,
            "cards": {name: known[name].model_dump(mode="json") for name in modalities},
        }
        return [self._property_row(task, seed, used, config) for task in TASKS for seed in (0, 1)]

    def _property_row(self, task, seed, used, config):
        run = self.workspace.run(f"fit-{'-'.join(config['modalities'])}")
        trial = run / "trials" / f"frozen-seed{seed}"
        trial.mkdir(parents=True, exist_ok=True)
        (trial / "model.safetensors").write_bytes(f"weights of seed {seed}".encode())
        (trial / "trial.json").write_text(json.dumps(trial_result(seed)))
        table = self.predictions(task, seed, used)
        path = run / "predictions" / task.name.replace(" ", "-") / f"frozen-seed{seed}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(path)
        return Row(
            task=task.name,
            metric=task.metric_name,
            unit=task.unit,
            higher_is_better=task.scoring.higher_is_better,
            model=" + ".join(config["modalities"]),
            variant="frozen",
            seed=seed,
            value=task.scoring.function(table["target"].tolist(), table["prediction"].tolist()),
            num_test=len(table),
            config=config,
            config_hash=fingerprint(config),
            checkpoint_uri=str(trial / "model.safetensors"),
            checkpoint_sha256=sha256_of(trial / "model.safetensors"),
            predictions_uri=str(path),
            predictions_sha256=sha256_of(path),
            run_name=run.name,
            hyperparameters={"lr": 1e-3, "weight_decay": 0.0, "best_epoch": 3},
            samples_seen=120,
            details=details_of(task, table) | {"num_train": 40},
            **self.common(),
        )

    def predictions(self, task, seed, used):
        """A table of targets out of the records, and guesses that are off."""
        targets = read_targets([json.dumps(dict(one.properties)) for one in used], task)
        generator = np.random.default_rng(seed)
        if task.kind == "classification":
            guesses = generator.choice(SYSTEMS, len(used))
        else:
            guesses = targets.values + generator.uniform(0.1, 0.2, targets.values.shape)
        table = pd.DataFrame(
            {
                "material_id": [one.material_id for one in used],
                "target": list(targets.values),
                "prediction": list(guesses),
                "split": "test",
            }
        )
        return table[targets.is_known].reset_index(drop=True)

    def common(self):
        manifest = Manifest.load(self.dataset)
        return {
            "dataset": "cubes",
            "dataset_uri": str(self.dataset),
            "dataset_fingerprint": manifest.dataset_fingerprint,
            "split_sha256": manifest.split_sha256,
            "code_commit": "c" * 40,
            "code_dirty": False,
        }

    def with_another_split(self, row):
        """Give a row of the same records, of which one of the test split is in training."""
        folder = self.dataset.with_name("moved")
        shutil.copytree(str(self.dataset), str(folder))
        index = pd.read_parquet(folder / RECORDS_NAME)
        index.loc[4, "split"] = "train"
        index.to_parquet(folder / RECORDS_NAME)
        write_manifest(folder, index, Manifest.load(self.dataset).shards)
        manifest = Manifest.load(folder)
        names = ("dataset_fingerprint", "split_sha256")
        changes = {name: getattr(manifest, name) for name in names}
        return row.model_copy(
            update=changes | {"dataset": manifest.name, "dataset_uri": str(folder)}
        )

    def embedded(self):
        """Embed the test split, as an evaluation does: what its sections look at."""
        pre, run = self.workspace.run("pre"), self.workspace.run("score")
        torch.manual_seed(0)
        for modality, card in cards().items():
            save(pre / "export" / modality, card.encoder.build(8), card)
        (pre / "result.json").write_text(json.dumps({"settings": {"training": {"seed": 5}}}))
        records = self.test_records()
        present = {
            "structure": torch.ones(len(records), dtype=torch.bool),
            "dos": torch.tensor(["dos" in one.parts for one in records]),
        }
        values = {
            name: normalize(torch.randn(len(records), 8), dim=1) * there[:, None]
            for name, there in present.items()
        }
        index = Manifest.load(self.dataset).records(self.dataset)
        index = index[index["split"] == "test"].reset_index(drop=True)
        properties = [dict(one.properties) for one in records]
        groups = by_symmetry(index, properties, self.dataset)
        arrays = {"material_id": np.array([one.material_id for one in records])}
        arrays |= {"duplicate_group": groups}
        arrays |= {name: value.numpy() for name, value in values.items()}
        arrays |= {f"{name}_present": value.numpy() for name, value in present.items()}
        run.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        (run / "embeddings.npz").write_bytes(buffer.getvalue())
        return SimpleNamespace(
            embeddings=Embeddings(values, present), groups=groups, properties=properties
        )

    def retrieval(self):
        """Rows of retrieval."""
        split = self.embedded()
        settings = RetrievalSettings(pool_size=10, num_choices=(4, 10))
        return self.rows_of(settings.score(split.embeddings, split.groups, "symmetry"))

    def clusters(self):
        """Rows about how the embeddings are laid out."""
        return self.rows_of(ClustersSettings(max_materials=10).evaluate(self.embedded(), None))

    def zero_shot(self):
        """Rows of crystal systems told from sentences."""
        self.embedded()
        task = PromptTask(
            name="crystal system",
            target="crystal_system",
            prompts={label: (f"a {label} crystal",) for label in SYSTEMS[:2]},
            modality="dos",
        )
        known = [one for one in self.test_records() if "dos" in one.parts]
        known = [one for one in known if one.properties["crystal_system"] in task.prompts]
        truth = [one.properties["crystal_system"] for one in known]
        guesses = np.random.default_rng(0).choice(SYSTEMS[:2], len(known)).tolist()
        ids = [one.material_id for one in known]
        columns = {"material_id": ids, "target": truth, "prediction": guesses, "split": "test"}
        pd.DataFrame(columns).to_parquet(self.workspace.run("score") / task.file)
        most = max(truth.count(label) for label in truth) / len(truth)
        majority = {"accuracy": most, "balanced_accuracy": 1 / len(set(truth))}
        return self.rows_of(
            Finding(
                task="zero-shot crystal system of dos",
                metric=metric,
                value=METRICS[metric].function(truth, guesses),
                higher_is_better=True,
                num_test=len(known),
                predictions=task.file,
                details={
                    "per_class_accuracy": per_class_accuracy(truth, guesses),
                    "chance": 1 / 2,
                    "num_per_class": {label: truth.count(label) for label in sorted(set(truth))},
                    "num_left_out": len(self.test_records()) - len(known),
                    "majority": majority[metric],
                },
                settings={"zero_shot": task.model_dump(mode="json")},
            )
            for metric in ("accuracy", "balanced_accuracy")
        )

    def discovery(self):
        """Rows of crystals found by a density of states."""
        self.embedded()
        index = Manifest.load(self.dataset).records(self.dataset)
        wishes, known = (self._curves(index, split) for split in ("test", "train"))
        found = Neighbors.among(wishes, known, 5)
        (self.workspace.run("score") / "discovery.parquet").write_bytes(found.to_parquet())
        chance = DiscoverySettings(seed=3)._by_chance(wishes, known, 5)
        counts = {
            "num_targets": len(wishes.ids),
            "num_dropped": 0,
            "num_candidates": len(known.ids),
        }
        return self.rows_of(
            Finding(
                task="discovery dos -> structure",
                metric=f"nMAE, best of {n}",
                value=best_of(found.errors)[n - 1],
                higher_is_better=False,
                num_test=len(wishes.ids),
                predictions="discovery.parquet",
                details={"chance": chance[n - 1], **counts},
                settings={"discovery": {"candidates": "train"}},
            )
            for n in (1, 5)
        )

    def _curves(self, index, split):
        records = index[index["split"] == split].reset_index(drop=True)
        rows, densities = read_densities(self.dataset, records)
        values = normalize(torch.randn(len(rows), 8), dim=1)
        return Curves(records["material_id"].to_numpy(dtype=str)[rows], values, densities)

    def rows_of(self, findings):
        """Rows of an evaluation's findings."""
        return [self._row_of(finding) for finding in findings]

    def _row_of(self, finding):
        pre, run = self.workspace.run("pre"), self.workspace.run("score")
        config = {"pretrain": {}, "split": "test", **finding.settings}
        return Row(
            task=finding.task,
            metric=finding.metric,
            higher_is_better=finding.higher_is_better,
            model="pre",
            variant="pretrained",
            seed=5,
            value=finding.value,
            num_test=finding.num_test,
            details=dict(finding.details),
            config=config,
            config_hash=fingerprint(config),
            checkpoint_uri=str(pre / "export"),
            checkpoint_sha256=sha256_of(pre / "export"),
            predictions_uri=str(run / finding.predictions),
            predictions_sha256=sha256_of(run / finding.predictions),
            parent_run="pre",
            run_name="score",
            **self.common(),
        )


def details_of(task, table):
    if task.kind == "regression":
        return {}
    columns = (table[name].tolist() for name in ("target", "prediction"))
    return {"per_class_accuracy": per_class_accuracy(*columns)}


@pytest.fixture
def bench(tmp_path):
    bench = Bench(Workspace(UPath(tmp_path)))
    write_dataset(bench.dataset)
    return bench
