"""What a start that was killed has left of a feature store is used only if it is whole."""

import json

import pytest
from upath import UPath

from omnimat.base.lease import LostError, unleased
from omnimat.modalities.dos.features import DosCurve
from omnimat.stream.feature_file import FileEntry, to_arrow_file
from omnimat.stream.featurize import WriteShard, _remove_unchecked, complete
from omnimat.stream.location import StoreLocation
from omnimat.stream.source import Source
from omnimat.stream.store import COMPLETE, features_name

FEATURIZERS = {"dos": DosCurve()}
SHARD = 1


@pytest.fixture
def write(dataset, tmp_path):
    """Write a shard, and give its file as it was written."""

    def write(check_held=unleased) -> bytes:
        writer = WriteShard(Source(dataset, None, FEATURIZERS), UPath(tmp_path), check_held)
        report = writer.write(SHARD)
        assert report.entry == FileEntry.of(file.read_bytes())
        return file.read_bytes()

    file = UPath(tmp_path) / features_name(SHARD)
    return write


@pytest.fixture
def file(tmp_path) -> UPath:
    return UPath(tmp_path) / features_name(SHARD)


def test_what_is_whole_stays(write, file):
    write()
    before_ns = file.stat().st_mtime_ns
    write()
    assert file.stat().st_mtime_ns == before_ns


def flip_bit(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


def flip_bit_of_report(file):
    flip_bit(file.with_suffix(".json"))


def take_report_away(file):
    flip_bit(file)
    file.with_suffix(".json").unlink()


def put_other_report(file):
    file.with_suffix(".json").write_text("{}")


@pytest.mark.parametrize(
    "damage", [flip_bit, flip_bit_of_report, take_report_away, put_other_report, UPath.unlink]
)
def test_what_is_not_whole_is_made_again(damage, write, file):
    content = write()
    damage(file)
    assert write() == content


def test_rows_that_are_missing_are_noticed_though_the_report_fits(dataset, write, file):
    content = write()
    source = Source(dataset, None, FEATURIZERS)
    writer = WriteShard(source, file.parent, unleased)
    few = to_arrow_file(source.features(writer._records.iloc[:1].assign(epoch=0, view=0)))
    told = json.loads(file.with_suffix(".json").read_text())
    del told["checksum"]
    told["entry"] = FileEntry.of(few).model_dump(mode="json")
    file.write_bytes(few)
    file.with_suffix(".json").write_text(json.dumps(told))
    assert write() == content


def test_who_was_shut_out_writes_nothing(write, tmp_path):
    def refuse():
        raise LostError("the store was taken over")

    with pytest.raises(LostError):
        write(refuse)
    assert list(tmp_path.iterdir()) == []


def test_the_card_of_an_unchecked_store_is_removed_last(
    dataset, write, file, tmp_path, monkeypatch
):
    write()
    location = StoreLocation(dataset, UPath(tmp_path), FEATURIZERS)
    complete(location, [])
    card = json.loads((tmp_path / COMPLETE).read_text())
    del card["files"], card["checksum"]
    (tmp_path / COMPLETE).write_text(json.dumps(card))
    unlink, removed = UPath.unlink, []
    monkeypatch.setattr(
        type(file), "unlink", lambda path: removed.append(path.name) or unlink(path)
    )
    _remove_unchecked(location.folder)
    assert removed == [file.name, COMPLETE]
    assert not location.is_complete
    assert not file.exists()
