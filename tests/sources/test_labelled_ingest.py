"""Ingests with labels of the user's own: to the shards, to a change of the table, and killed."""

import json
import sys

import pytest
from pymatgen.core import Lattice, Structure
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.shards.codec import decode
from omnimat.shards.manifest import MANIFEST_NAME
from omnimat.shards.reader import read_records
from omnimat.sources.files.source import Files
from omnimat.sources.finished import finished
from omnimat.sources.ingest import ingest, write_slice
from omnimat.sources.inputs import content_hash, input_files
from omnimat.sources.labels.report import LABELS_NAME
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings
from omnimat.testing.ray_head import start
from omnimat.testing.waiting import wait_for

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("on_ray"),
    pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning"),
]

LABELS = """\
name,H,phase,fold
a,1.5,cubic,0
b.v2 (é),<5,cubic,1
c,,rutile,2
d,4.5,rutile,3
broken,5,rutile,1
elsewhere,6,cubic,1
"""


@pytest.fixture
def settings(tmp_path):
    """A folder of six CIFs, one of them broken and one without labels, and the labels beside it."""
    folder = tmp_path / "cifs"
    folder.mkdir()
    for number, name in enumerate(["a", "b.v2 (é)", "c", "d", "unlabelled"]):
        crystal = Structure(Lattice.cubic(4 + number / 10), ["Cs", "Cl"], [[0] * 3, [0.5] * 3])
        (folder / f"{name}.cif").write_text(crystal.to(fmt="cif"))
    (folder / "broken.cif").write_text("")
    (tmp_path / "labels.csv").write_text(LABELS)
    return IngestSettings(
        source=Files(path=str(folder)),
        labels={
            "path": str(tmp_path / "labels.csv"),
            "id": "name",
            "columns": {
                "hardness_gpa": {"from": "H", "unit": "GPa"},
                "phase": {"kind": "class"},
                "fold": {"kind": "class"},
            },
        },
        records_per_shard=2,
        num_cpus_per_task=0.5,
    )


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def known(manifest, directory):
    """Return the labels of every record, without the properties of the source."""
    rows = manifest.records(directory)
    raw = [one for _, part in rows.groupby("shard") for one in read_records(directory, part)]
    records = [decode(one.material_id, one.members) for one in raw]
    names = ("hardness_gpa", "phase", "fold")
    return {
        one.material_id: {k: v for k, v in one.properties.items() if k in names} for one in records
    }


def test_a_folder_of_cifs_with_labels_by_the_stems_of_its_files(settings, tmp_path, capsys):
    destination = UPath(tmp_path) / "one"
    manifest = ingest(settings, "demo", destination)
    assert known(manifest, destination) == {
        "a": {"hardness_gpa": 1.5, "phase": "cubic", "fold": "0"},
        "b_v2____": {"phase": "cubic", "fold": "1"},
        "c": {"phase": "rutile", "fold": "2"},
        "d": {"hardness_gpa": 4.5, "phase": "rutile", "fold": "3"},
        "unlabelled": {},
    }
    told = capsys.readouterr().out
    assert "4 of 5 records have labels of labels.csv" in told
    assert "elsewhere" in told
    assert "'<5' is not a number" in told
    lines = [json.loads(line) for line in (destination / LABELS_NAME).read_text().splitlines()]
    assert [line.get("id", line.get("material_id")) for line in lines] == [
        "broken",
        "elsewhere",
        "unlabelled",
        "b.v2 (é)",
    ]
    counts = {name: sum(by_split.values()) for name, by_split in manifest.property_counts.items()}
    assert counts == {
        "crystal_system": 5,
        "fold": 4,
        "hardness_gpa": 2,
        "phase": 4,
        "space_group_number": 5,
    }


def test_a_changed_table_is_noticed(settings, tmp_path):
    destination, table = UPath(tmp_path) / "one", tmp_path / "labels.csv"
    manifest = ingest(settings, "demo", destination, report_progress=False)
    table.write_text(LABELS.replace("4.5", "4.6"))
    with pytest.raises(UserError, match=r"labels\.csv was changed"):
        finished(settings, "demo", destination)
    table.unlink()
    assert ingest(settings, "demo", destination, report_progress=False) == manifest
    columns = dict(settings.labels.columns)
    del columns["fold"]
    fewer = settings.labels.model_copy(update={"columns": columns})
    with pytest.raises(UserError, match="other settings"):
        finished(settings.model_copy(update={"labels": fewer}), "demo", destination)


