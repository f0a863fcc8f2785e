"""What is wrong with a job file is said in one sentence, before any cluster is asked."""

import json
import shutil

import pytest
import yaml
from click.testing import CliRunner
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.cli.main import main
from omnimat.job.asks import Ask
from omnimat.job.kinds.predict import PredictJob
from omnimat.job.load import load_as
from omnimat.prediction.origin import remember_origin
from omnimat.prediction.plan import make_plan
from omnimat.testing.packages import write_package


@pytest.fixture
def job(model, crystals, tmp_path):
    """Write the job file, with other values of some keys."""

    def job(**choices):
        values = {"kind": "predict", "name": "candidates", "model": str(model)}
        values |= {"storage_path": str(tmp_path / "storage"), "source": {"path": str(crystals)}}
        path = tmp_path / "candidates.yaml"
        kept = {key: value for key, value in (values | choices).items() if value is not None}
        path.write_text(yaml.safe_dump(kept))
        return path

    return job


@pytest.fixture
def begin(tmp_path):
    """Begin a job as its first start does; give its folder."""

    def begin(path):
        settings = load_as(PredictJob, path).settings
        workspace = Workspace(UPath(tmp_path / "storage"))
        plan, folder = make_plan(settings, workspace), workspace.run("candidates", "predictions")
        remember_origin(folder, plan.origin, plan.rows)
        return folder

    return begin


def reach(path, *, fresh=False):
    load_as(PredictJob, path).reach(fresh=fresh)


def check(path):
    result = CliRunner().invoke(main, ["check", str(path)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def test_a_right_job_is_right(job):
    assert check(job()) == (0, f"{job()}: ok\n")
    assert check(job(source=None, dataset="later"))[0] == 0


@pytest.mark.parametrize(
    ("choices", "told"),
    [
        ({"model": "/no/such/model"}, "model: /no/such/model does not exist"),
        ({"source": None}, "dataset: give either dataset or source"),
        ({"dataset": "data"}, "dataset: give either dataset or source"),
        ({"source": {"path": "/no/such/folder"}}, "/no/such/folder"),
        ({"source": {"type": "materials_project"}}, "source: what materials_project gives"),
        ({"output": "everything"}, "output"),
        ({"modality": "structure"}, "set output to embeddings or both"),
        ({"modality": "dos", "output": "embeddings"}, "no encoder for 'dos'; choose one of struct"),
        ({"row_per_part": 3}, "did you mean 'rows_per_part'"),
    ],
)
def test_a_wrong_job_is_refused_in_a_sentence(job, choices, told):
    code, output = check(job(**choices))
    assert code == 2
    assert told in output
    assert output.count("\n") == 1


def test_a_property_that_is_called_as_a_column_of_ours_is_refused(job, tmp_path):
    write_package(tmp_path / "mine", target="embedding")
    assert check(job(model=str(tmp_path / "mine")))[0] == 0
    code, output = check(job(model=str(tmp_path / "mine"), output="both"))
    assert code == 2
    assert "two columns 'embedding'" in output


def test_a_table_without_rows_is_refused(job, tmp_path):
    (tmp_path / "none.csv").write_text("cif\n")
    path = job(
        source={"type": "table", "path": str(tmp_path / "none.csv"), "structure": {"cif": "cif"}}
    )
    result = CliRunner().invoke(main, ["plan", str(path)])
    assert result.exit_code == 2
    assert "no rows" in result.output


def test_another_model_or_input_under_the_name_is_refused(job, begin, crystals, tmp_path):
    files = tmp_path / "files"
    shutil.copytree(crystals, files)
    write_package(tmp_path / "mine")
    path = job(model=str(tmp_path / "mine"), source={"path": str(files)})
    folder = begin(path)
    reach(path)
    shutil.rmtree(tmp_path / "mine")
    write_package(tmp_path / "mine", seeds=(5,))
    with pytest.raises(UserError, match=r"^model: .* begun with another model .* --fresh$"):
        reach(path)
    reach(path, fresh=True)
    shutil.rmtree(tmp_path / "mine")
    write_package(tmp_path / "mine")
    reach(path)
    (files / "empty.cif").write_text("data_x\n")
    with pytest.raises(UserError, match=r"empty\.cif was changed"):
        reach(path)
    (folder / "origin.json").write_text(json.dumps({"model": 3}))
    with pytest.raises(UserError, match=r"origin\.json is damaged"):
        reach(path)


def test_all_actors_run_at_the_same_time_and_a_gpu_is_taken_where_there_is_one(job):
    loaded = load_as(PredictJob, job(num_featurizers=3, num_models=2, model_num_cpus=0.5))
    ((featurizers, models),) = loaded.on_devices(0).phases()
    assert featurizers == Ask.featurizers(loaded.settings)
    assert (featurizers.count, featurizers.each) == (3, {"CPU": 1.0})
    assert (models.count, models.each) == (2, {"CPU": 0.5})
    ((_, models),) = loaded.on_devices(4).phases()
    assert models.each == {"CPU": 0.5, "GPU": 1.0}


def test_a_package_lies_on_any_filesystem(job, model):
    remote = UPath("memory://models/volume")
    for file in model.rglob("*"):
        if file.is_file():
            (remote / file.relative_to(model).as_posix()).write_bytes(file.read_bytes())
    settings = load_as(PredictJob, job(model=str(remote))).settings
    plan = make_plan(settings, Workspace(UPath("memory://storage")))
    assert plan.origin == make_plan(load_as(PredictJob, job()).settings, Workspace(UPath())).origin
    held = plan.package.held()
    assert all(held.data(name) == (model / name).read_bytes() for name in held.card.files)
