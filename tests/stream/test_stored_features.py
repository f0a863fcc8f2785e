"""Every block of a feature store is checked before anything is made of it."""

import json

import numpy as np
import pytest
from upath import UPath

from omnimat.base.errors import RunError, UserError
from omnimat.base.workspace import Workspace
from omnimat.modalities.charge_density.features import ChargeDensityGrid
from omnimat.modalities.dos.features import DosCurve
from omnimat.shards.manifest import Manifest
from omnimat.stream.feature_file import BLOCK_BYTES
from omnimat.stream.location import StoreLocation
from omnimat.stream.store import COMPLETE, FeatureStore, StoredFeatures, features_name
from omnimat.stream.unit import take

FEATURIZERS = {"dos": DosCurve(), "charge_density": ChargeDensityGrid()}
SHARD = 1


@pytest.fixture
def location(dataset, write_features, tmp_path) -> StoreLocation:
    """A store of two modalities, of which the second takes most of the room: 4 blocks a shard."""
    workspace = Workspace(UPath(tmp_path))
    workspace.dataset("prototypes").parent.mkdir()
    dataset.copy(workspace.dataset("prototypes"))
    write_features(workspace, "prototypes", FEATURIZERS)
    return StoreLocation.of(workspace, "prototypes", FEATURIZERS)


@pytest.fixture
def file(location) -> UPath:
    return location.folder / features_name(SHARD)


def read_all(location) -> list:
    """Read everything, as a stream and as an evaluation do."""
    records = Manifest.load(location.dataset).records(location.dataset)
    unit = take(records, np.arange(len(records)))
    streamed = StoredFeatures(location.folder).read(unit)
    store = FeatureStore.open(location.dataset, location.folder, FEATURIZERS)
    whole = store.table(np.arange(len(records)))
    parts = [store.of_modalities({name: FEATURIZERS[name]}) for name in FEATURIZERS]
    return [streamed, whole, *(part.table(np.arange(len(records))) for part in parts)]


def flip(path: UPath, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("seed", range(40))
def test_any_flipped_bit_is_named_with_its_block(seed, location, file):
    num_bits = 8 * file.stat().st_size
    bit = int(np.random.default_rng(seed).integers(num_bits)) if seed > 1 else seed * (num_bits - 1)
    flip(file, bit)
    with pytest.raises(RunError, match="run the featurize job again") as caught:
        read_all(location)
    block = bit // 8 // BLOCK_BYTES
    assert str(caught.value).startswith(f"{file} is not as it was written (block {block}, ")


@pytest.mark.parametrize("num_bytes", [0, 100, BLOCK_BYTES, -1, None])
def test_a_file_that_was_cut_off_or_lost_is_named(num_bytes, location, file):
    if num_bytes is None:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:num_bytes])
    for read in (read_all, lambda _: StoredFeatures(location.folder).open(SHARD)):
        with pytest.raises(RunError, match=f"{file} is not as it was written"):
            read(location)


def test_only_what_is_read_is_checked(location, file):
    expected = read_all(location)[2]
    flip(file, 8 * 2 * BLOCK_BYTES)  # within a charge density
    store = FeatureStore.open(location.dataset, location.folder, FEATURIZERS)
    dos = store.of_modalities({"dos": FEATURIZERS["dos"]}).table(np.arange(len(store.records)))
    assert dos.equals(expected)
    with pytest.raises(RunError, match="block 2"):
        store.of_modalities({"charge_density": FEATURIZERS["charge_density"]})


def test_a_block_is_checked_once_a_process(location, file):
    stored = StoredFeatures(location.folder)
    records = Manifest.load(location.dataset).records(location.dataset)
    unit = take(records, np.flatnonzero(records["shard"] == SHARD))
    before = stored.read(unit)
    assert stored.read(unit).equals(before)
    assert stored.open(SHARD)._is_checked.all()
    assert not stored.open(SHARD + 1)._is_checked.all()


def test_every_flipped_bit_of_the_card_is_named_or_changes_nothing(location):
    path = location.folder / COMPLETE
    whole = path.read_bytes()
    card = StoredFeatures(location.folder).card
    bits = np.random.default_rng(0).integers(8 * len(whole), size=200)
    named = 0
    for bit in bits.tolist():
        flip(path, bit)
        try:
            assert StoredFeatures(location.folder).card == card
        except UserError as error:
            named += str(path) in str(error)
        path.write_bytes(whole)
    assert named > 100


def test_a_store_without_checksums_is_no_complete_store(location):
    path = location.folder / COMPLETE
    card = json.loads(path.read_text())
    del card["files"], card["checksum"]
    path.write_text(json.dumps(card))
    assert not location.is_complete
    with pytest.raises(UserError, match="run its featurize job"):
        location.open()
