"""Any layout of CSV, Parquet and JSON lines, as a job file maps it; what is wrong costs its row."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from pymatgen.core import Lattice, Structure

from omnimat.base.errors import UserError
from omnimat.base.settings import identity
from omnimat.materials.record import MATERIAL_ID, Failure, Record
from omnimat.materials.split import SplitSettings
from omnimat.sources.checker import Checker
from omnimat.sources.settings import IngestSettings
from omnimat.sources.tables.source import Table

SALT = Structure(Lattice.cubic(4.1), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
CIF = SALT.to(fmt="cif")
CELL = {"parameters": "cell", "symbols": "symbols", "frac_coords": "xyz"}


def write(path, rows):
    """Write rows in the format that the path's ending says."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    if name.endswith(".jsonl"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        separator = "\t" if name.endswith(".tsv") else ","
        lines = [list(rows[0]), *(row.values() for row in rows)]
        text = "".join(separator.join(map(field, line)) + "\r\n" for line in lines)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def field(value):
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    return '"' + text.replace('"', '""') + '"'


def read(path, **keys):
    source = Table(path=str(path), **keys).located()
    found = list(source.read(0, source.num_items()))
    assert len(found) == source.num_items()
    return found


def only(path, **keys):
    (found,) = read(path, **keys)
    return found


ROWS = [
    {
        "name": f"x{i}",
        "cif": CIF,
        "gap": 0.5 + i,
        "count": i,
        "phase": "cubic",
        "moduli": [1.5, 2.0],
        "tags": ["a", "b"],
    }
    for i in range(150)
]


@pytest.mark.parametrize(
    "name", ["t.csv", "t.csv.gz", "t.tsv", "t.parquet", "t.jsonl", "t.jsonl.gz"]
)
def test_every_format_gives_the_same_records(tmp_path, name):
    properties = {"gap_ev": "gap", "n": "count", "phase": {"from": "phase"}}
    properties |= {"moduli_gpa": "moduli", "tags": "tags"}
    path = write(tmp_path / name, ROWS)
    source = Table(path=str(path), id="name", properties=properties, text="cif").located()
    assert source.num_items() == 150
    for start, stop in [(0, 2), (63, 66), (64, 64), (127, 400), (149, 150), (150, 160)]:
        found = list(source.read(start, stop))
        assert [r.material_id for r in found] == [f"x{i}" for i in range(start, min(stop, 150))]
        for i, record in enumerate(found, start):
            assert record.parts == {"text": CIF}
            assert record.properties == {
                "gap_ev": 0.5 + i,
                "n": i,
                "phase": "cubic",
                "moduli_gpa": [1.5, 2.0],
                "tags": ["a", "b"],
            }
            assert record.provenance["source"] == f"table {name}"


