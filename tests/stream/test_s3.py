"""The stream on S3: the same batches as from a folder, whatever the network does."""

import numpy as np
import pytest
from upath import UPath

from omnimat.base import retry
from omnimat.base.errors import RunError, UserError
from omnimat.base.files import read_file, write_atomically
from omnimat.modalities.dos.features import DosCurve
from omnimat.shards.manifest import Manifest
from omnimat.shards.reader import read_records

FEATURIZERS = {"dos": DosCurve()}


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr("omnimat.base.retry.FIRST_WAIT_S", 0.01)


def nothing(method, path):
    return None


def first_time(fault):
    """Let each request fail once."""
    seen = set()

    def choose(*request):
        is_new = request not in seen
        seen.add(request)
        return fault if is_new else None

    return choose


def is_shard(method, path):
    return method == "GET" and "shard-" in path


def test_ingest_writes_the_same_bytes(dataset, dataset_on_s3):
    assert Manifest.load(dataset_on_s3) == Manifest.load(dataset)
    for path in dataset.iterdir():
        if path.is_file():
            assert (dataset_on_s3 / path.name).read_bytes() == path.read_bytes()
    assert not [p for p in dataset_on_s3.iterdir() if p.name.endswith(".partial")]


def test_a_file_is_one_upload(s3):
    path = UPath("s3://bucket/new/file")
    with s3.failing(nothing):
        write_atomically(path, b"x" * 10_000)
        assert [request.method for request in s3.requests] == ["PUT"]
    assert read_file(path) == b"x" * 10_000


def test_a_stream_from_s3_and_its_requests(
    dataset_on_s3, s3, records, new_stream, assert_equal, say
):
    stream = new_stream(dataset=dataset_on_s3, featurizers=FEATURIZERS)
    units = list(stream.units())
    with s3.failing(nothing):
        assert_equal(stream.batches(), new_stream(featurizers=FEATURIZERS).batches())
    assert stream.audit.quarantined == {}
    gets = sum(is_shard(*request[:2]) for request in s3.requests)
    rows = sum(len(unit) for unit in units)
    assert len(s3.requests) == gets < rows  # no HEAD, no listing
    with s3.failing(nothing):
        read_records(dataset_on_s3, records)
    whole = len(s3.requests)
    assert whole == records["shard"].nunique()
    say(
        f"{gets} GETs for {len(units)} units of {rows} records, {gets / len(units):.1f} a unit; "
        f"{whole} for all {len(records)} records in {whole} shards"
    )


@pytest.mark.parametrize("fault", ["reset", "cut", "slow down", "internal error"])
def test_each_range_fails_once(fault, dataset_on_s3, s3, new_stream, assert_equal, say):
    stream = new_stream(dataset=dataset_on_s3, featurizers=FEATURIZERS)
    with s3.failing(first_time(fault)):
        assert_equal(stream.batches(8), new_stream(featurizers=FEATURIZERS).batches(8))
    assert stream.audit.quarantined == {}
    say(
        f"{len(s3.faults())} x {fault!r} in {len(s3.requests)} requests: "
        f"{stream.audit.delivered} rows in planned order, 0 lost"
    )


def test_faults_at_random(dataset_on_s3, s3, new_stream, assert_equal, say):
    """A third fail: six in a row once in 700, if s3fs did not try most of them again itself."""
    rng = np.random.default_rng(0)
    kinds = ["reset", "cut", "slow down", "internal error", *[None] * 8]
    stream = new_stream(dataset=dataset_on_s3, featurizers=FEATURIZERS)
    with s3.failing(lambda *request: rng.choice(kinds) if is_shard(*request) else None):
        assert_equal(stream.batches(), new_stream(featurizers=FEATURIZERS).batches())
    assert stream.audit.quarantined == {}
    assert set(s3.faults()) == set(kinds[:4])
    say(f"{len(s3.faults())} faults in {len(s3.requests)} requests, 0 of 64 rows lost")


def test_a_forbidden_shard_is_asked_for_once(dataset_on_s3, s3, records, monkeypatch):
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 1e6)
    with s3.failing(lambda method, path: "forbidden" if "shard-00001" in path else None):
        found = read_records(dataset_on_s3, records)
    text = "shard-00001.tar: no permission, check the credentials (AccessDenied here)"
    reasons = [raw.quarantine_reason for raw in found]
    assert reasons == [text if shard == 1 else None for shard in records["shard"]]
    assert len(s3.faults()) == 1


def test_a_missing_and_a_truncated_shard(dataset_on_s3, dataset, s3, records, monkeypatch):
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 1e6)
    partial = UPath("s3://bucket/datasets/partial")
    for path in dataset.glob("shard-*.tar"):
        data = path.read_bytes()
        if "00001" not in path.name:
            write_atomically(partial / path.name, data[:700] if "00002" in path.name else data)
    reasons = [raw.quarantine_reason for raw in read_records(partial, records)]
    for shard, reason in zip(records["shard"], reasons, strict=True):
        if shard == 1:
            assert reason == "shard-00001.tar: it does not exist"
        elif shard == 2:
            assert "ends inside the record, at byte 700" in reason or "not satisf" in reason
        else:
            assert reason is None


@pytest.mark.parametrize("fault", ["reset", "cut", "slow down", "internal error"])
def test_writing_and_loading_with_faults(fault, s3, dataset_on_s3, records):
    path = UPath("s3://bucket/new") / fault.replace(" ", "-")
    with s3.failing(first_time(fault)):
        write_atomically(path, b"whole")
        assert read_file(path) == b"whole"
        manifest = Manifest.load(dataset_on_s3)
        assert manifest.records(dataset_on_s3).equals(records)
    assert len(s3.faults()) >= 4  # a PUT and the GETs of three files


def test_what_is_not_there_or_not_allowed_is_one_sentence(s3, dataset_on_s3, records):
    with pytest.raises(UserError, match=r"^s3://nowhere/x: its bucket does not exist"):
        write_atomically(UPath("s3://nowhere/x"), b"")
    with pytest.raises(UserError, match=r"manifest.json does not exist: ingest"):
        Manifest.load(UPath("s3://bucket/datasets/none"))
    with s3.failing(lambda *request: "forbidden"):
        with pytest.raises(UserError, match=r"manifest.json: no permission, check the credential"):
            Manifest.load(dataset_on_s3)
        with pytest.raises(UserError, match=r"^s3://bucket/x: no permission"):
            write_atomically(UPath("s3://bucket/x"), b"")
        with pytest.raises(RunError, match=r"prototypes: not one of 34 records: no permission"):
            read_records(dataset_on_s3, records)
