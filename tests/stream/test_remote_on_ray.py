"""Ray Data over storage that fails, and over S3."""

import os

import numpy as np
import pytest
from upath import UPath

from omnimat.base.errors import RunError
from omnimat.base.files import write_atomically
from omnimat.modalities.dos.features import DosCurve
from omnimat.stream.featurize import write_store
from omnimat.stream.location import StoreLocation
from omnimat.stream.pipeline import RayPipeline
from omnimat.stream.settings import StreamSettings
from omnimat.stream.store import FeatureStore
from omnimat.testing.faulty_storage import TRANSIENT_KINDS, Fault, faulty, happened

pytestmark = pytest.mark.ray

FEATURIZERS = {"dos": DosCurve()}


@pytest.fixture(scope="module", autouse=True)
def _on_ray(ray_head, s3):
    """Connected with workers that know the faulty filesystem, and S3 from the environment."""
    hook = "omnimat.testing.faulty_storage.register"
    variables = s3.environment | {"OMNIMAT_CACHE": os.environ["OMNIMAT_CACHE"]}
    with ray_head.connected(worker_process_setup_hook=hook, env_vars=variables):
        yield


def test_a_fault_in_every_record(dataset, records, new_stream, assert_equal, tmp_path, say):
    rng = np.random.default_rng(0)
    plan = tmp_path / "plan.json"
    faults = [
        Fault(
            f"shard-{row.shard:05d}.tar",
            row.offset_bytes + int(rng.integers(row.size_bytes)),
            str(rng.choice(TRANSIENT_KINDS[:-1])),
        )
        for row in records.itertuples()
    ]
    broken = faulty(dataset, plan, faults)
    pipeline = RayPipeline(StreamSettings(num_featurizers=2))
    stream = new_stream(dataset=broken, featurizers=FEATURIZERS, pipeline=pipeline)
    assert_equal(stream.batches(8), new_stream(featurizers=FEATURIZERS).batches(8))
    assert stream.audit.quarantined == {}
    count = happened(plan)
    assert count >= 32  # one in each record of the epoch
    say(f"{count} faults under Ray: {stream.audit.delivered} rows in planned order, 0 lost")


def test_s3_that_fails(dataset_on_s3, s3, new_stream, assert_equal, say):
    rng = np.random.default_rng(1)
    kinds = ["reset", "cut", "slow down", "internal error", *[None] * 8]
    pipeline = RayPipeline(StreamSettings(num_featurizers=2))
    stream = new_stream(dataset=dataset_on_s3, featurizers=FEATURIZERS, pipeline=pipeline)
    with s3.failing(lambda method, path: rng.choice(kinds) if "shard-" in path else None):
        assert_equal(stream.batches(), new_stream(featurizers=FEATURIZERS).batches())
    assert stream.audit.quarantined == {}
    assert len(s3.faults()) > 4
    say(f"{len(s3.faults())} faults in {len(s3.requests)} requests under Ray, 0 of 64 rows lost")


def test_a_store_on_s3_is_fetched_once(dataset_on_s3, dataset, s3, new_stream, assert_equal):
    store = UPath("s3://bucket/features/prototypes")
    write_store(StoreLocation(dataset_on_s3, store, FEATURIZERS), num_featurizers=1, num_cpus=0.25)
    expected = list(new_stream(featurizers=FEATURIZERS).batches(8))
    stream = new_stream(dataset=dataset_on_s3, store=store, featurizers=FEATURIZERS)
    for is_first in (True, False):
        with s3.failing(lambda *_: None):
            assert_equal(stream.batches(8), expected)
        assert any(request.method == "GET" for request in s3.requests) == is_first
    pipeline = RayPipeline(StreamSettings(read_from="store"))
    on_ray = new_stream(
        dataset=dataset_on_s3, store=store, featurizers=FEATURIZERS, pipeline=pipeline
    )
    assert_equal(on_ray.batches(8), expected)
    opened = FeatureStore.open(dataset_on_s3, store, FEATURIZERS)
    assert len(opened.features) == 34
    # A file written anew is fetched anew.
    one, other = store / "features-00000.arrow", store / "features-00001.arrow"
    write_atomically(one, other.read_bytes())
    with pytest.raises(RunError, match=r"features-00000.*is not as it was written"):
        FeatureStore.open(dataset_on_s3, store, FEATURIZERS).columns(["material_id"])
