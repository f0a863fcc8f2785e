"""Splits that are written down: in a table, in the labels, or in the records themselves."""

import pytest
from pydantic import ValidationError
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.materials.record import Record
from omnimat.materials.split import SplitSettings
from omnimat.sources.checker import Checker
from omnimat.sources.labels.joins import read_joins
from omnimat.sources.settings import IngestSettings

TABLE = "name,split,mine\na,train,tr\nb,validation,va\nc,test,te\nd,,\n"
VALUES = {"tr": "train", "va": "validation", "te": "test"}


@pytest.fixture
def table(tmp_path):
    def table(text=TABLE, name="splits.csv"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return table


def settings(**values):
    return IngestSettings.model_validate(values).located()


def splits(settings, *records):
    """Return the split of each record that is accepted, and the reasons of the others."""
    joins = read_joins(settings)
    checker = Checker(joins.split, ())
    list(checker.accepted(joins.joined(records)))
    return {k: row["split"] for k, row in checker.columns.items()}, dict(checker.failures)


def records(names="abcde", **properties):
    return [Record(name, properties={"x": 1.0, **properties}) for name in names]


EXPECTED = {"a": "train", "b": "validation", "c": "test"}


@pytest.mark.parametrize("column", [{}, {"column": "mine", "values": VALUES}])
def test_a_table(table, column):
    found, refused = splits(
        settings(split={"from": {"path": table(), "id": "name"} | column}), *records()
    )
    assert found == EXPECTED
    assert set(refused) == {"d", "e"}
    assert all("no split" in reason and "splits.csv" in reason for reason in refused.values())


def test_the_table_of_the_labels(table):
    labels = {"path": table(), "id": "name", "columns": {"mine": {"kind": "class"}}}
    assert splits(settings(labels=labels, split={"from": {}}), *records())[0] == EXPECTED
    own = {"property": "mine", "values": VALUES}
    found, refused = splits(settings(labels=labels, split=own), *records())
    assert found == EXPECTED
    assert "'mine'" in refused["e"]


def test_a_file_is_matched_as_its_labels_are(table):
    path = table("name,split\nb.v2 (é),test\n")
    record = Record("b_v2____", properties={"x": 1}, provenance={"file": "b.v2 (é).cif"})
    assert splits(settings(split={"from": {"path": path, "id": "name"}}), record)[0] == {
        "b_v2____": "test"
    }


def test_a_property_of_the_records():
    found, refused = splits(
        settings(split={"property": "fold", "values": {"0": "test", "1": "train"}}),
        *records("a", fold=0),
        *records("b", fold=1.0),
        *records("c", fold=2),
        *records("d", fold=None),
        *records("e"),
    )
    assert found == {"a": "test", "b": "train"}
    assert "'2'" in refused["c"]
    assert all("'fold'" in refused[name] for name in "de")


def test_a_published_split_is_never_overruled_in_silence(table):
    given = settings(split={"from": {"path": table(), "id": "name"}})
    a, b = (
        Record(name, properties={"x": 1}, provenance={"published_split": "train"}) for name in "ab"
    )
    found, refused = splits(given, a, b)
    assert found == {"a": "train"}
    assert "validation" in refused["b"]
    assert "published one is train" in refused["b"]


@pytest.mark.parametrize("has_labels", [False, True])
def test_an_unknown_value_is_told_before_any_record_is_read(table, has_labels):
    path = table("name,split\na,train\nb,dev\n")
    if has_labels:
        given = settings(labels={"path": path, "id": "name"}, split={"property": "split"})
        key = "split.property"
    else:
        given = settings(split={"from": {"path": path, "id": "name"}})
        key = "split.from.column"
    with pytest.raises(UserError) as error:
        read_joins(given)
    for part in (key, "splits.csv", "b", "'dev'", "validation", "values"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ({"column": "splt", "id": "name"}, ("split.from.column", "did you mean 'split'")),
        ({"id": "nam"}, ("split.from.id", "did you mean 'name'")),
    ],
)
def test_a_column_that_is_not_there(table, column, told):
    with pytest.raises(UserError) as error:
        read_joins(settings(split={"from": {"path": table()} | column}))
    assert all(part in str(error.value) for part in told)


def test_an_id_with_two_splits(table):
    path = table("name,split\na,train\na,test\n")
    with pytest.raises(UserError, match=r"split\.from\.path: .*'a'.*'train' and 'test'"):
        read_joins(settings(split={"from": {"path": path, "id": "name"}}))


def test_a_missing_table(tmp_path):
    with pytest.raises(UserError, match=r"split\.from\.path: .*none\.csv does not exist"):
        settings(split={"from": {"path": str(tmp_path / "none.csv")}})
    with pytest.raises(ValidationError, match=r"split\.from\.path"):
        settings(split={"from": {"id": "name"}})


def test_fractions_are_what_they_were(table):
    assert settings(split={"train": 0.5, "test": 0.4}).split == SplitSettings(train=0.5, test=0.4)
    assert "split" not in IngestSettings().model_dump(exclude_defaults=True)
    before = IngestSettings().fingerprint()
    assert settings(split={"train": 0.8}).fingerprint() == before


def test_the_settings_survive_json_and_tell_themselves_apart(table):
    path = table()
    forms = [
        {},
        {"labels": {"path": path, "id": "name"}},
        {"labels": {"path": path, "id": "name", "columns": {"y": {"from": "x"}}}},
        {"labels": {"path": path, "id": "name", "columns": {"y": {"from": "z"}}}},
        {"split": {"from": {"path": path}}},
        {"split": {"from": {"path": path, "column": "mine"}}},
        {"split": {"property": "fold"}},
        {"split": {"property": "fold", "values": {"0": "test"}}},
    ]
    all_settings = [IngestSettings.model_validate(form) for form in forms]
    assert len({one.fingerprint() for one in all_settings}) == len(forms)
    for one in all_settings:
        assert IngestSettings.model_validate_json(one.model_dump_json()) == one


def test_what_is_read_beside_the_source(table, tmp_path):
    path = table()
    given = settings(
        labels={"path": [path, path], "id": "name"}, split={"from": {"path": path, "id": "name"}}
    )
    assert {name: str(file) for name, file in given.inputs().items()} == {
        "labels.path.0": path,
        "labels.path.1": path,
        "split.from.path": str(UPath(tmp_path) / "splits.csv"),
    }
