"""The shipped mappings give the records that omnimat 0.1.0 made of the same rows, to 14 digits.

Processors differ in the last two, since linear algebra adds up in another order on each.

``expected.json`` was written by the sources ``parquet`` and ``mp20`` of that version, from the
tables that this file writes. Floats in it are written so that they are read back exactly.
"""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymatgen.core import Lattice, Structure

from omnimat.materials.record import Failure
from omnimat.sources.tables.source import Table

EXPECTED = Path(__file__).with_name("expected.json")


def multimodal_rows():
    random = np.random.default_rng(7)
    for i in range(4):
        yield {
            "material_id": f"mp-{i}",
            "lattice_abc_angstrom": (3 + random.random(3)).tolist(),
            "lattice_angles_degree": (80 + 20 * random.random(3)).tolist(),
            "atomic_numbers": [11, 17, 8],
            "frac_coords": (4 * random.random(9) - 2).tolist(),
            "dos_energies_ev": np.cumsum(random.random(5)).tolist(),
            "dos_spin_up_per_ev": random.random(5).tolist(),
            "matbert_cls_768": random.random(4).astype(np.float16).tobytes(),
            "robocrys_text": "A salt." if i else None,
            "bulk_modulus_gpa": 100 * random.random() if i else None,
            "elastic_lower_5x5_gpa": random.random(15).tolist(),
            "formula": "NaClO" if i else None,
            "xrd_two_theta_degree": (10 + np.cumsum(random.random(6))).tolist(),
            "xrd_intensity": random.random(6).tolist(),
            "xrd_wavelength_angstrom": random.random() if i else None,
        }


def cell_rows():
    random = np.random.default_rng(8)
    for i in range(4):
        lengths, angles = 3 + random.random(3), 80 + 20 * random.random(3)
        coords = random.integers(-1_000_000, 2_000_000, (3, 5))
        yield {
            "material_id": f"mp-{i}",
            **dict(zip("abc", lengths.tolist(), strict=True)),
            **dict(zip(("alpha", "beta", "gamma"), angles.tolist(), strict=True)),
            "Z": random.integers(1, 90, 5).tolist(),
            **dict(zip(("fx", "fy", "fz"), coords.tolist(), strict=True)),
            "spg_symprec0.1": [1, 99, None, 225][i],
        }


def mp20_rows():
    random = np.random.default_rng(9)
    for i in range(4):
        lattice = Lattice.from_parameters(
            *(3 + 3 * random.random(3)), *(80 + 20 * random.random(3))
        )
        crystal = Structure(lattice, ["Na", "Cl", "O"], 3 * random.random((3, 3)) - 1)
        yield {
            "material_id": f"mp-{i}",
            # Numbers that Python and pandas round differently, and pandas' way is kept.
            "formation_energy_per_atom": ["-1.5", "", "-2.3948297385714287", "0.1"][i],
            "band_gap": repr(random.random()),
            "e_above_hull": ["0.0", "0", "1e-3", ""][i],
            "cif": crystal.to(fmt="cif"),
            "spacegroup.number": ["1", "225", "", "62"][i],
        }


def write_tables(folder: Path) -> None:
    pq.write_table(pa.Table.from_pylist(list(multimodal_rows())), folder / "multimodal.parquet")
    cells = pa.Table.from_pylist(list(cell_rows()))
    cells = cells.replace_schema_metadata({"frac_scale": "1000000"})
    pq.write_table(cells, folder / "cells.parquet", row_group_size=3)
    rows = list(mp20_rows())
    (folder / "mp20").mkdir()
    for stem, part in {"train": rows[:2], "test": rows[2:]}.items():
        with (folder / "mp20" / f"{stem}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(part)


def told(record) -> dict:
    """Write everything of a record as JSON, with the types of arrays."""
    if isinstance(record, Failure):
        return {"failure": [record.material_id, record.reason]}

    def plain(value):
        if isinstance(value, np.ndarray):
            return {str(value.dtype): value.tolist()}
        if hasattr(value, "__slots__"):
            return {name: plain(getattr(value, name)) for name in value.__slots__}
        return value

    return {
        "material_id": record.material_id,
        "parts": {name: plain(part) for name, part in record.parts.items()},
        "properties": dict(record.properties),
        "provenance": dict(record.provenance),
    }


def rounded(value):
    """Round each float to 14 significant digits."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float(f"{value:.14g}") if isinstance(value, float) else value


@pytest.mark.parametrize("mapping", ["multimodal", "cells", "mp20"])
def test_the_records_are_the_same(tmp_path, mapping):
    write_tables(tmp_path)
    path = tmp_path / ("mp20" if mapping == "mp20" else f"{mapping}.parquet")
    source = Table(path=str(path), mapping=mapping).located()
    found = [told(record) for record in source.read(0, source.num_items())]
    expected = json.loads(EXPECTED.read_text())[mapping]
    # Through JSON, 1 and 1.0 stay different texts.
    texts = [json.dumps(rounded(one), sort_keys=True) for one in (found, expected)]
    assert texts[0] == texts[1]
