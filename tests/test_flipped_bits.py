"""A bit that flips in any file of a storage is named when the file is read, or changes nothing.

What is read is all that jobs, searches and evaluations read of a data set, a feature store and a
finished run.
"""

import hashlib
import json
import shutil

import numpy as np
import pytest
import torch
from upath import UPath

from omnimat.base.errors import RunError, UserError
from omnimat.base.workspace import Workspace
from omnimat.models.export import load
from omnimat.models.inputs import export_folder, featurizers_of, read_cards, read_pretraining
from omnimat.search.encoders import Encoders
from omnimat.search.of_run import open_index
from omnimat.shards.manifest import Manifest
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings
from omnimat.stream.location import StoreLocation
from omnimat.stream.source import Source
from omnimat.stream.unit import take
from omnimat.training.settings import PretrainSettings

SETTINGS = PretrainSettings(
    dataset="data",
    modalities={
        "dos": {"encoder": {"preset": "tiny"}},
        "text": {"featurizer": {"source": "hashed"}, "encoder": {"preset": "tiny"}},
    },
    embedding_dim=8,
    objective={"type": "clip"},
    training={"global_batch_size": 8},
)
NUM_FLIPS = 60


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, write_dataset, write_features, write_run) -> Workspace:
    """Thirty materials in two shards, their features, a run and an index of one modality."""
    workspace = Workspace(UPath(tmp_path_factory.mktemp("storage")))
    source = Prototypes(num_materials=30, max_atoms=4)
    write_dataset(workspace, "data", IngestSettings(source=source, records_per_shard=15))
    write_run(workspace, "run", SETTINGS)
    write_features(workspace, "data", featurizers_of(read_cards(workspace.run("run"))))
    read_all(workspace)
    return workspace


def read_all(workspace: Workspace) -> tuple[str, set[str]]:
    """Read everything; give a hash of all values, and the reasons of what was quarantined."""
    digest, run = hashlib.sha256(), workspace.run("run")
    cards = read_cards(run)
    featurizers = featurizers_of(cards)
    for modality, card in cards.items():
        state = load(export_folder(run, modality))[0].state_dict()
        digest.update(card.model_dump_json().encode())
        for name, tensor in state.items():
            digest.update(name.encode() + tensor.contiguous().view(torch.uint8).numpy().tobytes())
    digest.update(json.dumps(read_pretraining(run), sort_keys=True).encode())
    folder = workspace.dataset("data")
    manifest = Manifest.load(folder)
    digest.update(manifest.model_dump_json().encode())
    records = manifest.records(folder)
    digest.update(records.to_json().encode())
    unit = take(records, np.arange(len(records)))
    from_shards = Source(folder, None, featurizers).features(unit)
    location = StoreLocation.of(workspace, "data", featurizers)
    stored = Source(folder, location.folder, featurizers).features(unit)
    opened = location.open().table(np.arange(len(records)))
    reasons = {one for one in from_shards["quarantine_reason"].to_pylist() if one is not None}
    for table in (from_shards, stored, opened):
        digest.update(json.dumps(table.to_pylist(), sort_keys=True).encode())
    index = open_index(workspace, run, "data", "dos", Encoders.of_run("run", run))
    digest.update(index.materials.to_json().encode() + index.embeddings.tobytes())
    return digest.hexdigest(), reasons


def attempt(storage: UPath) -> tuple[str, str, set[str]]:
    """Read everything; give the sentence that says what is wrong, if any, and what was read."""
    try:
        return "", *read_all(Workspace(storage))
    except (UserError, RunError) as error:
        sentence = str(error)
    assert len(sentence.splitlines()) == 1
    return sentence, "", set()


def test_a_flipped_bit_is_named_or_changes_nothing(workspace, tmp_path, capsys):
    """A record of a shard is quarantined with the reason; an index is made again with a line."""
    expected, none = read_all(workspace)
    assert not none
    files = sorted(one for one in workspace.root.rglob("*") if one.is_file() and one.stat().st_size)
    generator = np.random.default_rng(0)
    outcomes = {"refused": 0, "quarantined": 0, "made again": 0, "no effect": 0}
    for number in range(NUM_FLIPS):
        storage = UPath(tmp_path / str(number))
        shutil.copytree(str(workspace.root), str(storage))
        path = storage / files[number % len(files)].relative_to(workspace.root)
        data = bytearray(path.read_bytes())
        bit = int(generator.integers(8 * len(data)))
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(data))
        capsys.readouterr()
        error, found, reasons = attempt(storage)
        if error:
            assert str(path.parent) in error
            outcomes["refused"] += 1
        elif reasons:
            assert all(path.name in reason for reason in reasons)
            outcomes["quarantined"] += 1
        else:
            assert found == expected, f"bit {bit} of {path}"
            is_told = str(path) in capsys.readouterr().err
            outcomes["made again" if is_told else "no effect"] += 1
        shutil.rmtree(str(storage))
    print(f"{NUM_FLIPS} flipped bits in {len(files)} files: {outcomes}")
    assert outcomes["refused"] + outcomes["made again"] > 2 * NUM_FLIPS // 3
    assert outcomes["quarantined"]
    assert outcomes["made again"]


@pytest.mark.parametrize("length", [0, 1, 0.5, -1, None])
def test_a_file_that_was_cut_off_or_lost_is_named(length, workspace, tmp_path):
    files = sorted(path for path in workspace.root.rglob("*") if path.is_file())
    expected, _ = read_all(workspace)
    for file in files:
        storage = UPath(tmp_path / "storage")
        shutil.copytree(str(workspace.root), str(storage))
        path = storage / file.relative_to(workspace.root)
        data = path.read_bytes()
        if length is None:
            path.unlink()
        else:
            path.write_bytes(data[: int(length * len(data)) if length == 0.5 else length])
        error, found, reasons = attempt(storage)
        if error:
            assert str(path.parent) in error
        else:
            assert all(path.name in reason for reason in reasons)
            assert reasons or found == expected
            # The end of a shard holds no record, that of JSON is a line feed, and an index is
            # made again.
            is_of_index = "search" in path.parts
            assert reasons or is_of_index or path.suffix in {".json", ".jsonl", ".tar"}
        shutil.rmtree(str(storage))
