import pytest
from pydantic import ValidationError
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.sources.drawn import Drawn
from omnimat.sources.ingest import ingest_in_turn
from omnimat.sources.joined import Joined
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings

CSV = "id,energy\nfirst,1.5\nsecond,2.5\n"
TABLE = {"type": "table", "id": "id", "properties": {"energy": "energy"}}


def _table(folder, name, text=CSV):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return TABLE | {"path": str(path)}


@pytest.fixture
def joined(tmp_path):
    one = _table(tmp_path / "a", "one.csv")
    other = _table(tmp_path / "b", "one.csv", "id,energy\nthird,3.5\n")
    drawn = {"type": "drawn", "num_materials": 3, "max_atoms": 16}
    return Joined(sources=(one, drawn, other)).located()


def _ids(items):
    return [one.material_id for one in items]


def test_items_follow_each_other_in_any_slice(joined):
    ids = ["first", "second", "drawn-0-0", "drawn-0-1", "drawn-0-2", "third"]
    assert joined.num_items() == 6
    assert _ids(joined.read(0, 100)) == ids
    for start in range(7):
        for stop in range(start, 8):
            assert _ids(joined.read(start, stop)) == ids[start:stop]


def test_an_item_has_the_name_that_its_source_gives_it(joined):
    assert joined.item_name(3) == "drawn-0-1"
    assert joined.item_name(5) == joined.sources[2].item_name(0)


def test_files_of_the_same_name_are_told_apart(joined):
    assert {name: path.parent.name for name, path in joined.inputs().items()} == {
        "0/one.csv": "a",
        "2/one.csv": "b",
    }


def test_names_of_properties_are_those_of_all_sources(joined):
    both = Joined(sources=({"type": "drawn"}, {"type": "prototypes"}))
    assert both.property_names() == Drawn().property_names() | Prototypes().property_names()
    assert joined.property_names() is None  # as of its tables


def test_of_two_records_with_one_id_the_first_is_kept(tmp_path):
    first = _table(tmp_path / "a", "one.csv")
    again = _table(tmp_path / "b", "two.csv", "id,energy\nsecond,9\nthird,3\n")
    settings = IngestSettings(source={"type": "joined", "sources": [first, again]})
    destination = UPath(tmp_path) / "out"
    manifest = ingest_in_turn(settings, "twice", destination, report_progress=False)
    assert manifest.num_records == 3
    failures = (destination / "failures.jsonl").read_text()
    assert "second" in failures
    assert "duplicate" in failures


def test_a_missing_file_is_refused_by_name(tmp_path):
    source = Joined(sources=(TABLE | {"path": str(tmp_path / "none.csv")},))
    with pytest.raises(UserError, match=r"none\.csv"):
        source.located()


def test_what_changes_from_day_to_day_is_refused():
    with pytest.raises(ValidationError, match="materials_project cannot be joined"):
        Joined(sources=({"type": "materials_project"},))


def test_no_joined_source_holds_another():
    with pytest.raises(ValidationError, match="joined"):
        Joined(sources=({"type": "joined", "sources": []},))
