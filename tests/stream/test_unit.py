import fsspec
import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem
from upath import UPath

from omnimat.shards.codec import decode
from omnimat.stream.unit import RAW_SCHEMA, read_from_shards, take


class FlakyFileSystem(LocalFileSystem):
    """Local files whose every second opening fails, as an object store's connection may."""

    protocol = "flaky"
    cachable = False
    openings = 0

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(str(path).removeprefix("flaky://"))

    def _open(self, *args, **kwargs):
        type(self).openings += 1
        if self.openings % 2:
            raise ConnectionResetError("the connection was reset")
        return super()._open(*args, **kwargs)


@pytest.fixture
def unit(records):
    positions = np.random.default_rng(0).permutation(len(records))[:20]
    return take(records, positions)


def test_records_come_in_the_units_order(dataset, unit):
    table = read_from_shards(dataset, unit)
    assert table.schema == RAW_SCHEMA
    assert table["material_id"].to_pylist() == unit.records["material_id"].tolist()
    assert table["quarantine_reason"].null_count == len(table)
    row = table.slice(7, 1).to_pylist()[0]
    members = {k: v for k, v in row.items() if isinstance(v, bytes)}
    assert decode(row["material_id"], members).structure.atomic_numbers.size
    assert unit.size_bytes == unit.records["size_bytes"].sum()


@pytest.mark.filterwarnings("ignore:UPath 'flaky' filesystem not explicitly implemented")
def test_a_transient_error_costs_nothing(dataset, unit, monkeypatch):
    monkeypatch.setattr("omnimat.shards.reader.FIRST_WAIT_S", 0.0)
    fsspec.register_implementation("flaky", FlakyFileSystem, clobber=True)
    flaky = UPath(f"flaky://{dataset.path}")
    assert read_from_shards(flaky, unit).equals(read_from_shards(dataset, unit))
    assert FlakyFileSystem.openings >= 2 * unit.records["shard"].nunique()
