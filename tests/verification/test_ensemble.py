"""The mean of networks that differ in their seed: what its row says follows from them."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from omnimat.base.settings import fingerprint
from omnimat.cli.recomputation import rerun
from omnimat.verification.rerun import Sample

reruns = partial(rerun, sample=Sample())


def said(outcomes):
    return "\n".join(line for one in outcomes for line in (*one.sentences, *one.notes))


def of_task(rows, task):
    return [row for row in rows if row.task == task]


@pytest.fixture
def mean(bench):
    [row] = of_task(bench.rows["mean of structure"], "mean number")
    bench.store.upsert([row])
    return row


def table(bench, row):
    return pd.read_parquet(bench.file(row.predictions_uri))


@pytest.mark.parametrize("task", ["lattice lengths", "mean number"])
def test_numbers_are_the_mean_of_the_networks(bench, task):
    [row] = of_task(bench.rows["mean of structure"], task)
    each = [table(bench, one) for one in of_task(bench.rows["structure"], task)]
    assert len(each) == 2
    stacked = np.stack([np.stack(one["prediction"].tolist()) for one in each])
    assert not np.array_equal(*stacked)
    np.testing.assert_allclose(
        np.stack(table(bench, row)["prediction"].tolist()), stacked.mean(axis=0), rtol=1e-15
    )
    assert row.value <= max(one.value for one in of_task(bench.rows["structure"], task))


@pytest.mark.parametrize("modality", ["structure", "dos"])
def test_a_class_is_the_one_that_is_likeliest_on_average(bench, modality):
    [row] = of_task(bench.rows[f"mean of {modality}"], "crystal system")
    first, second = (table(bench, one) for one in of_task(bench.rows[modality], row.task))
    mean = table(bench, row)
    is_same = first["prediction"] == second["prediction"]
    assert (mean["prediction"] == first["prediction"])[is_same].all()
    # The mean of what each holds likeliest is no less than half of either and no more than theirs.
    chances = np.stack([first["probability"], second["probability"]])
    rounding = 1 + 1e-5  # the sums of float32 are in another order
    assert (mean["probability"] >= chances.max(axis=0) / 2 / rounding).all()
    assert (mean["probability"] <= chances.mean(axis=0) * rounding).all()


def test_the_row_is_a_result_of_its_own(bench, mean):
    each = of_task(bench.rows["structure"], mean.task)
    assert mean.model == f"{each[0].model}, mean of 2 networks"
    assert mean.config == {**each[0].config, "ensemble": [0, 1]}
    assert mean.group_id not in {one.group_id for one in each}
    assert mean.samples_seen == sum(one.samples_seen for one in each)
    assert "best_epoch" not in mean.hyperparameters
    told = [(one["seed"], one["checkpoint_sha256"]) for one in mean.details["members"]]
    assert told == [(one.seed, one.checkpoint_sha256) for one in each]


def test_weights_of_a_member_that_changed_are_named(bench, mean):
    uri = mean.details["members"][1]["checkpoint_uri"]
    weights = load_file(bench.file(uri))
    save_file({name: np.asarray(array + 1) for name, array in weights.items()}, bench.file(uri))
    [outcome] = bench.verify()
    assert outcome.verdict == "failed"
    assert f"{uri}: checkpoint_sha256 is" in said([outcome])


def test_predictions_of_one_network_do_not_pass_for_the_mean(bench, mean):
    first, _ = of_task(bench.rows["structure"], mean.task)
    forged = {
        "value": first.value,
        "predictions_uri": first.predictions_uri,
        "predictions_sha256": first.predictions_sha256,
    }
    bench.store.remove(mean.row_id)
    bench.store.upsert([mean.model_copy(update=forged)])
    assert [one.verdict for one in bench.verify()] == ["recomputed"]  # all else is in order
    [outcome] = bench.verify(reruns=reruns)
    assert outcome.verdict == "tampered"
    assert "comes out differently when the checkpoint is run again" in said([outcome])


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        (lambda its: its[:1], "has networks of seeds [0], config says [0, 1]"),
        (
            lambda its: [its[0], {**its[0], "seed": 1}],
            "two networks of details.members have the same weights",
        ),
        (lambda its: [its[0], {**its[1], "best_epoch": 99}], "hyperparameters is"),
        (lambda its: "none", "has networks of seeds [], config says [0, 1]"),
    ],
)
def test_members_that_are_not_those_of_the_sweep_are_named(bench, mean, members, sentence):
    details = {**mean.details, "members": members(mean.details["members"])}
    bench.store.remove(mean.row_id)
    bench.store.upsert([mean.model_copy(update={"details": details})])
    [outcome] = bench.verify()
    assert outcome.verdict == "failed"
    assert sentence in said([outcome])


def test_a_mean_of_other_seeds_is_another_result(mean):
    config = {**mean.config, "ensemble": [0, 1, 2]}
    other = mean.model_copy(update={"config": config, "config_hash": fingerprint(config)})
    assert other.row_id != mean.row_id
    assert other.group_id != mean.group_id
