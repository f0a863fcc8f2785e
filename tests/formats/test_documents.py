import copy
import gzip
import json

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.entries.computed_entries import ComputedStructureEntry
from upath import UPath

from omnimat.formats.documents import JSON, JSON_LINES
from omnimat.formats.format import Reading, format_of
from omnimat.materials.crystals import to_pymatgen
from omnimat.materials.record import Failure, Record
from omnimat.testing.format_conformance import assert_same_crystal, entries_of, records_of
from omnimat.testing.materials import example_records

STRUCTURES = [record.structure for record in example_records()][:6]
CRYSTALS = [to_pymatgen(structure) for structure in STRUCTURES]
SALT = to_pymatgen(STRUCTURES[0]).as_dict()
# JSON holds every digit, so only the conversion of coordinates rounds.
TOLERANCE_ANGSTROM = 1e-10


def saved(path, document):
    data = json.dumps(document).encode()
    path.write_bytes(gzip.compress(data) if path.name.endswith("gz") else data)
    return UPath(path)


def computed(number):
    return ComputedStructureEntry(
        CRYSTALS[number],
        energy=-1.5 * number,
        correction=0.25,
        entry_id=f"mp-{number}",
        data={"band_gap": 1.5, "oxide_type": "oxide", "icsd_ids": ["a"]},
        parameters={"run_type": "GGA"},
    ).as_dict()


def jarvis(number, cartesian=False):
    crystal = CRYSTALS[number]
    atoms = {
        "lattice_mat": crystal.lattice.matrix.tolist(),
        "coords": (crystal.cart_coords if cartesian else crystal.frac_coords).tolist(),
        "elements": [site.specie.symbol for site in crystal],
        "cartesian": cartesian,
        "abc": list(crystal.lattice.abc),
        "props": [""] * len(crystal),
    }
    values = {"optb88vdw_bandgap": 1.5, "mbj_bandgap": "na", "spg_symbol": "Fm-3m", "raw_files": []}
    return {"jid": f"JVASP-{number}", "atoms": atoms, **values, "efg": [["a", 1]]}


def optimade(number, crystal=None):
    crystal = crystal or CRYSTALS[number]
    symbols = [site.specie.symbol for site in crystal]
    species = [
        {"name": one, "chemical_symbols": [one], "concentration": [1.0]} for one in set(symbols)
    ]
    attributes = {
        "lattice_vectors": crystal.lattice.matrix.tolist(),
        "cartesian_site_positions": crystal.cart_coords.tolist(),
        "species": species,
        "species_at_sites": symbols,
        "dimension_types": [1, 1, 1],
        "nperiodic_dimensions": 3,
        "nsites": len(symbols),
        "structure_features": [],
        "chemical_formula_reduced": "X",
        "last_modified": "2026-01-01T00:00:00Z",
        "_exmpl_band_gap": 1.5,
    }
    return {"id": f"exmpl/{number}", "type": "structures", "attributes": attributes}


NUMBERS = range(len(CRYSTALS))
DOCUMENTS = {
    "structures": [crystal.as_dict() for crystal in CRYSTALS],
    "computed entries": [computed(i) for i in NUMBERS],
    "by id": {f"mp-{i}": computed(i) for i in NUMBERS},
    "under entries": {"entries": [computed(i) for i in NUMBERS]},
    "jarvis": [jarvis(i) for i in NUMBERS],
    "jarvis cartesian": [jarvis(i, cartesian=True) for i in NUMBERS],
    "optimade": {"data": [optimade(i) for i in NUMBERS], "meta": {"api_version": "1.2.0"}},
    "table": {
        "index": list(NUMBERS),
        "columns": ["structure", "e_form"],
        "data": [[crystal.as_dict(), 1.5] for crystal in CRYSTALS],
    },
    "rows": [{"material_id": f"m-{i}", "structure": CRYSTALS[i].as_dict()} for i in NUMBERS],
}
NAMES = {
    "computed entries": "mp-{}",
    "by id": "mp-{}",
    "under entries": "mp-{}",
    "jarvis": "JVASP-{}",
    "jarvis cartesian": "JVASP-{}",
    "optimade": "exmpl/{}",
    "rows": "m-{}",
}
documents = pytest.mark.parametrize("kind", DOCUMENTS)


@documents
@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_documents(tmp_path, kind, name):
    path = saved(tmp_path / name, DOCUMENTS[kind])
    assert format_of(path) is JSON
    records = records_of(JSON, path)
    template = NAMES.get(kind, "{}")
    assert [record.material_id for record in records] == [template.format(i) for i in NUMBERS]
    for record, structure in zip(records, STRUCTURES, strict=True):
        assert_same_crystal(record.structure, structure, TOLERANCE_ANGSTROM)


