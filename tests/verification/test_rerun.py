"""Checkpoints are run again: what they reproduce is marked, and what they do not is named."""

import io
import json
import re
import shutil
from functools import partial

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

from omnimat.base.provenance import sha256_of
from omnimat.base.settings import fingerprint
from omnimat.cli.main import main
from omnimat.cli.recomputation import rerun
from omnimat.evaluation.stored import featurizers_of_run
from omnimat.leaderboard.metrics import METRICS
from omnimat.verification.evidence import Evidence
from omnimat.verification.rerun import TOLERANCE, Sample

reruns = partial(rerun, sample=Sample())
FORGED = "comes out differently when the checkpoint is run again"


def said(outcomes):
    return "\n".join(line for one in outcomes for line in (*one.sentences, *one.notes))


@pytest.mark.parametrize(
    "kind", ["structure", "dos", "mean of structure", "retrieval", "clusters", "zero_shot"]
)
def test_an_honest_row_is_reproduced(bench, kind):
    rows = bench.rows[kind]
    bench.store.upsert(rows)
    outcomes = bench.verify(reruns=reruns)
    assert [(one.verdict, one.sentences) for one in outcomes] == [("reproduced", ())] * len(rows)
    assert {row.status for row in bench.store.rows()} == {"reproduced"}


@pytest.mark.parametrize("kind", ["structure", "dos", "mean of dos", "retrieval", "zero_shot"])
def test_a_sample_differs_by_rounding_alone(bench, kind):
    """Other materials in a batch; a tenth of what is allowed is left for deeper networks."""
    bench.store.upsert(bench.rows[kind])
    for size in (1, 2, 5, 5):
        outcomes = bench.verify(reruns=partial(rerun, sample=Sample(size)))
        assert {one.verdict for one in outcomes} == {"reproduced"}
        told = re.findall(r"of \d+ materials run again, .* is (\S+)", said(outcomes))
        assert told
        assert max(map(float, told)) < TOLERANCE / 10


def test_samples_are_drawn_anew():
    drawn = {tuple(Sample(3).of(1000)) for _ in range(20)}
    assert len(drawn) == 20
    assert all(len(set(one)) == 3 and max(one) < 1000 for one in drawn)
    assert Sample(5).of(3).tolist() == Sample().of(3).tolist() == [0, 1, 2]


def test_what_was_reproduced_remains_so_when_it_is_only_computed_again(bench):
    bench.store.upsert(bench.rows["structure"])
    bench.verify()
    assert {row.status for row in bench.store.rows()} == {"recomputed"}
    bench.verify(reruns=reruns)
    before = bench.store.rows()
    assert {row.status for row in before} == {"reproduced"}
    assert {one.verdict for one in bench.verify()} == {"recomputed"}
    assert bench.store.rows() == before


def test_a_section_that_runs_nothing_again_says_so(bench):
    bench.store.upsert(bench.rows["discovery"])
    outcomes = bench.verify(reruns=reruns)
    assert {one.verdict for one in outcomes} == {"recomputed"}
    assert "not run again: section discovery does not run checkpoints again" in said(outcomes)


def test_rows_that_are_not_run_again_are_shown_and_counted(bench, monkeypatch):
    monkeypatch.setenv("OMNIMAT_STORAGE", str(bench.workspace.root))
    monkeypatch.setenv("OMNIMAT_LEADERBOARD", bench.workspace.leaderboard_url)
    row, *_ = bench.rows["discovery"]
    fit, *_ = bench.rows["structure"]
    bench.store.upsert([row, fit])
    command = ["leaderboard", "verify"]
    assert "not run again" not in CliRunner().invoke(main, command).output
    output = CliRunner().invoke(main, [*command, "--rerun"]).output
    assert "2 rows: 1 recomputed, 1 reproduced, 1 of them not run again" in output
    assert row.row_id[:8] in output
    assert "not run again: section discovery" in output
    assert fit.row_id[:8] not in output


def test_a_row_without_a_checkpoint_is_recomputed(bench):
    row, *_ = bench.rows["structure"]
    bench.store.upsert([row.model_copy(update={"checkpoint_uri": "", "checkpoint_sha256": ""})])
    [outcome] = bench.verify(reruns=reruns)
    assert outcome.verdict == "recomputed"
    assert "not run again: the row names no checkpoint" in outcome.notes


FORGED_AT = 3  # the place of a material


def better(bench, row, change):
    """Predictions that no network has made, with value and hash in order."""
    path = bench.file(row.predictions_uri)
    table = pd.read_parquet(path)
    cells = table["prediction"].tolist()
    cells[FORGED_AT] = change(table["target"].tolist()[FORGED_AT], cells[FORGED_AT])
    table.assign(prediction=cells).to_parquet(path)
    value = METRICS[row.metric].function(table["target"].tolist(), cells)
    return {"predictions_sha256": sha256_of(path), "value": value}


