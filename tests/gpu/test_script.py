"""The script for the first GPU, tried on a machine that has none and little but torch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "jobs" / "benchmarks" / "gpu.py"
# None of these is on the machine that it was written for.
ABSENT = ("ray", "deepspeed", "pymatgen", "ase", "gemmi", "emmet", "mp_api", "matminer")
ABSENT += ("sqlalchemy", "alembic", "fastapi", "plotly", "umap", "chgnet", "transformers")
WITHOUT_THEM = (
    "import runpy, sys; "
    f"sys.modules.update(dict.fromkeys({ABSENT!r})); "
    f"sys.path.insert(0, {str(SCRIPT.parent)!r}); "
    f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
)


@pytest.mark.slow
def test_it_needs_little_but_torch():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THEM],
        capture_output=True,
        text=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "done without: deepspeed, ray, pymatgen" in done.stdout
    table = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    found = {row["what"]: row["value"] for row in table["rows"]}
    assert found["tests"] == "skipped"
    assert found["engine"] == "plain torch"
    assert found["waits of the host"] == 0, done.stdout
    for what in ("pretraining", "fine-tuning with validation, structure"):
        assert found[what] > 0
    assert found["embedding from the store, structure"] > 0
    assert found["products and convolutions"] > 0


def test_it_says_what_it_cannot_do_without():
    program = WITHOUT_THEM.replace("('ray',", "('pydantic', 'ray',")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "these packages are missing: pydantic; install them, or carry their wheels to the machine\n"
    )
