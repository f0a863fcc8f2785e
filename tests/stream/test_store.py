"""The feature store, and the stream on Ray Data."""

import json
import time
from threading import Thread

import numpy as np
import pyarrow as pa
import pytest
import ray
from upath import UPath

from omnimat.base.errors import RunError, UserError
from omnimat.base.lease import Lease
from omnimat.modalities.dos.features import DosCurve
from omnimat.modalities.layout import feature_schema
from omnimat.modalities.views import RandomViews
from omnimat.stream.featurize import write_store
from omnimat.stream.location import StoreLocation
from omnimat.stream.pipeline import RayPipeline
from omnimat.stream.settings import StreamSettings
from omnimat.stream.store import COMPLETE, FeatureStore, StoreCard, features_name, take_rows
from omnimat.testing.waiting import wait_for

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("on_ray")]


@pytest.fixture(scope="module")
def write(dataset, featurizers):
    def write(folder: UPath) -> None:
        write_store(StoreLocation(dataset, folder, featurizers), num_featurizers=1, num_cpus=0.25)

    return write


@pytest.fixture(scope="module")
def store(write, tmp_path_factory) -> UPath:
    folder = UPath(tmp_path_factory.mktemp("features")) / "store"
    write(folder)
    return folder


@pytest.mark.parametrize("rank", [0, 1])
def test_ray_delivers_what_is_planned(rank, new_stream, assert_equal):
    pipeline = RayPipeline(StreamSettings(num_featurizers=2), num_workers=2)
    stream = new_stream(rank, world_size=2, pipeline=pipeline)
    assert_equal(stream.batches(), new_stream(rank, world_size=2).batches())
    assert stream.audit.delivered == 32
    assert stream.meter.read(time.perf_counter()).keys() == {
        *("read_rows_per_s", "featurize_rows_per_s", "collate_rows_per_s", "queued_rows")
    }


def test_ray_delivers_the_same_random_views(new_stream, augmentations, assert_equal):
    views = RandomViews(num_views=2, seed=3, augmentations=augmentations)
    pipeline = RayPipeline(StreamSettings(num_featurizers=2))
    on_ray = new_stream(views=views, pipeline=pipeline)
    assert_equal(on_ray.batches(), new_stream(views=views).batches())
    assert on_ray.audit.delivered == 2 * 64


def test_the_store_gives_what_the_shards_give(store, new_stream, assert_equal):
    from_shards = list(new_stream().batches(5))
    assert_equal(new_stream(store=store).batches(5), from_shards)
    on_ray = new_stream(store=store, pipeline=RayPipeline(StreamSettings(read_from="store")))
    assert_equal(on_ray.batches(5), from_shards)
    assert on_ray.meter.read(time.perf_counter()).keys() == {
        *("read_rows_per_s", "collate_rows_per_s", "queued_rows")
    }


def test_a_stream_left_early_frees_its_actors(new_stream):
    batches = new_stream(pipeline=RayPipeline(StreamSettings())).batches()
    next(batches)
    batches.close()
    wait_for(lambda: ray.available_resources().get("CPU") == 2)  # no actor holds its CPU for ever


def test_writing_goes_on_where_it_was_killed(write, tmp_path):
    store = UPath(tmp_path) / "store"
    write(store)
    lost = store / features_name(2)
    content = lost.read_bytes()
    lost.unlink()
    (store / COMPLETE).unlink()
    others = {
        path: path.stat().st_mtime_ns
        for path in store.iterdir()
        if path.is_file() and path.stem != lost.stem  # its report is written again, too
    }
    write(store)
    assert lost.read_bytes() == content
    assert {path: path.stat().st_mtime_ns for path in others} == others
    before_ns = (store / COMPLETE).stat().st_mtime_ns
    write(store)
    assert (store / COMPLETE).stat().st_mtime_ns == before_ns


def test_featurizers_may_take_all_cpus(dataset, featurizers, tmp_path):
    location = StoreLocation(dataset, UPath(tmp_path) / "store", featurizers)
    num_cpus = ray.cluster_resources()["CPU"]
    write_store(location, num_featurizers=1, num_cpus=num_cpus)
    assert location.is_complete