@pytest.mark.parametrize("kind", ["structures", "computed entries", "jarvis", "rows"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.ndjson"])
def test_lines(tmp_path, kind, name):
    data = "\n\n".join(map(json.dumps, DOCUMENTS[kind])).encode()
    path = UPath(tmp_path / name)
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert format_of(path) is JSON_LINES
    records = records_of(JSON_LINES, path)
    template = NAMES.get(kind, "{}")
    assert [record.material_id for record in records] == [template.format(i) for i in NUMBERS]
    for record, structure in zip(records, STRUCTURES, strict=True):
        assert_same_crystal(record.structure, structure, TOLERANCE_ANGSTROM)


def test_what_pymatgen_and_pandas_write(tmp_path):
    import pandas as pd
    from monty.serialization import dumpfn

    CRYSTALS[0].to(str(tmp_path / "one.json"))
    (record,) = records_of(JSON, UPath(tmp_path / "one.json"))
    assert record.material_id == ""
    assert_same_crystal(record.structure, STRUCTURES[0], TOLERANCE_ANGSTROM)
    table = pd.DataFrame(
        {"structure": [crystal.as_dict() for crystal in CRYSTALS], "is_metal": True},
        index=[f"mb-{i}" for i in NUMBERS],
    )
    table.to_json(tmp_path / "pandas.json.gz", orient="split", double_precision=15)
    records = records_of(JSON, UPath(tmp_path / "pandas.json.gz"))
    assert [record.material_id for record in records] == list(table.index)
    assert records[0].properties == {"is_metal": "true"}
    # pandas writes 15 decimals.
    assert_same_crystal(records[0].structure, STRUCTURES[0], 1e-12)
    dumpfn(table.to_dict("split"), tmp_path / "monty.json.gz")
    assert len(records_of(JSON, UPath(tmp_path / "monty.json.gz"))) == len(CRYSTALS)


@pytest.mark.parametrize(
    ("kind", "properties", "left_out"),
    [
        (
            "computed entries",
            {"energy_ev": -1.5, "correction_ev": 0.25, "band_gap": 1.5, "oxide_type": "oxide"},
            {"energy_adjustments", "icsd_ids", "parameters"},
        ),
        ("jarvis", {"optb88vdw_bandgap": 1.5, "spg_symbol": "Fm-3m"}, {"efg"}),
        ("optimade", {"_exmpl_band_gap": 1.5}, set()),
        ("table", {"e_form": 1.5}, set()),
    ],
)
def test_properties(tmp_path, kind, properties, left_out):
    record = records_of(JSON, saved(tmp_path / "a.json", DOCUMENTS[kind]))[1]
    assert record.properties == properties
    assert set(filter(None, record.provenance.get("left_out", "").split(", "))) == left_out


def test_no_class_is_made_by_its_name(tmp_path):
    # pymatgen's own Structure.from_dict decodes properties of sites so.
    proof = tmp_path / "made"
    call = {"@module": "pathlib", "@class": "Path", "@callable": "touch", "path": str(proof)}
    document = copy.deepcopy(SALT)
    document["sites"][0]["properties"] = {"magmom": call}
    document["properties"] = {"x": call}
    (record,) = records_of(JSON, saved(tmp_path / "a.json", document))
    assert record.provenance["left_out"] == "magmom"
    assert not proof.exists()


# Two of its four sites are sodium.
PAIR = Structure(
    Lattice.tetragonal(4, 8),
    ["Na", "Na", "Cl", "Cl"],
    [[0, 0, 0], [0, 0, 0.5], [0.5, 0.5, 0.25], [0.5, 0.5, 0.75]],
)


def partly(occupancy):
    """Give the sodium of the pair an occupancy."""
    document = PAIR.as_dict()
    for site in document["sites"][:2]:
        site["species"][0]["occu"] = occupancy
    return document


def vacant(occupancy):
    entry = optimade(0, PAIR)
    species = next(one for one in entry["attributes"]["species"] if one["name"] == "Na")
    species["chemical_symbols"].append("vacancy")
    species["concentration"] = [occupancy, 1 - occupancy]
    entry["attributes"]["structure_features"] = ["disorder"]
    return entry


@pytest.mark.parametrize("disordered", [partly, vacant])
def test_disorder_is_refused_or_made_order_as_asked(tmp_path, disordered):
    path = saved(tmp_path / "a.json", [disordered(0.5)])
    (failure,) = entries_of(JSON, path)
    assert failure.reason.startswith("partial occupancy: ")
    (record,) = records_of(JSON, path, Reading(disorder="nearest_ordered"))
    assert "structure" in record.provenance
    assert sorted(record.structure.atomic_numbers) == [11, 17, 17]


def test_a_part_of_an_atom_cannot_be_ordered(tmp_path):
    path = saved(tmp_path / "a.json", [partly(0.75)])
    (failure,) = entries_of(JSON, path, Reading(disorder="nearest_ordered"))
    assert failure.reason.startswith("partial occupancy: ")
    assert "1.5 Na" in failure.reason


def changed(entry, *keys, value):
    entry = copy.deepcopy(entry)
    *way, last = keys
    inner = entry
    for key in way:
        inner = inner[key]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return entry


BAD = {
    "NaN lattice": (changed(SALT, "lattice", "matrix", 0, 0, value=float("nan")), "not finite"),
    "NaN anywhere": (changed(computed(0), "energy", value=float("inf")), "not finite"),
    "zero vector": (changed(SALT, "lattice", "matrix", 0, value=[0, 0, 0]), "no cell"),
    "flat": (changed(SALT, "lattice", "matrix", value=[[1, 1, 1]] * 3), "flat cell"),
    "huge": (changed(SALT, "lattice", "matrix", 0, value=[1e200, 0, 0]), "too large"),
    "two vectors": (
        changed(SALT, "lattice", "matrix", value=[[1, 0, 0], [0, 1, 0]]),
        "wrong counts",
    ),
    "words": (changed(SALT, "lattice", "matrix", value="abc"), "no numbers"),
    "no lattice": (changed(SALT, "lattice", "matrix", value=None), "wrong counts"),
    "slab": (changed(SALT, "lattice", "pbc", value=[True, True, False]), "no cell"),
    "no sites": (changed(SALT, "sites", value=[]), "no atoms"),
    "sites of text": (changed(SALT, "sites", value=["a"]), "no structure"),
    "two coordinates": (changed(SALT, "sites", 0, "abc", value=[0, 0]), "no numbers"),
    "dummy": (changed(SALT, "sites", 0, "species", 0, "element", value="X"), "dummy atom"),
    "vacant": (changed(SALT, "sites", 0, "species", value=[]), "wrong occupancy"),
    "overfull": (partly(1.5), "wrong occupancy"),
    "no occupancy": (changed(SALT, "sites", 0, "species", 0, "occu", value=None), "no structure"),
    "element missing": (changed(jarvis(0), "atoms", "elements", value=["Na"]), "wrong counts"),
    "no elements": (changed(jarvis(0), "atoms", "elements", value="na"), "no structure"),
    "unknown species": (
        changed(optimade(0), "attributes", "species_at_sites", 0, value="q"),
        "no structure",
    ),
    "no concentration": (
        changed(optimade(0), "attributes", "species", 0, "concentration", value=[]),
        "wrong counts",
    ),
    "layer": (changed(optimade(0), "attributes", "dimension_types", value=[1, 1, 0]), "no cell"),
    "attached": (
        changed(optimade(0), "attributes", "structure_features", value=["site_attachments"]),
        "unsupported feature",
    ),
    "a list for text": (changed(SALT, "lattice", "matrix", value={"a": 1}), "no numbers"),
    "no entry": ({"name": "a"}, "no structure"),
    "a number": (3, "no structure"),
}


@pytest.mark.parametrize(("bad", "reason"), BAD.values(), ids=BAD.keys())
def test_a_bad_entry_leaves_the_others(tmp_path, bad, reason):
    path = saved(tmp_path / "a.json", [SALT, bad, SALT])
    first, failure, last = entries_of(JSON, path)
    assert isinstance(first, Record)
    assert isinstance(last, Record)
    assert isinstance(failure, Failure)
    assert failure.reason.startswith(f"{reason}: ")
    lines = UPath(tmp_path / "a.jsonl")
    lines.write_text("\n".join(json.dumps(one) for one in (SALT, bad, SALT)))
    first, failed, last = entries_of(JSON_LINES, lines)
    assert failed.reason == failure.reason
    assert isinstance(last, Record)


def parts(value, way=()):
    """List the ways to every part of a JSON value."""
    yield way
    pairs = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in pairs:
        yield from parts(inner, (*way, key))


@pytest.mark.parametrize("entry", [computed(0), jarvis(0), optimade(0)])
def test_no_part_of_another_kind_is_a_crash(tmp_path, entry):
    ways = [way for way in parts(entry) if way]
    kinds = [None, 3, -1e300, "text", [], {}, [[]], [{"a": 1}], True]
    lines = [json.dumps(changed(entry, *way, value=kind)) for way in ways for kind in kinds]
    path = UPath(tmp_path / "a.jsonl")
    path.write_text("\n".join(lines))
    found = list(JSON_LINES.entries(path, Reading(), 0, len(lines)))
    assert len(found) == len(lines)
    reasons = [one.reason for one in found if isinstance(one, Failure)]
    assert len(reasons) > len(lines) / 4
    assert all(": " in reason and len(reason) < 300 for reason in reasons)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"\x00\xff\xfe\x01" * 1000, "not JSON"),
        (json.dumps(SALT).encode()[:-10], "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a": 1}', "no structure"),
        (b'[{"structure": 1}]', "no structure"),
        (b'{"index": [1], "columns": ["a", "b"], "data": [[1]]}', "wrong counts"),
        (gzip.compress(json.dumps(SALT).encode())[:-30], "damaged archive"),
    ],
)
def test_bad_documents_are_refused(tmp_path, data, reason):
    path = UPath(tmp_path / "a.json")
    path.write_bytes(data)
    assert JSON.num_entries(path) == 1
    with pytest.raises(ValueError, match=f"^{reason}: "):
        list(JSON.entries(path, Reading(), 0, 1))


