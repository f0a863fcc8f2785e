"""A sweep over folds on Ray, and the verification of its rows."""

import json

import pandas as pd
import pytest

from omnimat.base.provenance import sha256_of
from omnimat.base.settings import fingerprint
from omnimat.base.workspace import RESULT
from omnimat.cli.recomputation import recomputation
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.sweep import run_sweep
from omnimat.leaderboard.folds import fold_means
from omnimat.leaderboard.overlap import overlap_in
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.models.export import load, save
from omnimat.models.inputs import export_folder, read_cards
from omnimat.shards.manifest import Manifest
from omnimat.testing.leased import leased
from omnimat.training.settings import PretrainSettings
from omnimat.verification.verify import verify

pytestmark = pytest.mark.ray

URL = "sqlite:///{}"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    return URL.format(tmp_path_factory.mktemp("board") / "leaderboard.sqlite")


@pytest.fixture(scope="module")
def known_run(workspace):
    """The run ``pre`` as if it had been pretrained on the training split of the same data set."""
    mark = Manifest.load(workspace.dataset("cubes")).dataset_fingerprint
    for modality, card in read_cards(workspace.run("pre")).items():
        module, _ = load(export_folder(workspace.run("pre"), modality))
        told = card.model_copy(update={"dataset_fingerprint": mark})
        save(export_folder(workspace.run("known"), modality), module, told)
    settings = PretrainSettings(
        dataset="cubes",
        modalities={"structure": {}, "dos": {}},
        objective={"type": "clip"},
        training={"global_batch_size": 4},
    )
    result = json.dumps({"settings": settings.model_dump(mode="json")})
    (workspace.run("known") / RESULT).write_text(result)
    return "known"


@pytest.fixture(scope="module")
def rows(on_ray, workspace, settings, url, known_run):
    """Two of three folds, each with two learning rates and two seeds."""
    changes = {
        "run": known_run,
        "variants": ["frozen"],
        "learning_rates": [1e-2, 1e-9],
        "seeds": [0, 1],
    }
    changes |= {"folds": {"property": "fold", "test": [0, 2], "validation_fraction": 0.2}}
    changes |= {"trial": {"num_epochs": 2, "batch_size": 16}}
    folded = FinetuneSettings.model_validate(settings.model_dump() | changes)
    return run_sweep("folded", folded, workspace, leased(workspace.run("folded")), url)


def test_each_fold_has_a_row_for_every_seed_and_a_board_of_its_own(rows, workspace, url):
    assert [(row.task, row.config["fold"]["test"], row.seed) for row in rows] == [
        (f"mean atomic number, fold {fold} of 3", fold, seed) for fold in "02" for seed in (0, 1)
    ]
    for row in rows:
        ids = pd.read_parquet(workspace.root / row.predictions_uri)["material_id"]
        assert {int(one[-3:]) % 3 for one in ids} == {int(row.config["fold"]["test"])}
        assert "folds" not in row.config
    summaries = LeaderboardStore(url).summaries()
    assert [one.n for one in summaries] == [2, 2]
    assert len({one.board for one in summaries}) == 2


def test_each_fold_tells_what_pretraining_saw_of_it(rows, workspace):
    folder = workspace.dataset("cubes")
    index = Manifest.load(folder).records(folder)
    is_seen = index["reduced_formula"].isin(index["reduced_formula"][index["split"] == "train"])
    seen = set(index["material_id"][is_seen])
    for row in rows:
        ids = set(pd.read_parquet(workspace.root / row.predictions_uri)["material_id"])
        parts = overlap_in(row.details).parts
        assert parts["test"].num_materials == row.num_test == len(ids)
        # All are of the structure of caesium chloride, whatever their size.
        assert parts["test"].same_formula == parts["test"].same_structure == len(seen & ids)
        assert 0 < len(seen & ids) < len(ids)
        assert parts["validation"].num_materials > 0


def test_each_fold_chooses_its_point_on_its_own_validation(rows, workspace):
    trials = pd.read_parquet(workspace.run("folded") / "trials.parquet")
    assert len(trials) == 8
    means = trials.groupby(["fold", "lr"])["validation_error"].mean()
    for row in rows:
        assert row.hyperparameters["lr"] == means[row.config["fold"]["test"]].idxmin()
    result = json.loads((workspace.run("folded") / "result.json").read_text())
    assert [one["fold"] for one in result["chosen"]] == ["0", "2"]


def test_the_mean_over_folds_says_how_many_there_are(rows, url):
    store = LeaderboardStore(url)
    summaries = store.summaries()
    (mean,) = fold_means(summaries, store.configs(one.config_hash for one in summaries))
    assert (mean.task, mean.num_folds, len(mean.members)) == ("mean atomic number", 3, 2)


def outcomes(rows, workspace, tmp_path):
    store = LeaderboardStore(URL.format(tmp_path / "leaderboard.sqlite"))
    store.upsert(rows)
    return verify(store, workspace.files, recomputation)


def test_rows_of_folds_are_computed_again(rows, workspace, tmp_path):
    found = outcomes(rows, workspace, tmp_path)
    assert [(one.verdict, one.sentences) for one in found] == [("recomputed", ())] * 4


def forged(row, **fold):
    """Tell another fold in a row, with every hash in order."""
    told = row.config["fold"] | fold
    config = row.config | {"fold": told}
    label = f"{told['property']} {told['test']} of {told['num_folds']}"
    changes = {"config": config, "config_hash": fingerprint(config)}
    changes["task"] = f"mean atomic number, {label}"
    return row.model_copy(update=changes)


@pytest.mark.parametrize(
    ("fold", "told"),
    [
        ({"test": "1"}, ("of the train split, not of test", "'test': '0'")),
        ({"num_folds": 2}, ("has 3 folds", "num_folds is 2")),
        ({"seed": 3}, ("trial.json: fold is",)),
        ({"validation_fraction": 0.1}, ("trial.json: fold is",)),
        ({"property": "is_heavy", "test": "true"}, ("split, not of test",)),
    ],
)
def test_another_fold_than_that_of_the_predictions_is_caught(rows, workspace, tmp_path, fold, told):
    (outcome,) = outcomes([forged(rows[0], **fold)], workspace, tmp_path)
    assert outcome.verdict == "failed"
    for words in told:
        assert words in "\n".join(outcome.sentences)


def test_a_row_that_hides_its_fold_is_caught(rows, workspace, tmp_path):
    config = {key: value for key, value in rows[0].config.items() if key != "fold"}
    changes = {"config": config, "config_hash": fingerprint(config), "task": "mean atomic number"}
    (outcome,) = outcomes([rows[0].model_copy(update=changes)], workspace, tmp_path)
    assert outcome.verdict == "failed"
    assert "of the train split, not of test" in "\n".join(outcome.sentences)


def test_a_material_without_a_fold_or_of_another_does_not_judge(rows, workspace, tmp_path):
    """A table of predictions with two materials too many and its hash in order."""
    table = pd.read_parquet(workspace.root / rows[0].predictions_uri)
    extra = table.iloc[[0, 1]].assign(material_id=["mat-005", "mat-002"])
    path = workspace.root / "two-too-many.parquet"
    pd.concat([table, extra], ignore_index=True).to_parquet(path)
    changes = {"predictions_uri": path.name, "predictions_sha256": sha256_of(path)}
    (outcome,) = outcomes([rows[0].model_copy(update=changes)], workspace, tmp_path)
    sentences = "\n".join(outcome.sentences)
    assert outcome.verdict == "failed"
    assert "material mat-005 has no fold" in sentences
    assert "material mat-002 is of the " in sentences
