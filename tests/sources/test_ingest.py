import json
import sys

import pandas as pd
import pytest
from pydantic import ValidationError
from pymatgen.core import Lattice, Structure
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.lease import HeldError, Lease, LostError
from omnimat.base.lease_files import FOLDER
from omnimat.cluster.tasks import in_parallel
from omnimat.shards.codec import decode
from omnimat.shards.manifest import MANIFEST_NAME, Manifest
from omnimat.shards.reader import read_records
from omnimat.sources.ingest import ingest, ingest_in_turn, write_slice
from omnimat.sources.inputs import content_hash, input_files
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings
from omnimat.sources.tables.source import Table
from omnimat.testing.ray_head import start
from omnimat.testing.waiting import wait_for

pytestmark = pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")


@pytest.fixture
def csv(tmp_path):
    """Twelve rows: a duplicate inside a shard, one across shards, and a broken CIF."""
    ids = ["a", "b", "b", "c", "d", "e", "a", "f", "g", "h", "i", "a"]
    rows = []
    for i, material_id in enumerate(ids):
        crystal = Structure(Lattice.cubic(4 + i / 10), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
        rows.append({"material_id": material_id, "band_gap": i, "cif": crystal.to(fmt="cif")})
    rows[4]["cif"] = "broken"
    path = tmp_path / "train.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.fixture
def settings(csv):
    source = Table(path=str(csv), mapping="mp20")
    return IngestSettings(source=source, records_per_shard=5, num_cpus_per_task=0.5)


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


@pytest.mark.ray
@pytest.mark.usefixtures("on_ray")
def test_ingest(settings, tmp_path):
    destination = UPath(tmp_path) / "one"
    manifest = ingest(settings, "demo", destination, report_progress=False)
    assert Manifest.load(destination) == manifest
    assert sorted(contents(destination)) == [
        "failures.jsonl",
        "inputs.jsonl",
        "manifest.json",
        "records.parquet",
        "shard-00000.tar",
        "shard-00001.tar",
        "shard-00002.tar",
    ]
    records = manifest.records(destination)
    assert records.material_id.tolist() == ["a", "b", "c", "e", "f", "g", "h", "i"]
    assert records.shard.tolist() == [0, 0, 0, 1, 1, 1, 1, 2]
    assert records.row.tolist() == [0, 1, 2, 0, 1, 2, 3, 0]
    assert set(records.reduced_formula) == {"CsCl"}
    assert records.split.nunique() == 1  # one formula cannot straddle splits
    assert sum(manifest.split_counts.values()) == manifest.num_records == 8
    lines = (destination / "failures.jsonl").read_text().splitlines()
    failures = [json.loads(line) for line in lines]
    assert [(f["material_id"], f["shard"]) for f in failures] == [
        ("b", 0),
        ("d", 0),
        ("a", 1),
        ("a", 2),
    ]
    assert manifest.num_failures == 4
    assert "duplicate" in failures[2]["reason"]
    for shard, rows in records.groupby("shard"):
        raw = read_records(destination, rows)
        gaps = [decode(r.material_id, r.members).properties["band_gap_ev"] for r in raw]
        assert gaps == [[0, 1, 3], [5, 7, 8, 9], [10]][shard]
    alone = UPath(tmp_path) / "alone"
    ingest_in_turn(settings, "demo", alone, report_progress=False)
    assert contents(alone) == contents(destination)


@pytest.mark.ray
@pytest.mark.usefixtures("on_ray")
def test_an_interrupted_ingest_goes_on_to_the_same_bytes(settings, tmp_path):
    whole, resumed = UPath(tmp_path) / "whole", UPath(tmp_path) / "resumed"
    ingest(settings, "demo", whole, report_progress=False)
    write_slice(settings, resumed, 0, (), content_hash(input_files(settings.source)))
    first = resumed / "shard-00000.tar"
    written_ns = first.stat().st_mtime_ns
    (resumed / ".shard-00001.tar.0.partial").write_bytes(b"half")
    (resumed / "shard-00001.tar").write_bytes(b"without a report")
    (resumed / "shard-00009.tar").write_bytes(b"of other settings")
    ingest(settings, "demo", resumed, report_progress=False)
    assert contents(resumed) == contents(whole)
    assert first.stat().st_mtime_ns == written_ns


@pytest.mark.parametrize("what", ["report", "shard", "another report", "no shard"])
def test_a_damaged_shard_of_an_unfinished_ingest_is_made_again(settings, tmp_path, what, capsys):
    asked = settings, UPath(tmp_path / "data"), 0, (), content_hash(input_files(settings.source))
    report = write_slice(*asked)
    whole = contents(tmp_path / "data")
    (told,) = (tmp_path / "data").glob(".reports-*/*.json")
    path = tmp_path / "data" / "shard-00000.tar" if "shard" in what else told
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(b"{}" if what == "another report" else data)
    if what == "no shard":
        path.unlink()
    assert write_slice(*asked) == report
    assert contents(tmp_path / "data") == whole
    assert ("made again" in capsys.readouterr().out) == (what != "no shard")


@pytest.mark.ray
@pytest.mark.usefixtures("on_ray")
def test_of_two_that_ingest_at_once_one_makes_the_data_set(settings, tmp_path, monkeypatch):
    whole, shared = UPath(tmp_path) / "whole", UPath(tmp_path) / "shared"
    ingest(settings, "demo", whole, report_progress=False)
    with Lease.acquire(shared, "the first", stale_after_s=0.6), pytest.raises(HeldError):
        ingest(settings, "demo", shared, report_progress=False)
    assert contents(shared) == {}

    def taken_over(*arguments, **options):
        """Give the first shard; then another process takes over, since nothing was heard."""
        for number, result in enumerate(in_parallel(*arguments, **options)):
            if number == 1:
                leases = shared / FOLDER
                (leases / "000003.json").write_bytes((leases / "000001.json").read_bytes())
            yield result

    with monkeypatch.context() as patched:
        patched.setattr("omnimat.sources.ingest.in_parallel", taken_over)
        with pytest.raises(LostError):
            ingest(settings, "demo", shared, report_progress=False)
    assert not (shared / MANIFEST_NAME).exists()
    ingest(settings, "demo", shared, report_progress=False)
    assert contents(shared) == contents(whole)


@pytest.mark.ray
@pytest.mark.usefixtures("on_ray")
def test_a_finished_data_set_is_left_alone(settings, tmp_path, csv):
    destination = UPath(tmp_path) / "one"
    manifest = ingest(settings, "demo", destination, report_progress=False)
    whole = csv.read_text()
    csv.write_text(whole[:-1])
    with pytest.raises(UserError, match=r"train\.csv was changed"):
        ingest(settings, "demo", destination, report_progress=False)
    csv.write_text(whole)
    assert ingest(settings, "demo", destination, report_progress=False) == manifest
    csv.unlink()  # nothing is read again
    other_tasks = settings.model_copy(update={"num_cpus_per_task": 2.0})
    assert ingest(other_tasks, "demo", destination, report_progress=False) == manifest
    changed = settings.model_copy(update={"records_per_shard": 4})
    with pytest.raises(UserError, match="choose another name or delete it"):
        ingest(changed, "demo", destination, report_progress=False)


@pytest.mark.ray
@pytest.mark.usefixtures("on_ray")
def test_a_source_without_a_valid_record(settings, tmp_path, csv):
    pd.DataFrame([{"material_id": "a", "cif": "broken"}]).to_csv(csv, index=False)
    with pytest.raises(UserError, match=r"no valid record.* a: "):
        ingest(settings, "demo", UPath(tmp_path) / "one", report_progress=False)
    assert not (tmp_path / "one" / MANIFEST_NAME).exists()


SCRIPT = """
import sys, ray
from upath import UPath
from omnimat.sources.ingest import ingest
from omnimat.sources.settings import IngestSettings
from omnimat.sources.tables.source import Table
ray.init(log_to_driver=False)
settings = IngestSettings.model_validate_json(sys.argv[2])
ingest(settings, "demo", UPath(sys.argv[1]), report_progress=False)
"""


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("on_ray")
def test_a_killed_ingest_goes_on_to_the_same_bytes(ray_head, tmp_path):
    source = Prototypes(num_materials=60)
    settings = IngestSettings(source=source, records_per_shard=10, num_cpus_per_task=2)
    whole, killed = UPath(tmp_path) / "whole", UPath(tmp_path) / "killed"
    command = [sys.executable, "-c", SCRIPT, str(killed), settings.model_dump_json()]
    process = start(command, ray_head.environment, tmp_path / "log", tmp_path)
    shards = "shard-0000[12].tar"
    wait_for(lambda: list(killed.glob(shards)), process, tmp_path / "log", poll_s=0.01)
    process.kill()
    process.wait()
    assert not (killed / MANIFEST_NAME).exists()
    for directory in (killed, whole):
        ingest(settings, "demo", directory, report_progress=False)
    assert contents(killed) == contents(whole)


def test_the_type_chooses_the_source():
    settings = IngestSettings.model_validate({"source": {"type": "prototypes", "max_atoms": 4}})
    assert settings.source.max_atoms == 4
    assert settings.fingerprint() != IngestSettings().fingerprint()
    with pytest.raises(ValidationError, match="'prototypes', 'table', 'files'"):
        IngestSettings.model_validate({"source": {"type": "prototype"}})