def lattice_of(record):
    return record.structure.lattice_angstrom


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
@pytest.mark.parametrize(
    ("structure", "row"),
    [
        ({"cif": "s"}, {"s": CIF}),
        ({"pymatgen": "s"}, {"s": json.dumps(SALT.as_dict())}),
        ({"poscar": "s"}, {"s": SALT.to(fmt="poscar")}),
        (
            {"cell": CELL},
            {
                "cell": [4.1] * 3 + [90.0] * 3,
                "symbols": ["Cs", "Cl"],
                "xyz": [[0, 0, 0], [0.5] * 3],
            },
        ),
        (
            {"cell": {"lattice_angstrom": "l", "atomic_numbers": "z", "frac_coords": "xyz"}},
            {
                "l": [[4.1, 0, 0], [0, 4.1, 0], [0, 0, 4.1]],
                "z": [55, 17],
                "xyz": [0, 0, 0, 0.5, 0.5, 0.5],
            },
        ),
        (
            {
                "cell": {
                    "lengths_angstrom": ["a", "b", "c"],
                    "angles_degree": "angles",
                    "atomic_numbers": "z",
                    "frac_coords": ["x", "y", "w"],
                    "frac_scale": 4,
                }
            },
            {"a": 4.1, "b": 4.1, "c": 4.1, "angles": [90, 90, 90], "z": [55, 17]}
            | {axis: [0, 2] for axis in "xyw"},
        ),
    ],
    ids=["cif", "pymatgen", "poscar", "cell", "lattice", "columns"],
)
def test_every_way_to_write_a_structure(tmp_path, name, structure, row):
    record = only(write(tmp_path / name, [{"i": "a"} | row]), id="i", structure=structure)
    np.testing.assert_allclose(lattice_of(record), 4.1 * np.eye(3), atol=1e-6)
    assert record.structure.atomic_numbers.tolist() == [55, 17]
    np.testing.assert_allclose(record.structure.frac_coords, [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert record.properties == {"space_group_number": 221, "crystal_system": "cubic"}


def test_pymatgen_dictionaries_in_json_lines(tmp_path):
    path = write(tmp_path / "t.jsonl", [{"s": SALT.as_dict()}, {"s": {"sites": []}}, {"s": 3}])
    good, *bad = read(path, structure={"pymatgen": "s"})
    assert good.material_id == "t-1"
    assert [one.material_id for one in bad] == ["t-2", "t-3"]
    assert all(isinstance(one, Failure) and "structure" in one.reason for one in bad)


GOOD_CELL = {"cell": [4.1] * 3 + [90] * 3, "symbols": ["Cs", "Cl"], "xyz": [0, 0, 0, 0.5, 0.5, 0.5]}


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv"])
@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"cell": [float("nan")] + [4.1] * 2 + [90] * 3}, "NaN"),
        ({"cell": [float("inf")] + [4.1] * 2 + [90] * 3}, "infinity"),
        ({"cell": [4.1] * 5}, "5 numbers instead of 6"),
        ({"cell": ["wide"] * 6}, "no array of numbers"),
        ({"cell": None}, "null"),
        ({"cell": [0] * 6}, ""),
        ({"cell": [4.1] * 3 + [10, 170, 90]}, ""),
        ({"cell": [4.1] * 3 + [180, 180, 180]}, ""),
        ({"symbols": ["Cs", "X"]}, "'X' is no element"),
        ({"symbols": ["Cs", "Wat"]}, "'Wat' is no element"),
        ({"symbols": ["Cs"]}, "lengths differ"),
        ({"symbols": ["Cs", "Cs"], "xyz": [0] * 6}, "overlapping"),
        ({"xyz": [0, 0, 0, 0.5]}, "threes"),
        ({"xyz": [0, 0, 0, 0.5, 0.5, float("nan")]}, "NaN"),
    ],
)
def test_what_is_wrong_with_a_cell_costs_its_row(tmp_path, name, wrong, reason):
    rows = [{"i": f"r{i}"} | GOOD_CELL for i in range(3)]
    rows[1] |= wrong
    before, bad, after = read(write(tmp_path / name, rows), id="i", structure={"cell": CELL})
    assert isinstance(before, Record)
    assert isinstance(after, Record)
    assert isinstance(bad, Failure)
    assert bad.material_id == "r1"
    assert reason in bad.reason


