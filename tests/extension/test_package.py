"""A package of somebody else's adds a modality, encoders and a source; omnimat is left alone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

HERE = Path(__file__).parent / "package"
TIMEOUT_S = 400
PLACES = [[0, 0, 0], [0.5, 0.5, 0.5]]

JOBS = {
    "data.yaml": """\
kind: ingest
name: phonons
source: {type: phonon_prototypes, num_materials: 48, max_atoms: 6}
records_per_shard: 24
num_cpus_per_task: 0.5
""",
    "pretrain.yaml": """\
kind: pretrain
name: phonons-structure
needs: [data.yaml]
dataset: phonons
modalities:
  structure: {encoder: {preset: tiny}}
  phonon_dos: {encoder: {preset: tiny, energy_scale_ev: 0.05}}
embedding_dim: 8
objective: {type: clip}
training: {global_batch_size: 8, num_epochs: 2, lr: 1.0e-3}
""",
    "evaluate.yaml": """\
kind: evaluate
name: phonons-retrieval
needs: [pretrain.yaml]
dataset: phonons
run: phonons-structure
split: train
""",
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Install the package into a folder of its own, and name that folder on Python's path."""
    folder = tmp_path_factory.mktemp("installed")
    sources = tmp_path_factory.mktemp("sources") / "package"
    shutil.copytree(HERE, sources)  # setuptools builds inside the folder
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    subprocess.run(
        [*install, str(folder), "--no-build-isolation", "--no-index", str(sources)],
        check=True,
        timeout=TIMEOUT_S,
    )
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {"PYTHONPATH": path}


def run(environment, *command, cwd=None):
    done = subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_parts_stand_beside_ours(environment):
    program = """
from omnimat.modalities.choices import ModalityChoices
from omnimat.modalities.registry import MODALITIES, encoder_classes, parts
from omnimat.shards.manifest import records_schema
assert MODALITIES.names[-1] == "phonon_dos"
assert list(parts())[-1] == "phonon_dos" and "has_phonon_dos" in records_schema().names
serves = {name: [one.__name__ for one in encoder_classes(name)] for name in ("dos", "phonon_dos")}
assert serves == dict.fromkeys(serves, ["DosTransformerSettings", "CurveMlpSettings"]), serves
chosen = ModalityChoices.model_validate({"phonon_dos": {"encoder": {"type": "curve_mlp"}}})
assert chosen.names == ("phonon_dos",)
"""
    run(environment, sys.executable, "-c", program)
    schema = json.loads(run(environment, sys.executable, "-m", "omnimat.cli", "schema"))
    assert "phonon_prototypes" in json.dumps(schema)
    assert "curve_mlp" in json.dumps(schema)


@pytest.mark.slow
def test_the_shipped_suites_run_on_it(environment):
    arguments = ["-q", "-p", "no:cacheprovider", "--rootdir", str(HERE), "-c", os.devnull]
    suite = str(HERE / "conformance.py")
    printed = run(environment, sys.executable, "-m", "pytest", *arguments, suite)
    assert " passed" in printed
    assert "failed" not in printed


@pytest.mark.ray
@pytest.mark.slow
def test_from_its_source_to_retrieval(environment, tmp_path):
    for name, text in JOBS.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env -S omnimat run\n{text}")
    storage = tmp_path / "storage"
    environment = environment | {"OMNIMAT_STORAGE": str(storage)}
    run(environment, sys.executable, "-m", "omnimat.cli", "run", "evaluate.yaml", cwd=tmp_path)
    manifest = json.loads((storage / "datasets" / "phonons" / "manifest.json").read_text())
    assert sum(shard["modality_counts"]["phonon_dos"] for shard in manifest["shards"]) == 36
    result = json.loads((storage / "runs" / "phonons-retrieval" / "result.json").read_text())
    tasks = {row["task"].removesuffix(" (train split)") for row in result["rows"]}
    assert tasks == {"retrieval structure -> phonon_dos", "retrieval phonon_dos -> structure"}
    checked = run(
        environment, sys.executable, "-m", "omnimat.cli", "leaderboard", "verify", cwd=tmp_path
    )
    assert "unverifiable" not in checked

    # Without the package the data set says what is missing, in one sentence.
    alone = environment | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], PLACES)
    salt.to(filename=str(tmp_path / "salt.cif"))
    search = [sys.executable, "-m", "omnimat.cli", "search", "phonons-structure", "salt.cif"]
    done = subprocess.run(
        search, env=alone, cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.returncode == 2
    assert "phonon_dos" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
