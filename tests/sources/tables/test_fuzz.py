"""Damaged tables: each row is read as what it still says, or refused in a sentence."""

import csv
import gzip
import io
import json
import warnings
import zlib

import ase.io
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.cif import CifParser

from omnimat.materials.crystals import to_pymatgen
from omnimat.materials.record import Failure
from omnimat.materials.split import SplitSettings
from omnimat.shards.codec import encode
from omnimat.sources.checker import Checker
from omnimat.sources.tables.source import Table
from omnimat.testing.damage import damaged_files, watched
from omnimat.testing.second_readers import same_crystals

CRYSTALS = {
    "salt": Structure(Lattice.cubic(4.1), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "low": Structure(
        Lattice.from_parameters(4.1, 5.2, 6.3, 80, 95, 101),
        ["Na", "Cl", "O", "Cl"],
        [[0.01, 0.02, 0.03], [0.5, 0.52, 0.48], [0.2, 0.7, 0.3], [0.8, 0.3, 0.75]],
    ),
}
STRUCTURES = {
    "cif": {"cif": "structure"},
    "poscar": {"poscar": "structure"},
    "pymatgen": {"pymatgen": "structure"},
    "cell": {
        "cell": {"lattice_angstrom": "structure", "symbols": "symbols", "frac_coords": "coords"}
    },
}
ENDINGS = ("csv", "csv.gz", "jsonl", "parquet")
KEYS = {"id": "name", "formula": "formula", "text": "text", "properties": {"gap_ev": "gap"}}


def structure_as(kind, crystal):
    if kind == "cell":
        return json.dumps(crystal.lattice.matrix.tolist())
    return json.dumps(crystal.as_dict()) if kind == "pymatgen" else crystal.to(fmt=kind)


def rows_with(kind):
    return [
        {
            "name": name,
            "structure": structure_as(kind, crystal),
            "symbols": " ".join(site.specie.symbol for site in crystal),
            "coords": json.dumps(crystal.frac_coords.tolist()),
            "formula": crystal.reduced_formula,
            "text": f"{name} is å.",
            "gap": 1.5,
        }
        for name, crystal in CRYSTALS.items()
    ]


def write(path, rows):
    """Write a table; of Parquet, nothing where the rows do not go together."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with io.StringIO(newline="") as text:
            writer = csv.DictWriter(text, rows[0])
            writer.writeheader()
            writer.writerows(rows)
            data = text.getvalue().encode()
        packed = gzip.compress(data, mtime=0)
        path.write_bytes(packed if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("kind", STRUCTURES)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_damaged_table_is_read_as_what_it_says_or_refused(tmp_path, kind, ending):
    path = write(tmp_path / f"table.{ending}", rows_with(kind))
    content = path.read_bytes()
    assert len(accepted(path, kind)) == 2
    wrong, count = [], 0
    for what, changed in damaged_files(content, [zlib.crc32(f"{kind} {ending}".encode())]):
        path.write_bytes(changed)
        count += 1
        wrong += [f"{what}: {one}" for one in wrong_of(path, kind)]
    assert not wrong, "\n".join(wrong)
    assert count >= 7


@pytest.mark.parametrize("kind", STRUCTURES)
def test_a_parquet_of_damaged_values(tmp_path, kind):
    lines = write(tmp_path / "table.jsonl", rows_with(kind)).read_bytes()
    path, count, wrong = tmp_path / "table.parquet", 0, []
    for what, changed in damaged_files(lines, [zlib.crc32(kind.encode())]):
        try:
            write(path, [json.loads(line) for line in changed.decode().splitlines()])
        except (ValueError, pa.ArrowException):
            continue
        count += 1
        wrong += [f"{what}: {one}" for one in wrong_of(path, kind)]
    assert not wrong, "\n".join(wrong)
    assert count >= 7


def accepted(path, kind):
    source = Table(path=str(path), structure=STRUCTURES[kind], **KEYS).located()
    items = list(source.read(0, source.num_items()))
    assert len(items) == source.num_items()
    assert all(one.reason.strip() for one in items if isinstance(one, Failure))
    return [one for one in Checker(SplitSettings(), ()).accepted(items) if encode(one)]


def wrong_of(path, kind):
    records = []
    with watched() as told:
        records = accepted(path, kind)
    others = None
    for record in records:
        if record.structure is None:
            continue
        found = to_pymatgen(record.structure)
        if any(same_crystals(found, one) for one in CRYSTALS.values()):
            continue
        others = second_reading(path, kind) if others is None else others
        if not any(same_crystals(found, one) for one in others):
            told.append(f"gave {found.formula} in {found.volume:.3f} angstrom^3")
    return told


def second_reading(path, kind):
    """Read the structures of a table by other means."""
    found = []
    for row in rows_of(path):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                found.append(structure_of(row, kind))
            except Exception:  # noqa: BLE001
                continue
    return found


def rows_of(path):
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    data = path.read_bytes()
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    text = data.decode("utf-8-sig", errors="replace")
    if path.suffix != ".jsonl":
        return list(csv.DictReader(io.StringIO(text, newline="")))
    rows = []
    for line in text.splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def structure_of(row, kind):
    value = row["structure"]
    if kind == "cif":
        (found,) = CifParser.from_str(value).parse_structures(primitive=False)
        return found
    if kind == "poscar":
        return AseAtomsAdaptor.get_structure(ase.io.read(io.StringIO(value), format="vasp"))
    if kind == "pymatgen":
        return Structure.from_dict(json.loads(value) if isinstance(value, str) else value)
    lattice, coords = json.loads(value), json.loads(row["coords"])
    return Structure(Lattice(lattice), row["symbols"].split(), np.reshape(coords, (-1, 3)))