@pytest.mark.parametrize(
    "cif",
    [
        "nonsense",
        CIF.replace("_cell_length_a   4.10000000", "_cell_length_a   nan"),
        CIF.replace("_cell_length_a   4.10000000", "_cell_length_a   inf"),
        CIF.replace("Cs  Cs0", "X  X0"),
        CIF.replace("Cs", "M"),
        CIF.replace("_cell_length_a", "_cell_length_q"),
        CIF[: len(CIF) // 2],
        "\0",
    ],
)
def test_a_cif_that_is_none_costs_its_row(tmp_path, cif):
    assert cif != CIF
    rows = [{"cif": CIF}, {"cif": cif}, {"cif": CIF}]
    before, bad, after = read(write(tmp_path / "t.jsonl", rows), structure={"cif": "cif"})
    assert isinstance(before, Record)
    assert isinstance(bad, Failure)
    assert isinstance(after, Record)


def test_a_null_structure_leaves_the_rest(tmp_path):
    path = write(tmp_path / "t.csv", [{"cif": None, "gap": 1.5}])
    record = only(path, structure={"cif": "cif"}, properties={"gap_ev": "gap"})
    assert (record.parts, record.properties) == ({}, {"gap_ev": 1.5})


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_a_wrong_value_costs_only_its_property(tmp_path, name):
    values = [1.5, "n/a", 2, float("nan"), float("inf"), None, "3.5", 4.0]
    path = write(tmp_path / name, [{"gap": value, "phase": "cubic"} for value in values])
    records = read(path, properties={"band_gap_ev": "gap", "phase": "phase"})
    found = [record.properties.get("band_gap_ev") for record in records]
    assert found == [1.5, None, 2, None, None, None, 3.5, 4.0]
    assert all(record.properties["phase"] == "cubic" for record in records)
    notes = [record.provenance.get("band_gap_ev") for record in records]
    assert notes[1] == "left out: 'n/a' is not a number"
    assert notes[4].startswith("left out: ")
    assert "finite" in notes[4]
    assert {notes[i] for i in (0, 2, 3, 5, 6, 7)} == {None}
    checker = Checker(SplitSettings(), ())
    assert len(list(checker.accepted(records))) == len(values)


def test_the_type_of_a_property_can_be_told(tmp_path):
    path = write(tmp_path / "t.csv", [{"n": "1", "code": "7"}, {"n": "2.5", "code": "x"}])
    types = {"n": {"from": "n", "type": "integer"}, "code": {"from": "code", "type": "text"}}
    one, two = read(path, properties=types)
    assert one.properties == {"n": 1, "code": "7"}
    assert two.properties == {"code": "x"}
    assert "2.5" in two.provenance["n"]


def test_space_groups(tmp_path):
    rows = [{"g": 225.0}, {"g": 0.0}, {"g": 231.0}, {"g": 1.5}, {"g": None}]
    found = read(write(tmp_path / "t.parquet", rows), properties={"space_group_number": "g"})
    assert found[0].properties == {"space_group_number": 225, "crystal_system": "cubic"}
    assert all(record.properties == {} for record in found[1:])
    assert ["space_group_number" in record.provenance for record in found] == [0, 1, 1, 1, 0]


def test_a_wrong_dos_is_left_out_and_a_wrong_pattern_costs_its_row(tmp_path):
    good = {"e": [0.0, 1.0], "d": [1.0, 2.0], "t": [10.0, 20.0], "i": [1.0, 0.0]}
    changes = [{}, {"d": [1.0]}, {"d": [1.0, float("nan")]}, {"i": [1.0, float("inf")]}]
    path = write(tmp_path / "t.jsonl", [good | change for change in changes])
    whole, short, nan, infinite = read(
        path,
        dos={"energies_ev": "e", "spin_up_per_ev": "d"},
        xrd={"two_theta_degree": "t", "intensity": "i", "wavelength_angstrom": 1.54},
    )
    assert set(whole.parts) == {"dos", "xrd"}
    assert whole.parts["xrd"].wavelength_angstrom == 1.54
    assert set(short.parts) == set(nan.parts) == {"xrd"}
    assert "length" in short.provenance["dos"]
    assert "NaN" in nan.provenance["dos"]
    assert isinstance(infinite, Failure)


def test_arrays_from_lists_and_bytes(tmp_path):
    grid = np.arange(8, dtype=np.float32)
    rows = [{"list": grid.tolist(), "bytes": grid.tobytes()}]
    record = only(
        write(tmp_path / "t.parquet", rows),
        charge_density={"from": "list", "shape": [2, 2, 2]},
        text_embedding="bytes",
    )
    assert record.parts["charge_density"][1, 0, 1] == 5
    assert record.parts["text_embedding"].tolist() == grid.tolist()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1", "utf-16", "gbk"])
@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".csv.gz"])
def test_encodings_and_line_breaks_in_quotes(tmp_path, encoding, ending):
    notes = [f'ä «{i}»\nzwei\r\ndrei; "vier"' if i % 3 else "" for i in range(200)]
    if encoding == "gbk":
        notes = [note.replace("ä «", "中").replace("»", "文") for note in notes]
    if ending == ".jsonl":
        lines = [json.dumps({"n": i, "t": t}, ensure_ascii=False) for i, t in enumerate(notes)]
        text = "\n\n".join(lines)
    else:
        lines = [f"{i},{field(note)}" for i, note in enumerate(notes)]
        text = "\n".join(["n,t", *lines[:50], "", *lines[50:]])
    data = text.encode(encoding)
    path = tmp_path / f"t{ending}"
    path.write_bytes(gzip.compress(data) if ending.endswith(".gz") else data)
    source = Table(path=str(path), id="n", text="t", encoding=encoding).located()
    assert source.num_items() == 200
    for start in (0, 49, 64, 131):
        found = [(r.material_id, r.parts.get("text", "")) for r in source.read(start, start + 69)]
        assert found == [(str(i), notes[i]) for i in range(start, min(start + 69, 200))]


