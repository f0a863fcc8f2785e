"""Crystal systems of materials, from their records."""

import json

import pytest

from omnimat.base.workspace import Workspace
from omnimat.shards.reader import RawRecord, read_records
from omnimat_dashboard.artifacts import Artifacts
from omnimat_dashboard.systems import MAX_READ_BYTES, Systems


class Counting(Artifacts):
    num_read = 0

    def raw_records(self, dataset, rows):
        self.num_read += len(rows)
        return super().raw_records(dataset, rows)


@pytest.fixture
def artifacts(storage):
    return Counting(Workspace.open(str(storage.root), storage.url))


def test_systems_are_those_of_the_records_and_each_is_read_once(artifacts, storage):
    dataset, ids = storage.rows[0].dataset, storage.records["material_id"].tolist()
    systems = Systems(artifacts)
    found = systems.of(dataset, "1", storage.records, ids[:20]).value
    raw = read_records(storage.root / "datasets" / dataset, storage.records.iloc[:20])
    assert found == {
        one.material_id: json.loads(one.members["properties.json"])["crystal_system"] for one in raw
    }
    assert len(set(found.values())) > 1
    assert systems.of(dataset, "1", storage.records, [*ids[:25], "unknown"]).value.items() >= (
        found.items()
    )
    assert artifacts.num_read == 25
    systems.of(dataset, "2", storage.records, ids[:20])
    assert artifacts.num_read == 45


@pytest.mark.parametrize(
    ("properties", "system"),
    [
        (b'{"crystal_system": "cubic"}', "cubic"),
        (b'{"space_group_number": 166}', "trigonal"),
        (b'{"space_group_number": 900}', None),
        (b'{"crystal_system": null}', None),
        (b"[]", None),
        (b"{", None),
        (None, None),
    ],
)
def test_what_a_record_does_not_say_is_not_known(
    artifacts, storage, monkeypatch, properties, system
):
    members = {} if properties is None else {"properties.json": properties}
    raw = [RawRecord(storage.records["material_id"].iloc[0], members)]
    monkeypatch.setattr(Artifacts, "raw_records", lambda *_: raw)
    ids = storage.records["material_id"].iloc[:1]
    found = Systems(artifacts).of("any", "1", storage.records.iloc[:1], ids)
    assert found.value == (None if system is None else {ids.iloc[0]: system})
    assert ("space_group_number" in found.reason) == (system is None)


def test_records_that_are_too_large_are_not_read(artifacts, storage):
    large = storage.records.assign(size_bytes=MAX_READ_BYTES)
    found = Systems(artifacts).of("any", "1", large, large["material_id"])
    assert "MiB" in found.reason
    assert artifacts.num_read == 0
