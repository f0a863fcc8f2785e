"""What ``omnimat check`` tells of a source, and what it does not load for that."""

import subprocess
import sys

import pytest
import yaml
from click.testing import CliRunner
from pymatgen.core import Lattice, Structure

from omnimat.base.workspace import Workspace
from omnimat.cli.main import main
from omnimat.shards.manifest import MANIFEST_NAME


@pytest.fixture
def job(tmp_path):
    """The job file of a folder with a crystal and two files that are none."""
    folder = tmp_path / "crystals"
    folder.mkdir()
    salt = Structure(Lattice.cubic(4.1), ["Cs", "Cl"], [[0] * 3, [0.5] * 3])
    salt.to(str(folder / "salt.cif"), fmt="cif")
    for name in ("a.docx", "b.docx"):
        (folder / name).write_bytes(b"PK")
    path = tmp_path / "mine.yaml"
    keys = {"kind": "ingest", "name": "mine", "storage_path": str(tmp_path / "storage")}
    path.write_text(yaml.safe_dump(keys | {"source": {"type": "files", "path": str(folder)}}))
    return path


@pytest.mark.filterwarnings("ignore:.*fractional coordinates rounded:UserWarning")
def test_what_is_not_read_is_told(job):
    told = CliRunner().invoke(main, ["check", str(job)])
    assert told.exit_code == 0
    assert "mine: " in told.output
    assert "2 .docx (a.docx, b.docx)" in told.output
    assert told.output.endswith("ok\n")


def test_a_data_set_that_is_there_is_checked_without_ray(job, tmp_path):
    folder = Workspace.open(str(tmp_path / "storage"), None).dataset("mine")
    folder.mkdir(parents=True)
    (folder / MANIFEST_NAME).write_text("damaged")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from omnimat.job.run import checked\n"
        "try:\n"
        "    checked(Path(sys.argv[1]))\n"
        "except Exception as error:\n"
        "    print('read:', error)\n"
        "print('ray' in sys.modules)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, job], capture_output=True, text=True, check=True
    )
    assert run.stdout.startswith("read: ")
    assert run.stdout.endswith("False\n")
