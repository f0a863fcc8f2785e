"""From files of each format to a trained model: what is read, what gets its label, what trains.

    python jobs/benchmarks/format_table.py [--num-crystals 60]

For each format a folder of small crystals is written, and a table of labels beside it, whose ids
are the names of files or entries. The functions of an ingest read them (one process, no Ray), and
those of a fine-tuning sweep train one epoch from scratch on the part that the files give.
"""

import tempfile
import warnings
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import torch
from measure import report
from pymatgen.core import Structure
from upath import UPath

from omnimat.base.workspace import Workspace
from omnimat.finetune.plan import make_plan
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.tasks import TaskSettings
from omnimat.finetune.trial import run_trial
from omnimat.finetune.trial_settings import TrialSettings
from omnimat.materials.crystals import to_pymatgen
from omnimat.modalities.dos.features import DosCurve
from omnimat.modalities.dos.transformer import DosTransformerSettings
from omnimat.modalities.encoder import EncoderSettings
from omnimat.modalities.layout import Featurizer
from omnimat.modalities.structure.features import CrystalGraph
from omnimat.modalities.structure.potnet import PotNetSettings
from omnimat.modalities.xrd.cnn import XrdCnnSettings
from omnimat.modalities.xrd.features import XrdPattern
from omnimat.models.export import Card, save
from omnimat.models.inputs import export_folder, featurizers_of, read_cards
from omnimat.sources.files.source import Files
from omnimat.sources.ingest import write_slice
from omnimat.sources.merge import ShardReport, merge
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings
from omnimat.stream.featurize import WriteShard, complete
from omnimat.stream.location import StoreLocation
from omnimat.stream.source import Source
from omnimat.testing.crystal_files import CRYSTAL_FILES
from omnimat.testing.measured_files import MEASURED_FILES

# Formats whose entries have no names, and the number of the first one.
FIRST_NUMBER = {"extxyz": 0, "extxyz, packed": 0, "ASE database": 1, "JSON of ASE": 1}
ENCODERS: dict[str, tuple[EncoderSettings, Featurizer]] = {
    "structure": (
        PotNetSettings(preset="tiny", lattice_sums=False),
        CrystalGraph(lattice_sums="none", max_neighbors=8),
    ),
    "dos": (DosTransformerSettings(preset="tiny"), DosCurve(num_points=32)),
    "xrd": (XrdCnnSettings(preset="tiny"), XrdPattern()),
}
WIDTH = 16
LABEL = "volume_angstrom3_per_atom"


@click.command()
@click.option("--num-crystals", default=60, show_default=True)
def main(num_crystals: int) -> None:
    """Print a row for each format."""
    warnings.simplefilter("ignore")
    records = Prototypes(num_materials=num_crystals, max_atoms=8).read(0, num_crystals)
    crystals = {f"mat-{i}": to_pymatgen(one.structure) for i, one in enumerate(records)}
    rows = []
    for name in {**CRYSTAL_FILES, **MEASURED_FILES}:
        with tempfile.TemporaryDirectory() as folder:
            rows.append({"format": name, **from_files_to_model(Path(folder), name, crystals)})
    report(f"{len(crystals)} crystals of each format", rows)


def from_files_to_model(folder: Path, name: str, crystals: dict[str, Structure]) -> dict[str, Any]:
    """Write, ingest, featurize and train; an error is told in the place of an answer."""
    told: dict[str, Any] = {"read": "no", "labelled": "no", "trained": "no", "on": "-"}
    try:
        settings = written(folder, name, crystals)
        workspace = Workspace(UPath(folder / "storage"))
        reports = ingested(settings, workspace)
        told["read"] = counted(sum(len(one.rows) for one in reports), crystals)
        labels = [label for one in reports for label in one.label_ids.values()]
        told["labelled"] = counted(sum(label is not None for label in labels), crystals)
        part = next(part for part in ENCODERS if reports[0].rows[0][f"has_{part}"])
        told["on"] = part
        told["trained"] = trained(workspace, part)
    except Exception as error:  # noqa: BLE001
        told["trained"] = f"no: {type(error).__name__}: {str(error)[:80]}"
    return told


def counted(count: int, crystals: dict[str, Structure]) -> str:
    """Say whether as many are there as crystals."""
    return f"{'yes' if count == len(crystals) else 'no'} ({count})"


def written(folder: Path, name: str, crystals: dict[str, Structure]) -> IngestSettings:
    """Write the files and their labels, and return the settings that a job file would give."""
    (files := folder / "files").mkdir()
    {**CRYSTAL_FILES, **MEASURED_FILES}[name](files, crystals)
    first = FIRST_NUMBER.get(name)
    ids = list(crystals) if first is None else [f"all-{first + i}" for i in range(len(crystals))]
    values = [crystal.volume / len(crystal) for crystal in crystals.values()]
    pd.DataFrame({"id": ids, LABEL: values}).to_csv(folder / "labels.csv", index=False)
    return IngestSettings.model_validate(
        {
            "source": Files(path=str(files)),
            "labels": {"path": str(folder / "labels.csv"), "id": "id"},
            "split": {"train": 0.7, "validation": 0.15, "test": 0.15},
            "records_per_shard": 32,
        }
    ).located()


def ingested(settings: IngestSettings, workspace: Workspace) -> list[ShardReport]:
    """Write the shards one after another, and their manifest."""
    dataset = workspace.dataset("data")
    num_shards = -(-settings.source.num_items() // settings.records_per_shard)
    reports = [write_slice(settings, dataset, shard, ()) for shard in range(num_shards)]
    merge(
        name="data",
        source={},
        settings_fingerprint=settings.fingerprint(),
        reports=reports,
        destination=dataset,
    )
    return reports


def trained(workspace: Workspace, part: str) -> str:
    """Train one epoch on a part of the records, and give the loss and the number of records."""
    encoder, featurizer = ENCODERS[part]
    run = workspace.run("untrained")
    card = Card(
        modality=part,
        encoder=encoder,
        featurizer=featurizer.model_dump(),
        embedding_dim=WIDTH,
        parent_run="untrained",
        config_hash="0",
        dataset_fingerprint="0",
        samples_seen=0,
    )
    torch.manual_seed(0)
    save(export_folder(run, part), encoder.build(WIDTH), card)
    featurized(StoreLocation.of(workspace, "data", featurizers_of({part: card})))
    task = TaskSettings(name="volume", target=LABEL, unit="angstrom^3/atom")
    settings = FinetuneSettings(
        dataset="data",
        run="untrained",
        modalities=(part,),
        tasks=(task,),
        learning_rates=(1e-3,),
        seeds=(0,),
    )
    plan = make_plan(settings, workspace, read_cards(run))
    trial = TrialSettings(variant="from_scratch", lr=1e-3, seed=0, num_epochs=1, batch_size=16)
    folder = workspace.run("trial")
    folder.mkdir(parents=True)
    result = run_trial(plan, trial, folder, lambda entry: None)
    loss = result.history[-1]["train_loss"]
    assert np.isfinite(loss)
    return f"yes ({result.num_records['train']} records, loss {loss:.2f})"


def featurized(store: StoreLocation) -> None:
    """Write a feature store in this process."""
    store.folder.mkdir(parents=True)
    write = WriteShard(Source(store.dataset, None, store.featurizers), store.folder)
    complete(store, [write.write(shard) for shard in range(len(store.manifest.shards))])


if __name__ == "__main__":
    main()
