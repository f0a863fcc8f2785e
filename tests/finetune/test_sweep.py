import json

import numpy as np
import pandas as pd
import pytest
import yaml
from upath import UPath

from omnimat.base.checked_json import read_checked_json
from omnimat.base.errors import UserError
from omnimat.base.lease import Lease, LostError
from omnimat.base.lease_files import FOLDER
from omnimat.base.provenance import sha256_of
from omnimat.cluster.capacity import LARGEST
from omnimat.finetune.outcome import TrialResult
from omnimat.finetune.plan import make_plan
from omnimat.finetune.repeat import expected_ids
from omnimat.finetune.rows import best_points
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.sweep import run_sweep
from omnimat.finetune.trial import run_trial
from omnimat.finetune.trial_settings import Contender
from omnimat.finetune.tuning import SweepError, num_slots
from omnimat.job.attempt import open_run
from omnimat.leaderboard.overlap import overlap_in
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.models.inputs import read_cards
from omnimat.testing.leased import leased
from omnimat.testing.ray_head import start
from omnimat.testing.waiting import wait_for

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def rows(on_ray, workspace, settings):
    return run_sweep("sweep", settings, workspace, leased(workspace.run("sweep")))


@pytest.fixture(scope="module")
def trials(rows, workspace):
    return pd.read_parquet(str(workspace.run("sweep") / "trials.parquet"))


def test_there_is_a_row_for_every_variant_and_seed(rows, workspace):
    assert [(row.variant, row.seed) for row in rows] == [
        ("finetuned", 0),
        ("finetuned", 1),
        ("from_scratch", 0),
        ("from_scratch", 1),
    ]
    assert {row.model for row in rows} == {
        "structure (potnet), fine-tuned from pre",
        "structure (potnet), from scratch",
    }
    assert len({row.config_hash for row in rows}) == 1  # seeds are averaged under one hash
    stored = LeaderboardStore(workspace.leaderboard_url).rows()
    assert {row.row_id for row in stored} == {row.row_id for row in rows}


def test_what_nobody_knows_to_be_seen_is_unknown(rows):
    for row in rows:
        overlap = overlap_in(row.details)
        if row.variant == "from_scratch":
            assert overlap is None
        else:
            assert "result.json is not there" in overlap.unknown


def test_the_chosen_rate_is_the_best_on_validation(rows, trials):
    assert len(trials) == 8
    means = trials.groupby(["variant", "lr"])["validation_metric"].mean()
    for row in rows:
        assert row.hyperparameters["lr"] == means[row.variant].idxmin()


def test_a_rows_value_follows_from_its_predictions(rows, workspace, settings):
    properties = {f"mat-{index:03d}" for index in range(9, 60, 10)}
    for row in rows:
        predictions = pd.read_parquet(workspace.root / row.predictions_uri)
        assert set(predictions["material_id"]) == properties
        assert set(predictions["split"]) == {"test"}
        assert row.value == np.abs(predictions["prediction"] - predictions["target"]).mean()
        assert row.num_test == len(predictions) == 6
        assert row.predictions_sha256 == sha256_of(workspace.root / row.predictions_uri)
        assert row.checkpoint_sha256 == sha256_of(workspace.root / row.checkpoint_uri)
        found = json.loads(
            (workspace.root / row.checkpoint_uri).with_name("trial.json").read_text()
        )
        made_with = ("hardware", "code_commit", "code_dirty")
        assert [found[name] for name in made_with] == [getattr(row, name) for name in made_with]


def test_a_trial_in_ray_is_a_trial_outside(rows, workspace, settings, plan, tmp_path):
    trial = settings.trials()[3]
    outside = run_trial(plan, trial, UPath(tmp_path), lambda entry: None)
    path = workspace.run("sweep") / "trials" / trial.name / "trial.json"
    inside = TrialResult.model_validate(read_checked_json(path, ""))
    assert inside.history == outside.history


def test_run_again_it_gives_the_same_rows_and_trains_nothing(rows, workspace, settings):
    stamp = {p: p.stat().st_mtime for p in workspace.run("sweep").glob("trials/*/trial.json")}
    changes = ("created_at", "status")
    again = run_sweep("sweep", settings, workspace, leased(workspace.run("sweep")))
    for row, repeated in zip(rows, again, strict=True):
        assert row.model_dump(exclude={*changes}) == repeated.model_dump(exclude={*changes})
    assert {p: p.stat().st_mtime for p in stamp} == stamp
    assert len(LeaderboardStore(workspace.leaderboard_url).rows()) == len(rows)