def test_a_document_that_unpacks_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    # The limit of 2 GB is lowered, since this machine may not have them.
    monkeypatch.setattr("omnimat.formats.documents._MAX_BYTES", 100 * 2**20)
    path = UPath(tmp_path / "a.json.gz")
    path.write_bytes(gzip.compress(json.dumps(SALT).encode() + b" " * 200 * 2**20, 1))
    with pytest.raises(ValueError, match=r"^too large: "):
        list(JSON.entries(path, Reading(), 0, 1))


def test_bad_lines_leave_the_others(tmp_path):
    path = UPath(tmp_path / "a.jsonl.gz")
    bomb = b'{"a": "' + b"x" * 200 * 2**20 + b'"}'
    good = json.dumps(SALT).encode()
    path.write_bytes(gzip.compress(b"\n".join([good, good[:-9], bomb, b"\xff\xfe", good]), 1))
    found = list(JSON_LINES.entries(path, Reading(), 0, 9))
    assert len(found) == JSON_LINES.num_entries(path)
    reasons = [getattr(one, "reason", "").partition(":")[0] for one in found]
    assert reasons == ["", "not JSON", "too large", "not JSON", ""]


def test_damaged_lines_end_with_a_failure(tmp_path):
    data = gzip.compress("\n".join(map(json.dumps, DOCUMENTS["structures"] * 60)).encode())
    path = UPath(tmp_path / "a.jsonl.gz")
    path.write_bytes(data[: len(data) - 200])
    *before, failure = JSON_LINES.entries(path, Reading(), 0, 1000)
    assert before
    assert len(before) + 1 == JSON_LINES.num_entries(path)
    assert all(isinstance(one, Record) for one in before)
    assert failure.reason.startswith("damaged archive: ")
    path.write_bytes(b"")
    assert entries_of(JSON_LINES, path)[0].reason.startswith("empty file: ")