def test_rows_that_are_damaged_cost_themselves(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"i;t\na;one\nb;\xff\nc\nd;two;three\ne;five\n")
    a, b, c, d, e = read(path, id="i", text="t")
    assert (a.parts["text"], e.parts["text"]) == ("one", "five")
    assert "utf-8" in b.reason
    assert "1 fields" in c.reason
    assert "3 fields" in d.reason
    lines = tmp_path / "t.jsonl"
    lines.write_text('{"t": "one"}\n{"t": \n[1]\n{"t": "two"}\n')
    first, broken, array, last = read(lines, text="t")
    assert (first.material_id, last.material_id) == ("t-1", "t-4")
    assert "JSON" in broken.reason
    assert "object" in array.reason


def test_a_quote_that_is_never_closed_names_the_file(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('i,t\na,one\nb,"two\nc,three\n')
    with pytest.raises(UserError, match=r"source\.path: .*t\.csv.*quote"):
        Table(path=str(path), text="t").num_items()


@pytest.mark.parametrize("name", ["t.csv.gz", "t.parquet"])
def test_a_damaged_file_is_named(tmp_path, name):
    path = write(tmp_path / name, ROWS)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=rf"source\.path: .*{name}"):
        read(path, text="cif")


def test_a_folder_a_pattern_and_limits(tmp_path):
    for name in ("b.csv", "a.csv", "c.jsonl"):
        write(tmp_path / name, [{"t": f"{name} {i}"} for i in range(3)])
    (tmp_path / "notes.md").write_text("no table")

    def texts(path, **keys):
        return [record.parts["text"] for record in read(path, text="t", **keys)]

    assert [one[0] for one in texts(tmp_path)] == list("aaabbbccc")
    assert [one[0] for one in texts(f"{tmp_path}/*.csv")] == list("aaabbb")
    assert [one[0] for one in texts(tmp_path, max_records_per_file=2)] == list("aabbcc")
    assert [one[0] for one in texts(tmp_path, max_records=4)] == list("aaab")
    source = Table(path=str(tmp_path), text="t").located()
    assert [record.material_id for record in source.read(2, 7)] == [
        "a-3",
        "b-1",
        "b-2",
        "b-3",
        "c-1",
    ]
    (tmp_path / "t.xlsx").touch()
    with pytest.raises(UserError, match=r"source\.path: .*\.xlsx"):
        Table(path=f"{tmp_path}/*.xlsx", text="t").located()
    with pytest.raises(UserError, match=r"source\.path: "):
        Table(path=f"{tmp_path}/*.parquet", text="t").located()


def test_a_file_that_changes_is_read_anew(tmp_path):
    path = write(tmp_path / "t.csv", [{"t": "one"}])
    source = Table(path=str(path), text="t").located()
    assert source.num_items() == 1
    write(path, [{"t": "one"}, {"t": "two"}])
    assert [record.parts["text"] for record in source.read(0, 9)] == ["one", "two"]


def test_ids_are_made_safe_and_then_may_collide(tmp_path):
    ids = ["a.b", "a b", "x" * 200, "", "mp-1"]
    path = write(tmp_path / "t.csv", [{"i": one, "t": "text"} for one in ids])
    found = read(path, id="i", text="t")
    assert [one.material_id for one in found] == ["a_b", "a_b", "x" * 128, "t-4", "mp-1"]
    assert all(MATERIAL_ID.fullmatch(one.material_id) for one in found)
    assert found[0].provenance["id_in_source"] == "a.b"
    assert "id_in_source" not in found[4].provenance
    checker = Checker(SplitSettings(), ())
    assert len(list(checker.accepted(found))) == 3
    assert [name for name, _ in checker.failures] == ["a_b", "t-4"]
    assert "duplicate" in checker.failures[0][1]