def test_while_one_process_fills_a_store_another_waits(dataset, featurizers, tmp_path, capsys):
    location = StoreLocation(dataset, UPath(tmp_path) / "store", featurizers)
    with Lease.acquire(location.folder, "the first", stale_after_s=0.6):
        asked = {"num_featurizers": 1, "num_cpus": 1.0}
        waiting = Thread(target=write_store, args=(location,), kwargs=asked)
        waiting.start()
        said = ""
        while not said:
            waiting.join(0.05)
            said += capsys.readouterr().out
        assert waiting.is_alive()
        nothing = {"dataset_fingerprint": "0", "fingerprint": "0", "num_records": 0}
        StoreCard(**nothing, quarantined={}).save(location.folder)
        card = (location.folder / COMPLETE).read_text()
    waiting.join()
    assert said.startswith(f"waiting for {location.folder}, filled by ")
    assert (location.folder / COMPLETE).read_text() == card


def test_a_store_of_an_older_version_is_made_again(write, tmp_path, capsys):
    store = UPath(tmp_path) / "store"
    write(store)
    file, card = store / features_name(0), json.loads((store / COMPLETE).read_text())
    content = file.read_bytes()
    del card["files"], card["checksum"]
    (store / COMPLETE).write_text(json.dumps(card))
    file.write_bytes(content[:-1] + b"?")  # which nothing could have told
    write(store)
    assert file.read_bytes() == content
    assert f"{store} was written by an older omnimat" in capsys.readouterr().out


def test_damage_to_a_store_ends_the_stream_with_one_sentence(write, new_stream, tmp_path):
    store = UPath(tmp_path) / "store"
    write(store)
    path = store / features_name(2)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    pipeline = RayPipeline(StreamSettings(read_from="store"))
    with pytest.raises(RunError, match=rf"{path} is not as it was written \(block ") as caught:
        list(new_stream(store=store, pipeline=pipeline).batches())
    assert len(str(caught.value).splitlines()) == 1


def test_rows_come_in_any_order(store, dataset, records, featurizers):
    opened = FeatureStore.open(dataset, store, featurizers)
    assert opened.features["material_id"].to_pylist() == records["material_id"].tolist()
    assert opened.features.schema == feature_schema(featurizers)
    positions = np.array([33, 0, 17, 17, 8])
    table = opened.table(positions)
    assert table.equals(opened.features.take(pa.array(positions)))
    assert len(opened.table(positions[:0])) == 0


def test_rows_are_found_past_an_empty_chunk():
    chunks = [pa.table({"x": pa.array(v, pa.int64())}) for v in ([], [1, 2], [], [3], [])]
    table = take_rows(pa.concat_tables(chunks), np.array([2, 0, 1]))
    assert table["x"].to_pylist() == [3, 1, 2]


def test_a_stale_or_unfinished_store_is_refused(store, dataset, featurizers, tmp_path):
    others = featurizers | {"dos": DosCurve(num_points=featurizers["dos"].num_points + 1)}
    with pytest.raises(UserError, match="stale"):
        FeatureStore.open(dataset, store, others)
    with pytest.raises(UserError, match="no complete feature store"):
        FeatureStore.open(dataset, UPath(tmp_path), featurizers)


def test_the_card_lists_what_is_quarantined(damaged, featurizers, tmp_path):
    folder, victim = damaged
    store = UPath(tmp_path) / "store"
    location = StoreLocation(folder, store, featurizers)
    with pytest.raises(RunError, match=rf"1 of 34 records .*{victim}.* in {store / COMPLETE}\)"):
        write_store(location, num_featurizers=1, num_cpus=0.25)
    write_store(location, num_featurizers=1, num_cpus=0.25, max_quarantined=0.03)
    card = json.loads((store / COMPLETE).read_text())
    assert list(card["quarantined"]) == [victim]
    assert card["num_records"] == 34
