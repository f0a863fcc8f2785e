"""Trials whose stored features vary, and that another data set judges."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.cli.recomputation import recomputation, rerun
from omnimat.finetune.judging import Transfer
from omnimat.finetune.plan import make_plan
from omnimat.finetune.refit import refitted
from omnimat.finetune.rows import Scored, make_row
from omnimat.finetune.sweep import run_sweep
from omnimat.finetune.tasks import TaskSettings, catalogue, read_targets
from omnimat.finetune.trial import predict, run_trial
from omnimat.finetune.trial_settings import TrialSettings
from omnimat.leaderboard.overlap import seen_in
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.modalities.xrd.cnn import XrdCnnSettings
from omnimat.modalities.xrd.features import XrdPattern
from omnimat.models.export import Card, save
from omnimat.models.inputs import export_folder, featurizers_of, read_cards
from omnimat.testing.leased import leased
from omnimat.verification.evidence import Evidence
from omnimat.verification.outcome import UnreachableError
from omnimat.verification.rerun import Sample
from omnimat.verification.verify import verify

VARIED = {"xrd": {"strain": 0.02, "background": 0.2}}
HEAVY = TaskSettings(name="heavy", target="is_heavy", kind="classification")
CHOSEN = TrialSettings(variant="from_scratch", lr=1e-2, seed=3, num_epochs=2, batch_size=16)


@pytest.fixture(scope="module")
def settings(workspace, settings, write_features):
    """A sweep on patterns of ``cubes``, from scratch."""
    featurizer = XrdPattern(step_degree=0.5)
    card = Card(
        modality="xrd",
        encoder=XrdCnnSettings(preset="tiny"),
        featurizer=featurizer.model_dump(),
        embedding_dim=16,
        parent_run="patterns",
        config_hash="0",
        dataset_fingerprint="0",
        samples_seen=640,
    )
    torch.manual_seed(0)
    save(export_folder(workspace.run("patterns"), "xrd"), card.encoder.build(16), card)
    for dataset in ("cubes", "cubes-unlike"):
        write_features(workspace, dataset, featurizers_of({"xrd": card}))
    update = {"run": "patterns", "modalities": ("xrd",), "variants": ("from_scratch",)}
    return settings.model_validate(settings.model_dump() | update | {"tasks": (HEAVY,)})


def changed(settings, **changes):
    return settings.model_validate(settings.model_dump() | changes)


def planned(settings, workspace):
    return make_plan(settings, workspace, read_cards(workspace.run(settings.run)))


@pytest.fixture
def plan(settings, workspace):
    return planned(changed(settings, augmentation=VARIED), workspace)


def curves(inputs, rows):
    (batch,) = inputs.batches([np.array(rows)])
    return batch.modalities["xrd"].arrays["intensity"].numpy()


def test_a_pattern_varies_with_seed_and_epoch_alone(plan):
    seen, again, other = (plan.examples("train", seed=seed).inputs for seed in (1, 1, 2))
    first = curves(seen, [0, 1, 2])
    np.testing.assert_array_equal(curves(again, [2, 0]), first[[2, 0]])
    assert np.abs(curves(other, [0]) - first[:1]).max() > 0.1
    assert np.abs(curves(seen.in_epoch(1), [0]) - first[:1]).max() > 0.1
    np.testing.assert_array_equal(curves(seen.in_epoch(1).in_epoch(0), [0]), first[:1])


def test_without_a_seed_features_stay_as_they_are_stored(plan, settings, workspace):
    plain = planned(settings, workspace)
    stored = curves(plain.examples("train", seed=1).inputs, [0, 1])
    np.testing.assert_array_equal(curves(plan.examples("train").inputs, [0, 1]), stored)


def test_a_varied_trial_learns_from_other_patterns_and_is_judged_by_stored_ones(
    plan, settings, workspace, tmp_path
):
    plain = planned(settings, workspace)
    assert plan.fingerprint != plain.fingerprint
    results = {}
    for name, each in {"varied": plan, "again": plan, "plain": plain}.items():
        results[name] = run_trial(each, CHOSEN, UPath(tmp_path / name), lambda entry: None)
    assert results["varied"].history == results["again"].history
    assert results["varied"].history[0]["train_loss"] != results["plain"].history[0]["train_loss"]
    judged = [
        predict(each, results["varied"], UPath(tmp_path / "varied"), "test")["heavy"]
        for each in (plan, replace(plan, augmentations={}))
    ]
    assert judged[0].equals(judged[1])


def test_shares_of_classes_that_there_are_not_are_refused_before_any_training(settings, workspace):
    task = HEAVY.model_copy(update={"expected_shares": {"unheard of": 1}})
    with pytest.raises(UserError, match=r"expected_shares differ in .*unheard of"):
        planned(changed(settings, tasks=[task]), workspace).check_splits()


@pytest.mark.parametrize("held_out", [(), ({"dataset": "cubes-unlike", "splits": ("test",)},)])
def test_another_data_set_judges_and_its_row_is_made_again(settings, workspace, tmp_path, held_out):
    chosen = changed(settings, test_dataset="cubes-unlike", augmentation=VARIED, held_out=held_out)
    plan = planned(chosen, workspace)
    plan.check_splits()
    learned, judged = plan.material_ids("train"), plan.material_ids("test")
    own = planned(settings, workspace)
    assert (len(learned) < len(own.material_ids("train"))) == bool(held_out)
    assert judged
    assert not set(judged) & set(own.material_ids("test"))
    folder = workspace.run("transfer") / "trials" / "one"
    result = run_trial(plan, CHOSEN, folder, lambda entry: None)
    table = predict(plan, result, folder, "test")["heavy"]
    assert set(table["material_id"]) == set(judged)
    path = workspace.run("transfer") / "predictions.parquet"
    path.write_bytes(table.to_parquet(index=False))
    scored = Scored(HEAVY, result, folder, table, path)
    cards = read_cards(workspace.run("patterns"))
    row = make_row("transfer", chosen, plan, cards, scored, workspace.files)
    assert row.dataset == "cubes-unlike"
    store = LeaderboardStore(f"sqlite:///{tmp_path / 'board.db'}")
    store.upsert([row])
    for reruns in (None, partial(rerun, sample=Sample())):
        (outcome,) = verify(store, workspace.files, recomputation, reruns=reruns)
        assert outcome.verdict == ("recomputed" if reruns is None else "reproduced"), outcome
    assert row.config.get("held_out_by", {}).keys() == {one["dataset"] for one in held_out}
    fitted = refitted(row, Evidence(workspace.files), plan.store.featurizers, 1.0)
    assert fitted.num_records == result.num_records["train"]
    assert fitted.codec == result.codec


def test_a_row_tells_what_its_network_has_learned_from_of_what_judges_it(settings, workspace):
    chosen = changed(settings, test_dataset="cubes-unlike")
    plan = planned(chosen, workspace)
    transfer = Transfer.of(chosen, workspace)
    tested = plan.material_ids("test")[:4]
    told = transfer.of_tested(transfer.overlap(workspace), tested)
    index = plan.records("test").set_index("material_id")["reduced_formula"]
    learned = {*plan.records("train")["reduced_formula"]}
    learned |= {*plan.records("validation")["reduced_formula"]}
    count = sum(index[one] in learned for one in tested)
    assert (told.test.num_materials, told.test.same_formula) == (4, count)
    assert told.num_learned == sum(len(plan.records(one)) for one in ("train", "validation"))
    assert transfer.remark.endswith("held_out: [{dataset: cubes-unlike, splits: [test]}]")
    apart = changed(chosen, held_out=[{"dataset": "cubes-unlike", "splits": ["test"]}])
    other = Transfer.of(apart, workspace)
    told = other.of_tested(other.overlap(workspace), plan.material_ids("test"))
    assert (told.test.same_formula, told.test.same_structure) == (0, 0)
    assert told.num_learned < len(transfer.learned.records)
    assert other.remark.startswith("0 of")


@pytest.mark.ray
def test_a_sweep_that_another_data_set_judges_writes_what_was_seen(on_ray, settings, workspace):
    few = {"learning_rates": (1e-2,), "seeds": (0,), "trial": {"num_epochs": 1, "batch_size": 16}}
    variants = ("from_scratch", "finetuned")
    chosen = changed(settings, test_dataset="cubes-unlike", variants=variants, **few)
    rows = run_sweep("moved", chosen, workspace, leased(workspace.run("moved")))
    overlap = Transfer.of(chosen, workspace).overlap(workspace)
    told = {row.variant: seen_in(row.details) for row in rows}
    (scratch,) = told["from_scratch"]
    assert scratch.test.same_formula == len(overlap.same_formula) > 0
    assert scratch.test.num_materials == rows[0].num_test
    before, trained = told["finetuned"]
    assert trained == scratch
    assert (before.run, bool(before.unknown)) == ("patterns", True)  # its encoder fell from the sky


def test_the_order_in_which_data_sets_are_held_out_changes_nothing(settings, workspace):
    one, other = {"dataset": "cubes-unlike", "splits": ["test"]}, {"dataset": "cubes"}
    reversed_splits = other | {"splits": ["test", "validation"]}
    chosen = [
        changed(settings, held_out=held_out)
        for held_out in ([one, other], [reversed_splits, one], [one, other, one])
    ]
    assert len({each.fingerprint() for each in chosen}) == 1
    assert len({planned(each, workspace).fingerprint for each in chosen}) == 1


def test_a_row_whose_held_out_data_set_is_another_by_now_is_not_made_again(settings, workspace):
    chosen = changed(settings, held_out=[{"dataset": "cubes-unlike", "splits": ["test"]}])
    plan = planned(chosen, workspace)
    folder = workspace.run("apart") / "trials" / "one"
    result = run_trial(plan, CHOSEN, folder, lambda entry: None)
    path = workspace.run("apart") / "predictions.parquet"
    table = predict(plan, result, folder, "test")["heavy"]
    path.write_bytes(table.to_parquet(index=False))
    cards = read_cards(workspace.run("patterns"))
    scored = Scored(HEAVY, result, folder, table, path)
    row = make_row("apart", chosen, plan, cards, scored, workspace.files)
    evidence, featurizers = Evidence(workspace.files), plan.store.featurizers
    assert refitted(row, evidence, featurizers, 1.0).codec == result.codec
    config = row.config | {"held_out_by": {"cubes-unlike": "0123456789abcdef"}}
    other = row.model_copy(update={"config": config, "config_hash": "other"})
    with pytest.raises(UnreachableError, match="cubes-unlike, which held_out names, has changed"):
        refitted(other, evidence, featurizers, 1.0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"test_dataset": "cubes"}, "another data set"),
        ({"augmentation": {"structure": {}}}, "structure"),
        ({"augmentation": VARIED, "variants": ("frozen",)}, "frozen"),
        ({"augmentation": VARIED, "modalities": ("structure",)}, "none of modalities"),
    ],
)
def test_what_cannot_be_is_refused(settings, changes, sentence):
    with pytest.raises(ValidationError, match=sentence):
        changed(settings, **changes)


def test_an_augmentation_that_does_not_fit_the_features_is_refused(
    settings, workspace, monkeypatch
):
    card = read_cards(workspace.run("patterns"))["xrd"]
    other = card.model_copy(update={"featurizer": {**card.featurizer, "radiation": "CuKa1"}})
    chosen = changed(settings, augmentation={"xrd": {"second_line": 0.5}})
    with pytest.raises(UserError, match=r"augmentation.xrd: radiation CuKa1"):
        make_plan(chosen, workspace, {"xrd": other})


def test_classes_may_count_as_another():
    found = [json.dumps({"crystal_system": one}) for one in ("trigonal", "hexagonal", "cubic")]
    targets = read_targets(found, catalogue()["crystal family"])
    assert targets.values.tolist() == ["hexagonal", "hexagonal", "cubic"]
    with pytest.raises(ValidationError, match="counted_as"):
        TaskSettings(name="a", target="b", counted_as={"x": "y"})