def test_a_split_from_a_column(tmp_path):
    path = write(tmp_path / "t.csv", [{"t": "x", "s": s} for s in ("tr", "va", "", "other")])
    values = {"tr": "train", "va": "validation"}
    found = read(path, text="t", split={"column": "s", "values": values})
    published = [r.provenance.get("published_split") for r in found[:3]]
    assert published == ["train", "validation", None]
    assert isinstance(found[3], Failure)
    assert "'other'" in found[3].reason


def test_a_missing_column_names_file_key_and_neighbours(tmp_path):
    path = write(tmp_path / "t.csv", [{"band_gap": 1, "cif": CIF}])
    with pytest.raises(UserError, match=r"source\.properties\.gap_ev: .*t\.csv.*'band_gap'"):
        Table(path=str(path), properties={"gap_ev": "bandgap"}).located()
    with pytest.raises(UserError, match=r"source\.structure\.cell\.symbols: .*'symbols'"):
        Table(
            path=str(path),
            structure={
                "cell": {"parameters": "cif", "symbols": "symbols", "frac_coords": "band_gap"}
            },
        ).located()
    with pytest.raises(UserError, match=r"source\.text: "):  # named, so no longer optional
        Table(path=str(path), mapping="multimodal", id="cif", text="words").located()
    lenient = Table(path=str(path), id="cif", text="words", optional=["text"]).located()
    assert lenient.num_items() == 1


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"mapping": "mp21"},
        {"structure": {}},
        {"structure": {"cif": "a", "poscar": "b"}},
        {"structure": {"cell": {"atomic_numbers": "z", "frac_coords": "x"}}},
        {"structure": {"cell": CELL | {"atomic_numbers": "z"}}},
        {"xrd": {"intensity": "i"}},
        {"xrd": {"intensity": "i", "start_degree": "s"}},
        {"split": {}, "text": "t"},
        {"text": "t", "encoding": "utf-9"},
        {"text": "t", "lattice_properties": True},
    ],
)
def test_keys_that_make_no_sense(keys):
    with pytest.raises(ValidationError):
        Table(path="t.csv", **keys)


def test_a_mapping_is_its_keys():
    job = {"type": "table", "path": "t.csv", "mapping": "cells", "properties": {"gap_ev": "gap"}}
    source = IngestSettings.model_validate({"source": job}).source
    assert set(source.properties) == {"space_group_number", "gap_ev"}
    assert source.source_name == "Materials Project"
    spelled_out = source.model_dump(mode="json") | {"mapping": None}
    again = Table.model_validate(spelled_out)
    assert identity(again) == identity(source)
    assert Table.model_validate(source.model_dump(mode="json")) == source


def test_the_measured_patterns_of_rruff(shared_data, monkeypatch):
    from pathlib import Path

    from omnimat.job.load import load

    monkeypatch.setenv("OMNIMAT_DATA", str(shared_data))
    job = Path(__file__).parents[3] / "jobs" / "rruff" / "ingest.yaml"
    source = load(job).settings.located().source
    checker = Checker(SplitSettings(), ())
    records = list(checker.accepted(source.read(0, 500)))
    assert (len(records), checker.failures) == (120, [])
    for record in records:
        pattern = record.parts["xrd"]
        assert pattern.two_theta_degree[0] == 5
        assert np.allclose(np.diff(pattern.two_theta_degree), 0.01, atol=1e-4)
        assert len(pattern.intensity) == len(pattern.two_theta_degree) == 8500
        assert pattern.wavelength_angstrom == pytest.approx(1.5418, abs=1e-3)
        assert isinstance(record.properties["crystal_system"], str)
        assert 1 <= record.properties["space_group_number"] <= 230


def test_a_damaged_row_group_costs_its_rows_alone(tmp_path):
    path = tmp_path / "groups.parquet"
    rows = [{"name": f"row-{i}", "gap": float(i)} for i in range(6)]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2, compression="snappy")
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    content = bytearray(path.read_bytes())
    begin = column.dictionary_page_offset or column.data_page_offset
    content[begin : begin + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(content)
    found = read(path, id="name", properties={"gap_ev": "gap"})
    assert [isinstance(one, Failure) for one in found] == [False, False, True, True, False, False]
    assert all("damaged" in one.reason for one in found[2:4])