def test_an_interrupted_ingest_goes_on_and_after_a_change_of_the_table_begins_anew(
    settings, tmp_path
):
    whole, resumed = UPath(tmp_path) / "whole", UPath(tmp_path) / "resumed"
    ingest(settings, "demo", whole, report_progress=False)
    table = tmp_path / "labels.csv"
    table.write_text(LABELS.replace("a,1.5", "a,9.9"))
    write_slice(settings, resumed, 0, (), content_hash(input_files(settings)))
    stale = (resumed / "shard-00000.tar").read_bytes()
    table.write_text(LABELS)
    write_slice(settings, resumed, 1, (), content_hash(input_files(settings)))
    written_ns = (resumed / "shard-00001.tar").stat().st_mtime_ns
    ingest(settings, "demo", resumed, report_progress=False)
    assert (resumed / "shard-00000.tar").read_bytes() != stale
    assert (resumed / "shard-00001.tar").stat().st_mtime_ns == written_ns
    inputs = "inputs.jsonl"  # it holds the times of files
    assert {k: v for k, v in contents(resumed).items() if k != inputs} == {
        k: v for k, v in contents(whole).items() if k != inputs
    }


def test_labels_of_other_materials_end_without_a_data_set(settings, tmp_path):
    (tmp_path / "labels.csv").write_text("name,H,phase,fold\nmp-1,1,x,0\nmp-2,2,y,1\n")
    with pytest.raises(UserError) as error:
        ingest(settings, "demo", UPath(tmp_path) / "one", report_progress=False)
    for part in ("labels.id", "'mp-1' and 'mp-2'", "'a' and 'b_v2____'"):
        assert part in str(error.value)
    assert not (tmp_path / "one" / MANIFEST_NAME).exists()


SCRIPT = """
import sys, ray
from upath import UPath
from omnimat.sources.ingest import ingest
from omnimat.sources.settings import IngestSettings
ray.init(log_to_driver=False)
settings = IngestSettings.model_validate_json(sys.argv[2])
ingest(settings, "demo", UPath(sys.argv[1]), report_progress=False)
"""


@pytest.mark.slow
def test_a_killed_ingest_with_labels_and_a_split_goes_on_to_the_same_bytes(ray_head, tmp_path):
    source = Prototypes(num_materials=60)
    names = [record.material_id for record in source.read(0, 60)]
    rows = [f"{name},{i / 7},{('tr', 'va', 'te')[i % 3]}\n" for i, name in enumerate(names[5:])]
    (tmp_path / "labels.csv").write_text("id,H,part\n" + "".join(rows) + "nobody,1,tr\n")
    values = {"tr": "train", "va": "validation", "te": "test"}
    settings = IngestSettings(
        source=source,
        labels={"path": str(tmp_path / "labels.csv"), "id": "id", "columns": {"H": {}}},
        split={"from": {"column": "part", "values": values}},
        records_per_shard=10,
        num_cpus_per_task=2,
    )
    whole, killed = UPath(tmp_path) / "whole", UPath(tmp_path) / "killed"
    command = [sys.executable, "-c", SCRIPT, str(killed), settings.model_dump_json()]
    process = start(command, ray_head.environment, tmp_path / "log", tmp_path)
    shards = "shard-0000[12].tar"
    wait_for(lambda: list(killed.glob(shards)), process, tmp_path / "log", poll_s=0.01)
    process.kill()
    process.wait()
    assert not (killed / MANIFEST_NAME).exists()
    for directory in (killed, whole):
        manifest = ingest(settings, "demo", directory, report_progress=False)
    assert contents(killed) == contents(whole)
    assert manifest.num_records == len(rows)
    assert manifest.num_failures == 5
    assert manifest.split_counts == {"train": 19, "validation": 18, "test": 18}
