"""The job on Ray: killed and run again, every row is there once, and says what Python says."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from upath import UPath

import omnimat
from omnimat.testing.packages import TARGET
from omnimat.testing.ray_head import start
from omnimat.testing.waiting import wait_for

pytestmark = [pytest.mark.ray, pytest.mark.slow]

JOB = {
    "kind": "predict",
    "name": "candidates",
    "output": "both",
    "rows_per_part": 3,
    "featurizer_num_cpus": 0.5,
    "model_num_cpus": 0.5,
    "max_quarantined": 0.1,
}


@pytest.fixture
def job(model, crystals, tmp_path):
    path = tmp_path / "candidates.yaml"
    path.write_text(yaml.safe_dump(JOB | {"model": str(model), "source": {"path": str(crystals)}}))
    return path


def test_a_killed_job_makes_only_what_is_missing_and_every_row_is_there_once(
    ray_head, run_here, job, model, crystals, tmp_path
):
    folder = UPath(ray_head.storage) / "predictions" / "candidates"
    log = tmp_path / "log"
    driver = start(["omnimat", "run", str(job)], ray_head.environment, log, tmp_path)
    wait_for(lambda: list((folder / "reports").glob("*.json")), driver, log, poll_s=0.02)
    driver.kill()
    driver.wait()
    assert not (folder / "result.json").exists()
    stamps = {path: path.stat().st_mtime_ns for path in (folder / "reports").glob("*.json")}
    code, output = run_here(tmp_path, "run", str(job), "--set", "num_featurizers=2")
    assert code == 0, output
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert 1 <= len(stamps) < 11
    result = json.loads((folder / "result.json").read_text())
    (told,) = [line for line in output.splitlines() if "rows/s" in line]
    assert f"{result['num_rows']} rows in 11 parts" in told
    assert "2 quarantined" in told

    table = pd.concat(pd.read_parquet(folder / "parts" / one["name"]) for one in result["parts"])
    bad = pd.read_parquet(folder / "quarantined.parquet")
    names = sorted(path.stem for path in crystals.iterdir())
    assert sorted([*table["material_id"], *bad["material_id"]]) == names
    assert bad["material_id"].tolist() == ["broken", "empty"]
    assert all(bad["reason"])

    paths = [str(crystals / f"{name}.cif") for name in table["material_id"]]
    python = omnimat.load(model)
    wanted = python.predict(paths)
    np.testing.assert_allclose(table[TARGET], wanted[TARGET], rtol=1e-6)
    vectors = np.stack(table["embedding"].tolist())
    np.testing.assert_allclose(vectors, python.embed(paths).vectors, atol=1e-6)

    assert "finished, nothing to do" in run_here(tmp_path, "run", str(job))[1]
    code, output = run_here(tmp_path, "run", str(job), "--fresh")
    assert code == 0, output
    again = json.loads((folder.with_name("candidates@2") / "result.json").read_text())
    assert again["parts"] == result["parts"]