def test_a_finished_sweep_that_was_taken_over_writes_nothing(rows, workspace, settings):
    run = workspace.run("sweep")
    first = leased(run)
    leased(run)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    with pytest.raises(LostError, match="was taken over by"):
        run_sweep("sweep", settings, workspace, first)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_other_threads_make_no_other_trial(rows, workspace, settings):
    old = {p: p.stat().st_mtime for p in workspace.run("sweep").glob("trials/*/trial.json")}
    changes = {"trial": settings.trial.model_dump() | {"num_threads": 2}}
    elsewhere = FinetuneSettings.model_validate(settings.model_dump() | changes)
    again = run_sweep("sweep", elsewhere, workspace, leased(workspace.run("sweep")))
    assert [row.row_id for row in again] == [row.row_id for row in rows]
    assert {p: p.stat().st_mtime for p in old} == old


def test_as_many_trials_run_at_once_as_the_cluster_may_hold(on_ray, settings, monkeypatch):
    assert num_slots(settings) == 2
    on_gpus = FinetuneSettings.model_validate(settings.model_dump() | {"gpus_per_trial": 0.5})
    assert num_slots(on_gpus) == 1  # Ray says what is missing, and an autoscaler may bring it
    monkeypatch.setenv(LARGEST, "CPU=296,GPU=8")
    assert num_slots(on_gpus) == 16


def test_several_modalities_and_numbers_make_rows_that_can_be_checked(on_ray, workspace, settings):
    task = {"name": "atomic numbers", "target": "atomic_numbers", "unit": "e"}
    changes = {"modalities": ["structure", "dos"], "tasks": [task], "variants": ("from_scratch",)}
    changes |= {"learning_rates": (1e-2,), "seeds": (0,), "max_concurrent_trials": 1}
    fused = FinetuneSettings.model_validate(settings.model_dump(exclude={"head"}) | changes)
    (row,) = run_sweep("fused", fused, workspace, leased(workspace.run("fused")))
    assert row.model == "structure (potnet) + dos (dos_transformer), concat fusion, from scratch"
    assert row.parent_run == ""
    assert set(row.config["cards"]) == {"structure", "dos"}
    predictions = pd.read_parquet(workspace.root / row.predictions_uri)
    errors = [np.stack(predictions[column]) for column in ("prediction", "target")]
    assert errors[0].shape == (5, 2)  # one of the six has no density of states
    assert row.value == np.abs(errors[0] - errors[1]).mean()


def test_several_tasks_make_a_row_each(on_ray, workspace, settings):
    tasks = [
        {"name": "mean atomic number", "target": "mean_atomic_number", "unit": "e"},
        {"name": "Weight (class)", "target": "is_heavy", "kind": "classification"},
    ]
    changes = {"tasks": tasks, "variants": ("from_scratch",), "learning_rates": (1e-2,)}
    changes |= {"train_fractions": (0.5, 1.0), "seeds": (0,), "label": "together"}
    changes |= {"max_concurrent_trials": 1}
    joint = FinetuneSettings.model_validate(settings.model_dump() | changes)
    rows = run_sweep("joint", joint, workspace, leased(workspace.run("joint")))
    assert [(row.task, row.details["num_train"]) for row in rows] == [
        ("mean atomic number", 24),
        ("Weight (class)", 24),
        ("mean atomic number", 48),
        ("Weight (class)", 48),
    ]
    assert len({row.config_hash for row in rows}) == 2  # one a fraction
    assert rows[0].model == "structure (potnet), from scratch, 50 % of training, together"
    weight = rows[3]
    assert "/predictions/weight-class/" in weight.predictions_uri
    predictions = pd.read_parquet(workspace.root / weight.predictions_uri)
    right = predictions["prediction"] == predictions["target"]
    assert weight.value == right.mean()
    assert weight.details["per_class_accuracy"] == {
        label: right[predictions["target"] == label].mean() for label in ("False", "True")
    }


def test_halving_stops_poor_points_for_good_and_trains_the_best_with_every_seed(
    on_ray, workspace, settings, capsys
):
    """One of two rates is hopeless, for each of two contenders; run again, nothing is."""
    changes = {"variants": ("frozen", "from_scratch"), "learning_rates": (1e-2, 1e-9)}
    changes |= {"asha": {"grace_epochs": 1, "reduction_factor": 2}, "max_concurrent_trials": 1}
    halved = FinetuneSettings.model_validate(settings.model_dump() | changes)
    rows = run_sweep("halved", halved, workspace, leased(workspace.run("halved")))
    assert [(row.variant, row.seed, row.hyperparameters["lr"]) for row in rows] == [
        (variant, seed, 1e-2) for seed in (0, 1) for variant in ("frozen", "from_scratch")
    ]
    trials = workspace.run("halved") / "trials"
    assert {path.parent.name for path in trials.glob("*/stopped.json")} == {
        "frozen-lr1e-09-seed0",
        "from_scratch-lr1e-09-seed0",
    }
    assert {path.parent.name for path in trials.glob("*/trial.json")} == {
        f"{variant}-lr0.01-seed{seed}" for variant in ("frozen", "from_scratch") for seed in (0, 1)
    }
    assert "stopped early, after 1 epochs" in capsys.readouterr().out
    again = run_sweep("halved", halved, workspace, leased(workspace.run("halved")))
    assert [row.row_id for row in again] == [row.row_id for row in rows]
    assert "4 trials, 4 of them ended before" in capsys.readouterr().out


