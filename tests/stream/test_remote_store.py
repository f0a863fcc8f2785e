"""The copies of a remote store are checked, and fetched anew where that helps."""

from pathlib import Path

import numpy as np
import pytest
from upath import UPath

from omnimat.base.errors import RunError
from omnimat.base.workspace import Workspace
from omnimat.modalities.charge_density.features import ChargeDensityGrid
from omnimat.stream.feature_file import BLOCK_BYTES, CACHE_VARIABLE
from omnimat.stream.location import StoreLocation
from omnimat.stream.store import StoredFeatures, features_name

FEATURIZERS = {"charge_density": ChargeDensityGrid()}
SHARD = 1


@pytest.fixture
def folder(dataset, write_features, tmp_path, monkeypatch) -> UPath:
    """Give a store on another storage, of which nothing is copied yet."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    workspace = Workspace(UPath(tmp_path))
    workspace.dataset("prototypes").parent.mkdir()
    dataset.copy(workspace.dataset("prototypes"))
    write_features(workspace, "prototypes", FEATURIZERS)
    there = StoreLocation.of(workspace, "prototypes", FEATURIZERS).folder
    return there.copy(UPath(f"memory:/{tmp_path.name}/store"))


@pytest.fixture
def file(folder) -> UPath:
    return folder / features_name(SHARD)


def copies(tmp_path) -> list[Path]:
    return [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def flip(path) -> None:
    data = bytearray(path.read_bytes())
    data[2 * BLOCK_BYTES] ^= 1  # within a charge density
    path.write_bytes(bytes(data))


def test_a_copy_that_was_changed_is_deleted_and_fetched_anew(folder, file, tmp_path):
    StoredFeatures(folder).open(SHARD).check()
    (copy,) = copies(tmp_path)
    flip(copy)
    with pytest.raises(RunError, match=f"{copy}, the copy of {file}, was changed .block 2, "):
        StoredFeatures(folder).open(SHARD).check()
    StoredFeatures(folder).open(SHARD).check()
    copy.write_bytes(copy.read_bytes()[:-1])
    StoredFeatures(folder).open(SHARD).check()
    assert copies(tmp_path) == [copy]


@pytest.mark.parametrize("damage", [flip, lambda path: path.unlink()])
def test_what_the_remote_store_has_lost_is_named_there(damage, folder, file, tmp_path):
    damage(file)
    with pytest.raises(RunError, match="delete its folder and run the featurize job") as caught:
        StoredFeatures(folder).open(SHARD)
    assert str(caught.value).startswith(f"{file} is not as it was written (")
    assert copies(tmp_path) == []


def test_a_file_that_arrives_damaged_is_fetched_once_more(folder, file, tmp_path, monkeypatch):
    fetch, is_first = type(file.fs).get_file, np.array([True])

    def damaged(self, source, target, *args, **kwargs):
        fetch(self, source, target, *args, **kwargs)
        if is_first[0]:
            flip(Path(target))
        is_first[0] = False

    monkeypatch.setattr(type(file.fs), "get_file", damaged)
    StoredFeatures(folder).open(SHARD).check()
    assert not is_first[0]
    assert len(copies(tmp_path)) == 1
