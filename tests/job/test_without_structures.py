"""Two hundred records, of which many have no structure: from their table to rows and to search."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymatgen.io.cif import CifWriter

from omnimat.materials.crystals import reduced_formula, to_pymatgen
from omnimat.modalities.xrd.features import XrdPattern
from omnimat.sources.prototypes import Prototypes

pytestmark = [pytest.mark.ray, pytest.mark.slow]

NUM_RECORDS = 200
MOLYBDENUM = XrdPattern(radiation="MoKa", two_theta_min_degree=4, two_theta_max_degree=44)
MODALITIES = ("structure", "text", "xrd", "composition")

JOBS = {
    "data.yaml": """\
kind: ingest
name: mixed
source: {type: table, mapping: multimodal, path: mixed.parquet}
records_per_shard: 64
num_cpus_per_task: 0.5
""",
    "pretrain.yaml": """\
kind: pretrain
name: mixed-all-pairs
needs: [data.yaml]
dataset: mixed
modalities:
  structure: {encoder: {preset: tiny}}
  text: {featurizer: {source: hashed}, encoder: {preset: tiny}}
  xrd: {encoder: {preset: tiny}}
  composition: {encoder: {preset: tiny}}
embedding_dim: 16
objective: {type: all_pairs_clip}
training: {global_batch_size: 32, num_epochs: 3, lr: 2.0e-3}
""",
    "evaluate.yaml": """\
kind: evaluate
name: mixed-retrieval
needs: [pretrain.yaml]
dataset: mixed
run: mixed-all-pairs
""",
    "finetune.yaml": """\
kind: finetune
name: mixed-modulus
needs: [pretrain.yaml]
dataset: mixed
run: mixed-all-pairs
modalities: [xrd, composition]
head: {type: concat, preset: tiny}
missing_modalities: fuse
tasks: [{name: bulk modulus, target: bulk_modulus_gpa, unit: GPa}]
variants: [finetuned]
learning_rates: [1.0e-3]
seeds: [0]
trial: {num_epochs: 2}
""",
}


def row(place, record):
    """By turns: a structure and a text, a measured pattern and a formula, a text, all of it."""
    structure, text = record.structure, record.parts["text"]
    crystal = to_pymatgen(structure)
    of_structure = {
        "lattice_abc_angstrom": list(crystal.lattice.abc),
        "lattice_angles_degree": list(crystal.lattice.angles),
        "atomic_numbers": structure.atomic_numbers.tolist(),
        "frac_coords": structure.frac_coords.ravel().tolist(),
    }
    of_sample = {
        "xrd_two_theta_degree": MOLYBDENUM.two_theta_degree.tolist(),
        "xrd_intensity": MOLYBDENUM(record)["intensity"].tolist(),
        "xrd_wavelength_angstrom": MOLYBDENUM.wavelength_angstrom,
        "formula": reduced_formula(structure.atomic_numbers),
        "bulk_modulus_gpa": record.properties["density_g_per_cm3"] * 20,
    }
    known = [
        of_structure | {"robocrys_text": text},
        of_sample,
        {"robocrys_text": text},
        of_structure | of_sample | {"robocrys_text": text},
    ][place % 4]
    every = {*of_structure, *of_sample, "robocrys_text"}
    return {"material_id": f"mat-{place:03d}", **dict.fromkeys(every), **known}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    records = list(Prototypes(num_materials=NUM_RECORDS, max_atoms=8).read(0, NUM_RECORDS))
    assert len(records) == NUM_RECORDS
    rows = [row(place, record) for place, record in enumerate(records)]
    columns = {name: [one[name] for one in rows] for name in rows[0]}
    pq.write_table(pa.table(columns), folder / "mixed.parquet")
    for name, text in JOBS.items():
        (folder / name).write_text(f"#!/usr/bin/env -S omnimat run\n{text}")
    sought = records[3]
    CifWriter(to_pymatgen(sought.structure)).write_file(str(folder / "sought.cif"))
    pattern = XrdPattern()
    curve = np.stack([pattern.two_theta_degree, pattern(sought)["intensity"]], axis=1)
    np.savetxt(folder / "sought.xy", curve)
    return folder


def test_a_table_of_mixed_records_goes_all_the_way(folder, ray_head, run_here):
    for job in ("evaluate.yaml", "finetune.yaml"):
        code, said = run_here(folder, "run", job)
        assert code == 0, said
    storage = ray_head.storage
    manifest = json.loads((storage / "datasets" / "mixed" / "manifest.json").read_text())
    counts = [shard["modality_counts"] for shard in manifest["shards"]]
    assert sum(one.get("structure", 0) for one in counts) == NUM_RECORDS // 2
    assert sum(one.get("xrd", 0) for one in counts) == NUM_RECORDS // 2
    assert sum(one.get("text", 0) for one in counts) == 3 * NUM_RECORDS // 4
    assert manifest["num_failures"] == 0
    rows = json.loads((storage / "runs" / "mixed-retrieval" / "result.json").read_text())["rows"]
    asked = {one["task"] for one in rows}
    # No record has a measured pattern and a text but no structure, yet every pair has members.
    assert len(asked) == len(MODALITIES) * (len(MODALITIES) - 1)
    assert {"retrieval xrd -> composition", "retrieval text -> structure"} <= asked
    (modulus,) = json.loads((storage / "runs" / "mixed-modulus" / "result.json").read_text())[
        "rows"
    ]
    assert modulus["num_test"] > 0
    code, said = run_here(folder, "leaderboard", "verify")
    assert code == 0, said
    assert "tampered" not in said


@pytest.mark.parametrize(
    ("query", "against"),
    [
        ("sought.cif", "structure"),
        ("sought.xy", "composition"),
        ("Li0.5CoO2", "text"),
        ("a cubic crystal of sodium and chlorine", "xrd"),
    ],
)
def test_it_is_searched_by_each(query, against, folder, run_here):
    code, said = run_here(
        folder, "search", "mixed-all-pairs", query, "--against", against, "--top", "3", "--json"
    )
    assert code == 0, said
    # What is said on the error stream stands before and after.
    (answer,), _ = json.JSONDecoder().raw_decode(said[said.index("[\n") :])
    assert len(answer["hits"]) == 3
    assert answer["against"] == against