def test_a_sweep_killed_half_way_goes_on_with_a_grown_grid_to_the_rows_of_one_that_was_not(
    rows, ray_head, workspace, settings, tmp_path
):
    """SIGKILL of the driver once a trial has finished; then only what is missing or new is run."""
    url = f"sqlite:///{tmp_path / 'leaderboard.sqlite'}"
    job = {"kind": "finetune", "name": "killed", "leaderboard_url": url}
    job |= {"storage_path": str(workspace.root)} | settings.model_dump(mode="json")
    path = tmp_path / "killed.yaml"
    path.write_text(yaml.safe_dump(job))
    trials, log = workspace.run("killed") / "trials", tmp_path / "log"
    driver = start(["omnimat", "run", str(path)], ray_head.environment, log, tmp_path)
    wait_for(lambda: list(trials.glob("*/trial.json")), driver, log, poll_s=0.02)
    driver.kill()
    driver.wait()
    stamps = {path: path.stat().st_mtime for path in trials.glob("*/trial.json")}
    assert 1 <= len(stamps) < 8
    grown = FinetuneSettings.model_validate(settings.model_dump() | {"seeds": (0, 1, 2)})
    again = run_sweep("killed", grown, workspace, leased(workspace.run("killed")), url)
    assert {path: path.stat().st_mtime for path in stamps} == stamps
    assert len(again) == 6
    made_by = {"run_name", "created_at", "wall_time_s", "checkpoint_uri", "predictions_uri"}
    stored = [row for row in LeaderboardStore(url).rows() if row.seed < 2]
    found = {row.row_id: row.model_dump(exclude=made_by) for row in stored}
    assert found == {row.row_id: row.model_dump(exclude=made_by) for row in rows}


def test_a_sweep_that_has_finished_goes_on_with_another_seed(on_ray, workspace, settings):
    changes = {"variants": ("from_scratch",), "learning_rates": (1e-2,)}
    changes |= {"trial": {"num_epochs": 1, "batch_size": 16}}

    def run(*seeds):
        values = settings.model_dump() | changes | {"seeds": seeds}
        wider = FinetuneSettings.model_validate(values)
        lease = open_run("wider", wider, workspace, fresh=False)
        if lease is None:
            return None
        with lease:
            return run_sweep("wider", wider, workspace, lease.fence)

    (first,) = run(0)
    (path,) = workspace.run("wider").glob("trials/*/trial.json")
    made_ns = path.stat().st_mtime_ns
    rows = run(0, 1)
    assert [row.seed for row in rows] == [0, 1]
    assert rows[0].result == first.result
    assert path.stat().st_mtime_ns == made_ns
    assert run(0, 1) is None


def test_a_failed_trial_is_named_and_leaves_no_row(on_ray, workspace, settings, tmp_path):
    url = f"sqlite:///{tmp_path / 'leaderboard.sqlite'}"
    changes = {"learning_rates": (1e-2, 1e30), "variants": ("finetuned",), "seeds": (0,)}
    changes |= {"max_failures": 0, "max_concurrent_trials": 1}
    changes |= {"trial": settings.trial.model_dump() | {"warmup_fraction": 0}}
    failing = FinetuneSettings.model_validate(settings.model_dump() | changes)
    sentence = r"^trial finetuned-lr1e\+30-seed0 failed: .* take 1e\+30 out of learning_rates$"
    with pytest.raises(SweepError, match=sentence):
        run_sweep("failing", failing, workspace, leased(workspace.run("failing")), url)
    assert LeaderboardStore(url).rows() == []
    assert not (workspace.run("failing") / "result.json").exists()


