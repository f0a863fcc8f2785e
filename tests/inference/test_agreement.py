"""One packed model says the same in Python, by a command, as a job on Ray and on a page."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from fastapi.testclient import TestClient
from upath import UPath

import omnimat
from omnimat.cli.main import main
from omnimat.finetune.outcome import read_result, trial_folder
from omnimat.finetune.plan import make_plan
from omnimat.finetune.rows import Scored, make_row
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.materials.crystals import to_pymatgen
from omnimat.models.inputs import read_cards
from omnimat_dashboard.app import create_app

TARGET = "volume_angstrom3_per_atom"
NUMBERS = [TARGET, f"{TARGET}_low", f"{TARGET}_high", "crystal_system_probability", "distance"]
# Batches of another size add up in another order.
TOLERANCE = 1e-6
ON_PAGES = 5e-5  # figures of pages have five digits, so half a unit of the last of them


@pytest.fixture(scope="module")
def crystals(tmp_path_factory, records):
    folder = tmp_path_factory.mktemp("crystals")
    for place, record in enumerate(records[:10]):
        to_pymatgen(record.structure).to(str(folder / f"m{place}.cif"), fmt="cif")
    return folder


@pytest.fixture(scope="module")
def model(packed):
    return omnimat.load(packed)


@pytest.fixture(scope="module")
def paths(crystals):
    return sorted(map(str, crystals.iterdir()))


@pytest.fixture(scope="module")
def index(model, paths, tmp_path_factory):
    return omnimat.index(model, paths, tmp_path_factory.mktemp("indexes") / "python")


def run(*arguments):
    result = CliRunner().invoke(main, [str(one) for one in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def assert_same(found, wanted):
    """Two tables of predictions, of the same materials in the same order."""
    numbers = wanted[NUMBERS].to_numpy(np.float64)
    np.testing.assert_allclose(found[NUMBERS].to_numpy(np.float64), numbers, rtol=TOLERANCE)
    assert found["crystal_system"].tolist() == wanted["crystal_system"].tolist()


def test_commands_embed_and_predict_as_python_does(packed, model, paths, tmp_path):
    vectors, wanted = model.embed(paths).vectors, model.predict(paths)
    run("embed", packed, *paths, "-o", tmp_path / "vectors.npz")
    with np.load(tmp_path / "vectors.npz") as found:
        assert found["names"].tolist() == paths
        np.testing.assert_allclose(found["vectors"], vectors, atol=TOLERANCE)
    run("embed", packed, *paths, "-o", tmp_path / "vectors.parquet")
    found = np.stack(pd.read_parquet(tmp_path / "vectors.parquet")["vector"].tolist())
    np.testing.assert_allclose(found, vectors, atol=TOLERANCE)
    readers = {
        "csv": pd.read_csv,
        "parquet": pd.read_parquet,
        "jsonl": lambda path: pd.read_json(path, lines=True),
    }
    for ending, read in readers.items():
        run("predict", packed, *paths, "-o", tmp_path / f"table.{ending}")
        table = read(tmp_path / f"table.{ending}")
        assert table["name"].tolist() == paths
        assert_same(table, wanted)


@pytest.mark.ray
@pytest.mark.slow
def test_a_job_says_what_python_says_and_an_index_of_it_finds_the_same(
    ray_head, run_here, packed, model, crystals, paths, index, tmp_path
):
    job = {
        "kind": "predict",
        "name": "agreement",
        "model": str(packed),
        "source": {"path": str(crystals)},
        "output": "both",
        "rows_per_part": 4,
        "featurizer_num_cpus": 0.5,
        "model_num_cpus": 0.5,
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    code, output = run_here(tmp_path, "run", "job.yaml")
    assert code == 0, output
    parts = UPath(ray_head.storage) / "predictions" / "agreement" / "parts"
    table = pd.concat(pd.read_parquet(one) for one in sorted(parts.iterdir()))
    table = table.sort_values("material_id", ignore_index=True)
    assert [str(crystals / f"{name}.cif") for name in table["material_id"]] == paths
    assert_same(table, model.predict(paths))
    vectors = model.embed(paths).vectors
    np.testing.assert_allclose(np.stack(table["embedding"].tolist()), vectors, atol=TOLERANCE)

    run("index", packed, str(parts), "-o", tmp_path / "of-job")
    for path in paths[::3]:
        wanted, found = (model.search(path, one) for one in (index, tmp_path / "of-job"))
        assert [str(crystals / f"{name}.cif") for name in found["name"]] == list(wanted["name"])
        np.testing.assert_allclose(found["similarity"], wanted["similarity"], atol=TOLERANCE)
        column = f"predicted.{TARGET}"
        np.testing.assert_allclose(found[column], wanted[column], rtol=TOLERANCE)


def test_a_command_finds_what_python_finds(packed, model, paths, index, tmp_path):
    run("index", packed, *paths, "-o", tmp_path / "command")
    made = omnimat.Index.open(tmp_path / "command")
    np.testing.assert_allclose(made.embeddings, index.embeddings, atol=TOLERANCE)
    for path in paths[::3]:
        wanted = model.search(path, index)
        printed = run("search", packed, path, "--index", tmp_path / "command", "--json")
        (answer,) = json.loads(printed)
        found = pd.DataFrame(answer["hits"])
        assert found["name"].tolist() == wanted["name"].tolist()
        np.testing.assert_allclose(found["similarity"], wanted["similarity"], atol=TOLERANCE)


@pytest.fixture(scope="module")
def board(storage, of_the_run, sweep_settings, tmp_path_factory):
    """The rows of the sweep for its number, as the job would have written them."""
    cards = read_cards(storage.run("pre"))
    plan = make_plan(sweep_settings, storage, cards)
    task = plan.tasks[0]
    rows = []
    for trial, tables in zip(sweep_settings.trials(), of_the_run, strict=True):
        folder = trial_folder(storage.run("sweep"), trial)
        path = storage.run("sweep") / "predictions" / f"{trial.name}.parquet"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(tables[task.name].to_parquet(index=False))
        scored = Scored(task, read_result(plan, trial, folder), folder, tables[task.name], path)
        rows.append(make_row("sweep", sweep_settings, plan, cards, scored, storage.files))
    url = f"sqlite:///{tmp_path_factory.mktemp('board') / 'leaderboard.sqlite'}"
    LeaderboardStore(url).upsert(rows)
    return url, rows


def test_the_page_of_a_result_shows_what_its_package_predicts(storage, board, model, monkeypatch):
    """Of every seed it draws a figure; the package predicts their mean."""
    url, rows = board
    with TestClient(create_app(url, str(storage.root)), "http://127.0.0.1") as client:
        page = client.get(f"/result/{rows[0].group_id}")
    assert page.status_code == 200, page.text
    scripts = re.findall(r"<script[^>]*application/json[^>]*>(.*?)</script>", page.text, re.DOTALL)
    clouds = [one for one in map(json.loads, scripts) if one["kind"] == "cloud"]
    assert len(clouds) == len(rows) == 2
    labels = clouds[0]["labels"]
    assert [one["labels"] for one in clouds] == [labels, labels]
    names = [label.partition("(")[2].removesuffix(")") for label in labels]  # behind the formula
    shown = np.mean([one["clouds"][0]["y"] for one in clouds], axis=0)
    monkeypatch.setenv("OMNIMAT_STORAGE", str(storage.root))
    table = model.predict("dataset:data").set_index("name")
    assert len(names) == 20
    np.testing.assert_allclose(shown, table.loc[names, TARGET], rtol=ON_PAGES)
    files = [storage.files.file(one.predictions_uri, "predictions_uri") for one in rows]
    kept = [pd.read_parquet(str(file)) for file in files]
    of_run = np.mean([one.set_index("material_id").loc[names, "prediction"] for one in kept], 0)
    np.testing.assert_allclose(of_run, table.loc[names, TARGET], rtol=TOLERANCE)
