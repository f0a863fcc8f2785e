"""A harvest on disk whose listing was damaged is not taken for another one."""

import pytest
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.sources.materials_project.snapshot import Listing, Snapshot

LISTING = Listing(database_version="2026.1", material_ids=("mp-1", "mp-2"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("mp-2", "mp-3"),
        lambda text: text[:-9],
        lambda text: '{"database_version": "2026.1"}',
    ],
)
def test_a_damaged_listing_is_said_in_one_sentence(damage, tmp_path):
    snapshot = Snapshot(UPath(tmp_path))
    snapshot.save_listing(LISTING)
    assert snapshot.listing() == LISTING
    path = tmp_path / "listing.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(UserError, match=f"^{path} .*: delete {tmp_path} and ingest again$"):
        snapshot.listing()


def test_a_listing_of_an_older_version_is_read(tmp_path):
    (tmp_path / "listing.json").write_text(LISTING.model_dump_json())
    assert Snapshot(UPath(tmp_path)).listing() == LISTING
