"""Labels: what the cells of a table say, whose labels they are, and what is told of the rest."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.materials.record import Failure, Record, safe_id
from omnimat.sources.labels.reader import label_names, read_labels
from omnimat.sources.labels.report import LABELS_NAME, report_labels
from omnimat.sources.labels.settings import LabelsSettings
from omnimat.sources.merge import ShardReport

CSV = """\
name, H, phase, checked
a, 1.5, cubic, True
b.v2 (é), 2, 3.0, false
c, , NaN, TRUE
d, <5, 3, False
e, 7 GPa, rutile, true
f, inf, rutile, true
g, "1,5", rutile, true
"""
COLUMNS = {
    "hardness_gpa": {"from": "H", "unit": "GPa"},
    "phase": {"kind": "class"},
    "checked": {"kind": "class"},
}


@pytest.fixture
def write(tmp_path):
    """Write a file and return settings of labels that read it."""

    def write(text, name="labels.csv", **values):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return LabelsSettings.model_validate(
            {"path": str(tmp_path / name), "id": "name"} | values
        ).located()

    return write


def usable(labels):
    return {label_id: labels.usable(label_id) for label_id in labels.rows}


def joined(labels, *records):
    return list(labels.joined(records))


def test_cells_of_a_csv(write):
    labels = read_labels(write(CSV, columns=COLUMNS))
    assert usable(labels) == {
        "a": {"hardness_gpa": 1.5, "phase": "cubic", "checked": "true"},
        "b.v2 (é)": {"hardness_gpa": 2.0, "phase": "3", "checked": "false"},
        "c": {"checked": "true"},
        "d": {"phase": "3", "checked": "false"},
        **{name: {"phase": "rutile", "checked": "true"} for name in "efg"},
    }
    assert labels.num_unknown == {"hardness_gpa": 1, "phase": 1}
    reasons = {name: labels.rows[name]["hardness_gpa"] for name in "defg"}
    for name, cell in {"d": "<5", "e": "7 GPa", "f": "inf", "g": "1,5"}.items():
        assert cell in reasons[name].reason
    assert "finite" in reasons["f"].reason
    assert all("number" in reasons[name].reason for name in "deg")


def typed_rows():
    return [
        {"name": "a", "x": 1, "ok": True, "group": 3, "both": 4.5},
        {"name": "b", "x": 2.5, "ok": None, "group": None, "both": float("nan")},
        {"name": "c", "x": float("inf"), "ok": False, "group": 1, "both": -1.0},
    ]


def as_jsonl(rows):
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def as_parquet(rows, path):
    frame = pd.DataFrame(rows).astype({"ok": "boolean", "group": "float64"})
    frame.to_parquet(path)
    return path.read_bytes()


@pytest.mark.parametrize("ending", ["jsonl", "ndjson.gz", "parquet"])
def test_tables_with_types(write, tmp_path, ending):
    rows = typed_rows()
    data = as_parquet(rows, tmp_path / "x") if ending == "parquet" else as_jsonl(rows)
    if ending.endswith(".gz"):
        data = gzip.compress(data)
    columns = {
        "x": {},
        "ok": {"kind": "class"},
        "group": {"kind": "class"},
        "both_as_class": {"from": "both", "kind": "class"},
        "truth": {"from": "ok"},
    }
    with pytest.raises(UserError, match=r"labels\.columns\.truth.*True is a boolean"):
        read_labels(write(data, f"labels.{ending}", columns=columns))
    del columns["truth"]
    labels = read_labels(write(data, f"labels.{ending}", columns=columns))
    assert usable(labels) == {
        "a": {"x": 1.0, "ok": "true", "group": "3", "both_as_class": "4.5"},
        "b": {"x": 2.5},
        "c": {"ok": "false", "group": "1", "both_as_class": "-1"},
    }
    assert labels.num_unknown == {"ok": 1, "group": 1, "both_as_class": 1}


def test_tabs_a_byte_order_mark_and_gzip(write):
    data = gzip.compress("\ufeffname\tH\na\t1e-3\n".encode())
    labels = read_labels(write(data, "labels.tsv.gz", columns={"H": {}}))
    assert usable(labels) == {"a": {"H": 0.001}}


def test_numbers_as_ids(write):
    text = as_jsonl([{"name": 17, "H": 1}, {"name": 18.0, "H": 2}, {"name": None, "H": 3}])
    labels = read_labels(write(text, "labels.jsonl", columns={"H": {}}))
    assert usable(labels) == {"17": {"H": 1.0}, "18": {"H": 2.0}}
    assert labels.num_without_id == 1
    assert usable(read_labels(write("name,H\n007,1\n1.0,2\n", columns={"H": {}}))) == {
        "007": {"H": 1.0},
        "1.0": {"H": 2.0},
    }


def test_all_columns_are_taken_where_none_is_named(write):
    labels = read_labels(write(CSV + "h, 4, rutile, true\ni, 5, rutile, true\n"))
    assert labels.kinds == {"H": "number", "phase": "class", "checked": "class"}
    assert labels.takes_all_columns
    assert labels.usable("a") == {"H": 1.5, "phase": "cubic", "checked": "true"}
    index = ",name,H\n0,a,1\n"  # as pandas writes its index
    assert read_labels(write(index)).kinds == {"H": "number"}


def test_names_of_columns_are_made_safe(write):
    labels = read_labels(write("name,Band gap (eV)\na,1\n"))
    assert labels.usable("a") == {"band_gap_ev": 1.0}
    assert read_labels(write("name,odd name\na,1\n")).usable("a") == {"odd_name": 1.0}
    with pytest.raises(UserError, match=r"labels\.columns\.a_b: .*'a b' and 'a/b'"):
        read_labels(write("name,a b,a/b\na,1,2\n"))


def test_several_tables(write, tmp_path):
    write("name,H\na,1\nb,2\n", "one.csv")
    write("name,phase\nb,cubic\nc,rutile\n", "two.csv")
    paths = [str(tmp_path / "one.csv"), str(tmp_path / "two.csv")]
    columns = {"H": {}, "phase": {"kind": "class"}}
    labels = read_labels(LabelsSettings(path=paths, id="name", columns=columns).located())
    assert usable(labels) == {
        "a": {"H": 1.0},
        "b": {"H": 2.0, "phase": "cubic"},
        "c": {"phase": "rutile"},
    }
    write("name,H\nb,3\n", "two.csv")
    with pytest.raises(UserError, match=r"'b'.*H, 2\.0 and 3\.0"):
        read_labels(LabelsSettings(path=paths, id="name", columns={"H": {}}))


def test_ids_that_repeat(write):
    labels = read_labels(write("name,H\na,1\na,1.0\nb,2\na,\n", columns={"H": {}}))
    assert usable(labels) == {"a": {"H": 1.0}, "b": {"H": 2.0}}
    assert labels.num_repeated == 2
    for other in ("2", "<1"):
        with pytest.raises(UserError, match=r"labels\.path: .*labels\.csv gives 'a' two values of"):
            read_labels(write(f"name,H\na,1\na,{other}\n", columns={"H": {}}))


@pytest.mark.parametrize(
    ("text", "values", "told"),
    [
        ("nam,H\na,1\n", {}, ("labels.id", "labels.csv", "'name'", "did you mean 'nam'")),
        (CSV, {"columns": {"hard": {"from": "h"}}}, ("labels.columns.hard", "'h'", "known here")),
        (CSV, {"columns": {"phases": {}}}, ("labels.columns.phases", "did you mean 'phase'")),
        (CSV, {"columns": {"phase": {}}}, ()),  # one of them is a number
        ("name,p\na,x\nb,\n", {"columns": {"p": {}}}, ("labels.columns.p", "'x'", "kind")),
        ("name,H,H\na,1,2\n", {}, ("labels.path", "two columns", "'H'")),
        ("name,H\na,1\nb,1,2\n", {}, ("labels.path", "row 2", "3 fields")),
        ("name,H\n", {}, ("labels.path", "no rows")),
        ("", {}, ("labels.path", "labels.csv")),
        (b"name,H\n\xe9,1\n", {}, ("labels.path", "utf-8")),
    ],
)
def test_a_table_that_cannot_be_used_is_told_with_key_and_remedy(write, text, values, told):
    settings = write(text, **values)
    if not told:
        assert read_labels(settings).usable("d") == {"phase": 3.0}
        return
    with pytest.raises(UserError) as error:
        read_labels(settings)
    assert "\n" not in str(error.value)
    for part in told:
        assert part in str(error.value)


@pytest.mark.parametrize("name", ["labels.jsonl", "labels.parquet", "labels.csv.gz", "labels.xlsx"])
def test_a_file_that_is_not_what_its_ending_says(write, name):
    with pytest.raises(UserError, match=rf"labels\.path: .*{name}"):
        read_labels(write("name: a\n", name))


def test_a_missing_table(tmp_path):
    with pytest.raises(UserError, match=r"labels\.path: .*none\.csv does not exist"):
        LabelsSettings(path=str(tmp_path / "none.csv")).located()


@pytest.mark.parametrize(
    ("name", "unit", "remedy"),
    [
        ("hardness_gpa", "GPa", None),
        ("energy_ev_per_atom", "eV/atom", None),
        ("volume_angstrom3_per_atom", "Å^3/atom", None),
        ("strain_percent", "%", None),
        ("hardness", "GPa", "hardness_gpa"),
        ("energy_ev", "eV/atom", "energy_ev_ev_per_atom"),
    ],
)
def test_a_name_ends_with_its_unit(name, unit, remedy):
    columns = {name: {"unit": unit}}
    if remedy is None:
        LabelsSettings(path="x.csv", columns=columns)
    else:
        with pytest.raises(ValidationError, match=remedy):
            LabelsSettings(path="x.csv", columns=columns)


def test_whose_labels_they_are(write):
    text = "name,H\na,1\nb.v2 (é),2\nc.cif,3\nd d,4\nd-d,5\nd.d,6\nlong/x,7\n"
    labels = read_labels(write(text, columns={"H": {}}))
    found = joined(
        labels,
        Record("a", provenance={"file": "folder/b.v2 (é).cif"}),  # its id counts first
        Record("x1", provenance={"file": "folder/b.v2 (é).cif.gz"}),
        Record(safe_id("b.v2 (é)")),
        Record("x2", provenance={"file": "c.cif"}),
        Record("d-d"),
        Record("d_d"),  # "d d" and "d.d" both become this, so it is neither
        Record("long_x"),
        Record("b"),
        Failure("a", "broken"),
    )
    assert [one.properties.get("H") for one in found[:-1]] == [1, 2, 2, 3, 5, None, 7, None]
    assert [one.provenance.get("label_id") for one in found[:-1]] == [
        "a",
        "b.v2 (é)",
        "b.v2 (é)",
        "c.cif",
        "d-d",
        None,
        "long/x",
        None,
    ]
    assert found[-1] == Failure("a", "broken")
    assert found[0].provenance["labels"] == "H from labels.csv"


def test_a_label_stands_for_a_property_of_its_name_in_every_record(write):
    labels = read_labels(write("name,gap\na,1\nb,\n", columns={"gap": {}}))
    properties = {"gap": 0.5, "other": 2}
    a, b, c = joined(labels, *(Record(name, properties=properties) for name in "abc"))
    assert a.properties == {"gap": 1.0, "other": 2}
    assert b.properties == c.properties == {"other": 2}
    assert all(one.provenance["replaced_by_labels"] == "gap" for one in (a, b, c))


def report(ids, failures=(), **counts):
    entry = {"name": "s", "size_bytes": 0, "sha256": "", "num_records": 0, "modality_counts": {}}
    return ShardReport(
        excluded_ids=(),
        entry=entry,
        rows=(),
        failures=failures,
        licences=(),
        database_versions=(),
        label_ids=ids,
        **counts,
    )


def test_what_is_told(write, tmp_path):
    text = "name,H\na,1\nb,<5\nc,\nlost,4\nbad,5\nmany,6\nx y,7\nx.y,8\na,1\n,9\n"
    labels = read_labels(write(text, columns={"H": {}}))
    reports = [
        report({"a": "a", "b": "b", "m1": "many"}, replaced_properties={"H": 2}),
        report({"c": "c", "m2": "many", "z": None, "y": None}, failures=(("bad", "no structure"),)),
    ]
    told = "\n".join(report_labels(labels, reports, UPath(tmp_path)))
    for part in ("5 of 7 records", "known for 3 records", "1 are empty", "1 cannot be used"):
        assert part in told
    assert "1 rows repeat an id" in told
    assert "1 rows have no id" in told
    assert "H stands for what the source says, in 2 records" in told
    assert str(tmp_path / LABELS_NAME) in told
    lines = [json.loads(line) for line in (tmp_path / LABELS_NAME).read_text().splitlines()]
    by_kind = {}
    for line in lines:
        by_kind.setdefault(line["what"], []).append(line)
    lost = {line["id"]: line["reason"] for line in by_kind["id without a record"]}
    assert set(lost) == {"lost", "bad", "x y", "x.y"}
    assert "refused" in lost["bad"]
    assert "'x y'" in lost["x.y"]
    assert [line["material_id"] for line in by_kind["record without labels"]] == ["y", "z"]
    assert by_kind["id of several records"][0]["id"] == "many"
    assert by_kind["label left out"] == [
        {"what": "label left out", "id": "b", "label": "H", "reason": "'<5' is not a number"}
    ]
    for kind, found in by_kind.items():
        assert f"{kind}, {len(found)}" in told


def test_nothing_matches(write, tmp_path):
    labels = read_labels(write("name,H\np,1\nq,2\nr,3\n", columns={"H": {}}))
    with pytest.raises(UserError) as error:
        report_labels(labels, [report(dict.fromkeys(["x", "y", "z"]))], UPath(tmp_path))
    for part in ("labels.id", "'p' and 'q'", "'x' and 'y'", "labels.csv"):
        assert part in str(error.value)
    assert not (tmp_path / LABELS_NAME).exists()


def test_without_labels_nothing_is_written(tmp_path):
    (tmp_path / LABELS_NAME).write_text("of other settings")
    assert report_labels(None, [report({"a": None})], UPath(tmp_path)) == []
    assert not (tmp_path / LABELS_NAME).exists()


def test_names_are_known_without_the_source(write):
    assert label_names(write(CSV)) == {"H", "phase", "checked"}
    assert label_names(LabelsSettings(path="not there", columns=COLUMNS)) == set(COLUMNS)


def test_many_labels_are_read_as_they_were_written(write):
    values = np.random.default_rng(0).normal(size=2000)
    text = "name,H\n" + "".join(f"m{i},{value!r}\n" for i, value in enumerate(values.tolist()))
    labels = read_labels(write(text, columns={"H": {}}))
    assert [labels.usable(f"m{i}")["H"] for i in range(2000)] == values.tolist()


@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv"])
def test_a_cell_does_not_end_at_a_nul_byte(write, name):
    separator = "," if name.endswith("csv") else "\t"
    text = f"name{separator}phase\na{separator}cu\0bic\n"
    with pytest.raises(UserError, match="NUL") as error:
        read_labels(write(text, name))
    assert name in str(error.value)