def the_target(target, predicted):
    return target


def a_little_more(target, predicted):
    return predicted * 1.001


def another_class(target, predicted):
    return "cubic" if predicted == "hexagonal" else "hexagonal"


@pytest.mark.parametrize(
    ("task", "change"),
    [
        ("lattice lengths", the_target),
        ("lattice lengths", a_little_more),
        ("mean number", the_target),
        ("mean number", a_little_more),
        ("crystal system", another_class),
    ],
)
def test_predictions_that_the_network_does_not_make_are_named(bench, task, change):
    row = next(one for one in bench.rows["structure"] if one.task == task)
    material_id = pd.read_parquet(bench.file(row.predictions_uri))["material_id"][FORGED_AT]
    forged = better(bench, row, change)
    details = {key: v for key, v in row.details.items() if key != "per_class_accuracy"}
    bench.store.upsert([row.model_copy(update=forged | {"details": details})])
    assert [one.verdict for one in bench.verify()] == ["recomputed"]  # all else is in order
    [outcome] = bench.verify(reruns=reruns)
    assert outcome.verdict == "tampered"
    assert FORGED in said([outcome])
    assert material_id in said([outcome])


def test_embeddings_that_the_encoders_do_not_make_are_named(bench):
    row = next(one for one in bench.rows["clusters"] if one.task == "spread of structure")
    path = bench.file(row.predictions_uri)
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["text"] = arrays["text"][::-1]
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    path.write_bytes(buffer.getvalue())
    bench.store.upsert([row.model_copy(update={"predictions_sha256": sha256_of(path)})])
    assert [one.verdict for one in bench.verify()] == ["recomputed"]
    [outcome] = bench.verify(reruns=reruns)
    assert outcome.verdict == "tampered"
    assert FORGED in said([outcome])


def test_labels_that_are_not_the_nearest_are_named(bench):
    row = next(one for one in bench.rows["zero_shot"] if one.metric == "accuracy")
    path = bench.file(row.predictions_uri)
    table = pd.read_parquet(path)
    table.assign(prediction=table["target"]).to_parquet(path)  # all of them right
    forged = {"value": 1.0, "predictions_sha256": sha256_of(path), "details": {}}
    bench.store.upsert([row.model_copy(update=forged)])
    assert [one.verdict for one in bench.verify()] == ["recomputed"]
    [outcome] = bench.verify(reruns=reruns)
    assert outcome.verdict == "tampered"
    assert FORGED in said([outcome])


def test_another_checkpoint_is_refused_by_its_hash_and_not_loaded(bench):
    row, *_ = bench.rows["structure"]
    bench.store.upsert([row])
    path = bench.file(row.checkpoint_uri)
    weights = load_file(path)
    save_file({name: np.add(a, 1, dtype=a.dtype, out=a) for name, a in weights.items()}, path)
    [outcome] = bench.verify(reruns=reruns)
    assert outcome.verdict == "failed"
    assert "checkpoint_sha256 is" in said([outcome])
    assert FORGED not in said([outcome])
    forged = row.model_copy(update={"checkpoint_sha256": sha256_of(path)})
    bench.store.upsert([forged])
    [outcome] = bench.verify(reruns=reruns)
    assert FORGED in said([outcome])


def test_weights_of_another_network_are_not_run(bench):
    row, *_ = bench.rows["structure"]
    path = bench.file(row.checkpoint_uri)
    save_file({"other": np.zeros(3, np.float32)}, path)
    bench.store.upsert([row.model_copy(update={"checkpoint_sha256": sha256_of(path)})])
    [outcome] = bench.verify(reruns=reruns)
    assert outcome.verdict == "recomputed"
    assert "does not fit the network that config describes" in said([outcome])


@pytest.mark.parametrize("size", [{"num_convolutions": 20_000}, {"hidden_width": 200_000}])
def test_a_network_larger_than_its_weights_is_not_built(bench, size):
    """To build 20,000 convolutions takes a minute, and the wide ones fill the memory."""
    row, *_ = bench.rows["structure"]
    config = json.loads(json.dumps(row.config))
    config["cards"]["structure"]["encoder"] |= size
    forged = row.model_copy(update={"config": config, "config_hash": fingerprint(config)})
    bench.store.upsert([forged])
    [outcome] = bench.verify(reruns=reruns)
    assert outcome.verdict != "reproduced"
    assert "does not fit the network that config describes" in said([outcome])


def all_right(bench, row):
    """Predictions that are the targets, which no check of files can tell from honest ones."""
    path = bench.file(row.predictions_uri)
    table = pd.read_parquet(path)
    table.assign(prediction=table["target"]).to_parquet(path)
    value = METRICS[row.metric].function(table["target"].tolist(), table["target"].tolist())
    details = {key: v for key, v in row.details.items() if key != "per_class_accuracy"}
    return {"predictions_sha256": sha256_of(path), "value": value, "details": details}


