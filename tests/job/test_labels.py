"""What `omnimat check` says about labels, splits and targets, before anything has run."""

import json

import pytest
import yaml
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.job.run import checked
from omnimat.shards.manifest import Manifest
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings

SOURCE = {"type": "prototypes", "num_materials": 12, "max_atoms": 4}


@pytest.fixture
def jobs(tmp_path):
    """Write an ingest job and a fine-tuning job that needs it; return how to check the latter."""
    names = [record.material_id for record in Prototypes(**SOURCE).read(0, 12)]
    (tmp_path / "labels.csv").write_text(
        "name,H,part\n" + "".join(f"{name},{i},train\n" for i, name in enumerate(names))
    )

    def check(target="hardness_gpa", **ingest):
        labels = {"path": str(tmp_path / "labels.csv"), "id": "name"}
        labels["columns"] = {"hardness_gpa": {"from": "H", "unit": "GPa"}}
        data = {"kind": "ingest", "name": "mine", "source": SOURCE, "labels": labels} | ingest
        finetune = {
            "kind": "finetune",
            "name": "tune",
            "needs": ["data.yaml"],
            "dataset": "mine",
            "run": "pre",
            "tasks": ["crystal system", {"name": "hardness", "target": target, "unit": "GPa"}],
        }
        for name, values in (("data", data), ("tune", finetune)):
            (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values))
        return checked(tmp_path / "tune.yaml", [f"storage_path={tmp_path / 'storage'}"])

    check.folder = tmp_path
    return check


def refusal(check, *arguments, **values):
    with pytest.raises(UserError) as error:
        check(*arguments, **values)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_target_that_the_labels_will_give(jobs):
    assert [job.name for job in jobs()] == ["mine", "tune"]
    jobs("density_g_per_cm3")
    jobs("H", labels={"path": str(jobs.folder / "labels.csv"), "id": "name"})


def test_a_target_that_nothing_will_give_is_told_before_the_ingest(jobs):
    sentence = refusal(jobs, "hardness")
    for part in ("tasks.1.target", "'hardness'", "data set mine", "did you mean 'hardness_gpa'"):
        assert part in sentence
    assert "tasks.1.target" in refusal(jobs, labels=None)
    assert not (jobs.folder / "storage").exists()


def test_a_source_that_does_not_tell_its_properties_may_have_any(jobs, monkeypatch):
    monkeypatch.setattr(Prototypes, "property_names", lambda self: None)
    jobs("anything")


@pytest.fixture
def ingested(jobs, write_dataset):
    """Ingest the data set of the job in this process."""
    labels = {"path": str(jobs.folder / "labels.csv"), "id": "name"}
    columns = {"hardness_gpa": {"from": "H"}, "part": {"kind": "class"}}
    settings = IngestSettings.model_validate(
        {"source": SOURCE, "labels": {**labels, "columns": columns}}
    )
    write_dataset(Workspace(UPath(jobs.folder / "storage")), "mine", settings.located())
    return jobs.folder / "storage" / "datasets" / "mine"


def finetune_alone(jobs, target):
    """Check the job without the ingest that it needs, as whoever has only the data set does."""
    (jobs.folder / "tune.yaml").unlink(missing_ok=True)
    values = {"kind": "finetune", "name": "tune", "dataset": "mine", "run": "pre"}
    values["tasks"] = [{"name": "hardness", "target": target}]
    (jobs.folder / "tune.yaml").write_text(yaml.safe_dump(values))
    return checked(jobs.folder / "tune.yaml", [f"storage_path={jobs.folder / 'storage'}"])


def test_a_target_that_no_record_of_a_data_set_has(jobs, ingested):
    sentence = refusal(finetune_alone, jobs, "hardnes")
    for part in ("tasks.0.target", "'hardnes'", "data set mine", "did you mean 'hardness_gpa'"):
        assert part in sentence


def test_a_target_that_one_split_lacks(jobs, ingested):
    path = ingested / "manifest.json"
    manifest = Manifest.load(UPath(ingested))
    not_empty = {split for split, count in manifest.split_counts.items() if count}
    assert set(manifest.property_counts["hardness_gpa"]) == not_empty
    assert "train" in not_empty
    counts = {"hardness_gpa": {"train": 1, "test": 2, "validation": 3}}
    manifest.model_copy(update={"property_counts": counts}).save(UPath(ingested))
    finetune_alone(jobs, "hardness_gpa")
    del counts["hardness_gpa"]["validation"]
    manifest.model_copy(update={"property_counts": counts}).save(UPath(ingested))
    assert "no validation record" in refusal(finetune_alone, jobs, "hardness_gpa")
    values = json.loads(path.read_text())
    del values["property_counts"], values["checksum"]  # as earlier versions wrote it
    path.write_text(json.dumps(values))
    finetune_alone(jobs, "hardness_gpa")


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ({"path": "none.csv"}, ("labels.path", "none.csv does not exist")),
        ({"id": "nam"}, ("labels.id", "did you mean 'name'")),
        ({"id": None}, ("labels.id", "'material_id'", "known here: H, name, part")),
        ({"columns": {"h": {}}}, ("labels.columns.h", "known here")),
        ({"columns": {"h": {"form": "H"}}}, ("'labels.columns.h.form'", "did you mean 'from'")),
        ({"columns": {"hardness": {"from": "H", "unit": "GPa"}}}, ("labels", "hardness_gpa")),
        ({"columns": {"part": {}}}, ("labels.columns.part", "'train'", "kind")),
    ],
)
def test_labels_that_cannot_be_read(jobs, labels, told):
    merged = {"path": str(jobs.folder / "labels.csv"), "id": "name"} | labels
    sentence = refusal(jobs, labels={key: v for key, v in merged.items() if v is not None})
    for part in told:
        assert part in sentence


@pytest.mark.parametrize(
    ("split", "told"),
    [
        ({"from": {"column": "prt"}}, ("split.from.column", "did you mean 'part'")),
        ({"from": {"colum": "part"}}, ("'split.from.colum'", "did you mean 'column'")),
        ({"from": {"column": "H"}}, ("split.from.column", "'0'", "split.from.values")),
        ({"from": {"values": {"train": "training"}}}, ("split.from.values.train",)),
        ({"property": "part", "vals": {}}, ("'split.vals'", "did you mean 'values'")),
        ({"trian": 0.8}, ("'split.trian'", "did you mean 'train'")),
        ({"train": 0.7}, ("split", "must be 1")),
    ],
)
def test_a_split_that_cannot_be_read(jobs, split, told):
    sentence = refusal(jobs, split=split)
    for part in told:
        assert part in sentence


def test_a_split_from_the_labels(jobs):
    ingest, _ = jobs(split={"from": {"column": "part"}})
    assert ingest.settings.split.table.column == "part"
