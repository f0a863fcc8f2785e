import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.shards.manifest import (
    MANIFEST_NAME,
    RECORDS_NAME,
    Manifest,
    ShardEntry,
    dataset_fingerprint,
    records_schema,
)


@pytest.fixture
def directory(tmp_path):
    return UPath(tmp_path)


@pytest.fixture
def manifest(directory):
    row = dict.fromkeys(records_schema().names) | {"material_id": "mp-1", "shard": 0}
    pq.write_table(pa.Table.from_pylist([row], records_schema()), directory / RECORDS_NAME)
    digest = hashlib.sha256((directory / RECORDS_NAME).read_bytes()).hexdigest()
    return Manifest(
        name="demo",
        source={"type": "prototypes"},
        settings_fingerprint="0",
        licences=("CC0",),
        database_versions=("1",),
        shards=(
            ShardEntry(name="s", size_bytes=1, sha256="ab", num_records=1, modality_counts={}),
        ),
        split_counts={"train": 1},
        split_sha256="cd",
        records_sha256=digest,
        num_failures=0,
        dataset_fingerprint="ef",
    )


def test_round_trip(manifest, directory):
    manifest.save(directory)
    assert Manifest.load(directory) == manifest
    assert manifest.num_records == 1
    assert manifest.records(directory).material_id.tolist() == ["mp-1"]


def test_an_index_of_before_checksums_is_read(manifest, directory):
    old = pq.read_table(directory / RECORDS_NAME).drop_columns("crc32")
    pq.write_table(old, directory / RECORDS_NAME)
    digest = hashlib.sha256((directory / RECORDS_NAME).read_bytes()).hexdigest()
    records = manifest.model_copy(update={"records_sha256": digest}).records(directory)
    assert records.columns.tolist() == records_schema().names
    assert records["crc32"].isna().all()


def test_missing_manifest(directory):
    with pytest.raises(UserError, match=r"manifest\.json does not exist: ingest the data set"):
        Manifest.load(directory)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema_version": 0}, "schema_version 0"),
        ({"num_failures": "many"}, "num_failures"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_manifest_of_another_kind(manifest, directory, change, reason):
    value = manifest.model_dump(mode="json") | change
    (directory / MANIFEST_NAME).write_text(json.dumps(value))
    with pytest.raises(UserError, match=reason):
        Manifest.load(directory)


def test_an_index_that_is_not_the_manifests_own(manifest, directory):
    (directory / RECORDS_NAME).write_bytes(b"changed")
    with pytest.raises(UserError, match="was changed after ingest"):
        manifest.records(directory)
    (directory / RECORDS_NAME).unlink()
    with pytest.raises(UserError, match=r"records\.parquet does not exist"):
        manifest.records(directory)


def test_dataset_fingerprint_follows_shards_and_split(manifest):
    shards = manifest.shards
    assert dataset_fingerprint(shards, "a") != dataset_fingerprint(shards, "b")
    assert dataset_fingerprint(shards, "a") != dataset_fingerprint(shards * 2, "a")