def test_a_sweep_that_was_taken_over_leaves_nothing(on_ray, workspace, settings, tmp_path):
    run, url = workspace.run("lost"), f"sqlite:///{tmp_path / 'leaderboard.sqlite'}"
    changes = {"learning_rates": (1e-2,), "variants": ("from_scratch",), "seeds": (0,)}
    lost = FinetuneSettings.model_validate(settings.model_dump() | changes | {"max_failures": 0})
    with Lease.acquire(run, "the first") as first:
        pass
    with Lease.acquire(run, "the second"), pytest.raises(SweepError, match="was taken over by"):
        run_sweep("lost", lost, workspace, first.fence, url)
    assert {path.name for path in run.iterdir()} == {FOLDER, "tune"}  # Tune keeps its own state
    assert LeaderboardStore(url).rows() == []


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        ({"target": "gap_ev"}, r"of 48 train records none has both 'gap_ev' and the features of "),
        ({"target": "is_heavy"}, "which is no number"),
        ({"target": "known_in_training"}, "of 6 test records none has both 'known_in_training'"),
    ],
)
def test_a_task_that_cannot_be_is_refused_before_any_trial(
    on_ray, workspace, settings, task, sentence
):
    changed = settings.model_dump() | {"tasks": [{"name": "wrong"} | task]}
    with pytest.raises(UserError, match=sentence) as caught:
        run_sweep(
            "wrong",
            FinetuneSettings.model_validate(changed),
            workspace,
            leased(workspace.run("wrong")),
        )
    assert "\n" not in str(caught.value)
    assert not (workspace.run("wrong") / "trials").exists()


def test_selection_averages_over_seeds_and_looks_at_validation_alone(settings, workspace, rows):
    paths = workspace.run("sweep").glob("trials/*/trial.json")
    (result,) = [
        TrialResult.model_validate(read_checked_json(p, ""))
        for p in paths
        if p.parent.name == "finetuned-lr0.01-seed0"
    ]

    def found(lr, seed, error):
        changed = result.settings.model_copy(update={"lr": lr, "seed": seed})
        return result.model_copy(update={"settings": changed, "validation_error": error})

    results = [found(1, 0, 0.1), found(1, 1, 0.9), found(2, 0, 0.4), found(2, 1, 0.4)]
    assert best_points(results) == {Contender("finetuned", 1.0): (("lr", 2),)}


def test_the_result_says_what_was_chosen(rows, workspace):
    result = json.loads((workspace.run("sweep") / "result.json").read_text())
    chosen = {one["variant"]: one["lr"] for one in result["chosen"]}
    assert chosen == {row.variant: row.hyperparameters["lr"] for row in rows}
    settings = FinetuneSettings.model_validate(result["settings"])
    assert result["config_hash"] == settings.fingerprint()


def test_a_missing_modality_is_refused(workspace, settings):
    changes = {"modalities": ["dos", "xrd"]}
    wrong = FinetuneSettings.model_validate(settings.model_dump(exclude={"head"}) | changes)
    with pytest.raises(UserError, match="no encoder for xrd; choose among structure, dos"):
        make_plan(wrong, workspace, read_cards(workspace.run("pre")))


def test_the_mean_of_all_seeds_is_added_to_a_finished_sweep(rows, workspace, settings):
    """No trial is trained again, and the rows of the networks stay as they are."""
    stamp = {p: p.stat().st_mtime for p in workspace.run("sweep").glob("trials/*/trial.json")}
    joined = FinetuneSettings.model_validate(settings.model_dump() | {"ensemble": True})
    assert joined.claim() == settings.claim()
    again = run_sweep("sweep", joined, workspace, leased(workspace.run("sweep")))
    assert [row.row_id for row in again[: len(rows)]] == [row.row_id for row in rows]
    means = again[len(rows) :]
    assert [row.model for row in means] == [
        "structure (potnet), fine-tuned from pre, mean of 2 networks",
        "structure (potnet), from scratch, mean of 2 networks",
    ]
    for row in means:
        own = [one for one in rows if one.variant == row.variant]
        tables = [pd.read_parquet(workspace.root / one.predictions_uri) for one in (*own, row)]
        first, second, mean = (table["prediction"].to_numpy() for table in tables)
        np.testing.assert_allclose(mean, (first + second) / 2, rtol=1e-15)
        assert row.value == np.abs(mean - tables[-1]["target"]).mean()
    assert {p: p.stat().st_mtime for p in stamp} == stamp
    cards = read_cards(workspace.run(settings.run))
    expected = expected_ids(joined, make_plan(joined, workspace, cards), cards, 0)
    assert {row.row_id for row in again} <= expected


def test_the_mean_of_one_seed_is_refused(settings):
    with pytest.raises(ValueError, match="ensemble: the mean of one network is that network"):
        FinetuneSettings.model_validate(settings.model_dump() | {"ensemble": True, "seeds": (0,)})