def edit_trial(bench, row, edit):
    path = bench.file(row.checkpoint_uri).with_name("trial.json")
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def coarse_maps(content, num_train=None):
    for codec in content["codec"]["codecs"]:
        if codec["type"] == "standardiser":
            codec["std"] = [1e12] * 3 if isinstance(codec["std"], list) else 1e12
    if num_train is not None:
        content["num_records"]["train"] = num_train


@pytest.mark.parametrize("task", ["lattice lengths", "mean number"])
@pytest.mark.parametrize("num_train", [None, 7])
def test_a_map_of_targets_that_makes_every_error_small_reproduces_nothing(bench, task, num_train):
    """The map lies in ``trial.json``, which no hash of the row covers."""
    row = next(one for one in bench.rows["structure"] if one.task == task)
    forged = all_right(bench, row)
    edit_trial(bench, row, lambda content: coarse_maps(content, num_train))
    if num_train is not None:
        forged["details"] |= {"num_train": num_train}
    bench.store.upsert([row.model_copy(update=forged)])
    assert [one.verdict for one in bench.verify()] == ["recomputed"]
    [outcome] = bench.verify(reruns=reruns)
    assert outcome.verdict == "tampered"
    assert "is not that of the training targets" in said([outcome]) or FORGED in said([outcome])


def test_a_network_for_which_all_classes_are_alike_reproduces_nothing(bench):
    row = next(one for one in bench.rows["structure"] if one.task == "crystal system")
    path = bench.file(row.checkpoint_uri)
    weights = load_file(path)
    save_file(
        {name: np.zeros_like(a) if "head" in name else a for name, a in weights.items()}, path
    )
    assert any("head" in name for name in weights)
    forged = all_right(bench, row) | {"checkpoint_sha256": sha256_of(path)}
    bench.store.upsert([row.model_copy(update=forged)])
    assert [one.verdict for one in bench.verify()] == ["recomputed"]
    [outcome] = bench.verify(reruns=reruns)
    assert outcome.verdict == "tampered"
    assert FORGED in said([outcome])


def test_a_trial_that_claims_a_coarser_precision_is_named(bench):
    row, *_ = bench.rows["structure"]
    edit_trial(bench, row, lambda content: content["settings"].update(precision="bf16"))
    bench.store.upsert([row])
    assert [one.verdict for one in bench.verify()] == ["recomputed"]
    [outcome] = bench.verify(reruns=reruns)
    assert outcome.verdict == "tampered"
    assert "precision is bf16, config of the row says fp32" in said([outcome])


def labelled_again(bench, row):
    found = rerun(row.section, Sample())(row, Evidence(bench.workspace.files))
    return "\n".join(one for one in found if isinstance(one, str))


def test_a_label_of_a_material_without_the_modality_is_not_reproduced(bench):
    row = next(one for one in bench.rows["zero_shot"] if one.metric == "accuracy")
    path = bench.file(row.predictions_uri)
    table = pd.read_parquet(path)
    without = "mat-024"  # which has no density of states
    assert without not in set(table["material_id"])
    assert labelled_again(bench, row) == ""
    for label in row.config["zero_shot"]["prompts"]:
        extra = table.iloc[:1].assign(material_id=without, prediction=label)
        pd.concat([table, extra]).to_parquet(path)
        told = labelled_again(bench, row)
        assert FORGED in told
        assert f"material {without} comes" in told


def test_labels_that_are_all_as_near_reproduce_nothing(bench):
    row = next(one for one in bench.rows["zero_shot"] if one.metric == "accuracy")
    alike = {label: ["a crystal"] for label in row.config["zero_shot"]["prompts"]}
    config = {**row.config, "zero_shot": {**row.config["zero_shot"], "prompts": alike}}
    assert FORGED in labelled_again(bench, row.model_copy(update={"config": config}))


def test_the_cards_that_are_read_are_those_that_were_hashed(bench, tmp_path):
    """``export`` is a link within the storage; beside its target lies another ``export``."""
    [row, *_] = bench.rows["retrieval"]
    runs, outside = bench.file("runs"), tmp_path / "outside"
    shutil.copytree(runs / "pre" / "export", runs / "linked" / "deep" / "encoders")
    (runs / "linked" / "export").symlink_to("deep/encoders")
    shutil.copytree(runs / "pre" / "export", outside)
    for card in outside.glob("*/card.json"):
        card.write_text("{}")
    (runs / "linked" / "deep" / "export").symlink_to(outside)
    linked = row.model_copy(update={"checkpoint_uri": "runs/linked/export"})
    evidence = Evidence(bench.workspace.files)
    assert featurizers_of_run(linked, evidence) == featurizers_of_run(row, evidence)
