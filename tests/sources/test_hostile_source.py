"""One item of a source can crash, hang or burst its reader: it costs its record and no other."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest

from omnimat.testing.hostile_source import CRASHES, RAISED
from omnimat.testing.waiting import LIMIT_S

GOOD = [f"good-{i}" for i in range(12)]
UNLUCKY = ["unlucky", "flaky"]  # what happens to these is not their fault
FAULTS = [*CRASHES, *RAISED, "RecursionError", "unwritable"]
# Good ones stand beside each kind of fault.
NAMES = [*dict.fromkeys(["burst", *GOOD[:4], *FAULTS, *GOOD[4:8], *UNLUCKY, *GOOD[8:]])]

ENTRY_POINT = """\
[omnimat.sources]
hostile = omnimat.testing.hostile_source:Hostile
"""
JOB = """\
kind: ingest
name: hostile
source: {{type: hostile, items: {names}, notes: {notes}}}
records_per_shard: 12
max_item_cpu_s: 8
max_item_memory_gb: 1
"""


@pytest.fixture
def package(tmp_path):
    """A folder on Python's path that says where the source is."""
    about = tmp_path / "package" / "hostile-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        "[omnimat.sources]\nhostile = omnimat.testing.hostile_source:Hostile\n"
    )
    return about.parent


def ingested(folder, package, environment):
    """Run the job in a folder of its own, and return what it printed and its data set."""
    (folder / "notes").mkdir(parents=True)
    job = JOB.format(names=json.dumps(NAMES), notes=folder / "notes")
    (folder / "data.yaml").write_text(job)
    path = [str(package), environment.get("PYTHONPATH", "")]
    variables = {"PYTHONPATH": os.pathsep.join(path), "OMNIMAT_STORAGE": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", "omnimat.cli", "run", "data.yaml"],
        cwd=folder,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, folder / "datasets" / "hostile"


@pytest.mark.ray
@pytest.mark.slow
def test_each_costs_only_itself(ray_head, package, tmp_path):
    printed, dataset = ingested(tmp_path / "one", package, ray_head.environment)
    records = pd.read_parquet(dataset / "records.parquet")
    assert records.material_id.tolist() == [n for n in NAMES if n in {*GOOD, *UNLUCKY}]
    lines = (dataset / "failures.jsonl").read_text().splitlines()
    reasons = {one["material_id"]: one["reason"] for one in map(json.loads, lines)}
    assert list(reasons) == [name for name in NAMES if name in FAULTS]
    for name, reason in CRASHES.items():
        assert reasons[name] == reason
    for name in set(FAULTS) - set(CRASHES) - {"ValueError", "unwritable"}:
        assert reasons[name].startswith(name)
    assert reasons["unwritable"].startswith("TypeError: ")

    assert "14 records accepted" in printed
    assert str(dataset / "failures.jsonl") in printed
    assert "segfault: crashed its reader: segmentation fault" in printed

    taken = [int(line) for line in (tmp_path / "one" / "notes" / "burst").read_text().split()]
    assert len(taken) == 2  # once as usual, once guarded
    assert max(taken) <= 10**9


@pytest.mark.ray
@pytest.mark.soak
def test_an_ingest_without_ray_survives_as_much_and_has_the_same_bytes(ray_head, package, tmp_path):
    alone = {k: v for k, v in ray_head.environment.items() if not k.startswith("RAY_")}
    (_, one), (printed, two) = (
        ingested(tmp_path / name, package, environment)
        for name, environment in (("one", ray_head.environment), ("two", alone))
    )
    assert "segfault: crashed its reader: segmentation fault" in printed
    for name in ("records.parquet", "failures.jsonl", *(p.name for p in one.glob("*.tar"))):
        assert (two / name).read_bytes() == (one / name).read_bytes()