@pytest.mark.parametrize(
    ("text", "is_ours"),
    [
        ('{"settings": {"lattice": "fcc", "sites": 4}}', False),
        ("[1, 2, 3]", False),
        ("", False),
        ('{"index": [0], "columns": ["composition", "yield strength"], "data": []}', False),
        ('{"index": ' + json.dumps(list(range(100_000))) + ', "columns": ["structure"]}', True),
        (json.dumps({"x": "y" * 70_000, "structure": SALT}), False),
    ],
)
def test_only_the_beginning_says_whether_a_file_holds_crystals(tmp_path, text, is_ours):
    path = UPath(tmp_path / "a.json")
    path.write_text(text)
    assert (format_of(path) is JSON) == is_ours


def test_a_changed_file_is_read_again(tmp_path):
    path = saved(tmp_path / "a.json", DOCUMENTS["structures"])
    assert JSON.num_entries(path) == len(CRYSTALS)
    saved(tmp_path / "a.json", DOCUMENTS["structures"][:2])
    assert JSON.num_entries(path) == 2


def test_a_byte_order_mark_is_no_fault(tmp_path):
    path = UPath(tmp_path / "a.json")
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(SALT).encode())
    (record,) = records_of(JSON, path)
    assert_same_crystal(record.structure, STRUCTURES[0], TOLERANCE_ANGSTROM)
    assert np.isfinite(record.structure.lattice_angstrom).all()
