import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from upath import UPath

from omnimat.base.errors import RunError, UserError
from omnimat.base.workspace import TRIAL
from omnimat.finetune.outcome import read_result
from omnimat.finetune.plan import make_plan
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.tasks import TaskSettings
from omnimat.finetune.trial import build_model, predict, run_trial
from omnimat.finetune.trial_settings import TrialSettings
from omnimat.models.export import WEIGHTS_FILE, load
from omnimat.models.inputs import read_cards
from omnimat.training.held_out import HeldOut

from .conftest import record


def trial(**changes):
    base = {"variant": "finetuned", "lr": 1e-2, "seed": 3, "num_epochs": 15, "batch_size": 16}
    return TrialSettings(**base | changes)


def run(plan, settings, folder):
    return run_trial(plan, settings, UPath(folder), lambda entry: None)


def replaced_task(plan, **changes):
    return replace(plan, tasks=(TaskSettings(**changes),))


def only(mapping):
    """Give the value of a mapping that has one."""
    (value,) = mapping.values()
    return value


def pair_of(index):
    """Give the two elements of a record, which make its formula."""
    return tuple(record(index).properties["atomic_numbers"])


def metrics_of(result):
    """Give the validation metric of each epoch, of a trial with one task."""
    (name,) = result.validation_metrics
    return [entry[f"validation {name}"] for entry in result.history]


def test_a_trial_learns_and_keeps_its_best_epoch(plan, tmp_path):
    result = run(plan, trial(num_epochs=40), tmp_path)
    metrics = metrics_of(result)
    assert result.history[-1]["train_loss"] < 0.1 * result.history[0]["train_loss"]
    assert only(result.validation_metrics) == min(metrics) < 0.5 * metrics[0]
    assert result.best_epoch == 1 + metrics.index(min(metrics))
    assert result.samples_seen == 47 * 40
    predicted = only(predict(plan, result, UPath(tmp_path), "validation"))
    error = np.abs(predicted["prediction"] - predicted["target"]).mean()
    # The saved weights are those of the best epoch: the same sums in the same order.
    assert error == pytest.approx(only(result.validation_metrics), rel=1e-12)


@pytest.mark.parametrize(("gpus", "device"), [(0, "cpu"), ("auto", "cpu"), (0.25, "cuda")])
def test_a_trial_without_a_gpu_leaves_those_of_others_alone(
    gpus, device, workspace, settings, monkeypatch
):
    """Ray hides no GPU from a task that asked for none."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    asked = FinetuneSettings.model_validate(settings.model_dump() | {"gpus_per_trial": gpus})
    there = make_plan(asked, workspace, read_cards(workspace.run("pre")))
    assert there.device.type == device
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert there.device.type == "cpu"


@pytest.mark.parametrize("variant", ["finetuned", "frozen", "from_scratch"])
def test_what_the_test_split_holds_changes_nothing(plan, workspace, settings, tmp_path, variant):
    unlike = settings.model_copy(update={"dataset": "cubes-unlike"})
    other = make_plan(unlike, workspace, read_cards(workspace.run("pre")))
    chosen = trial(variant=variant, num_epochs=2)
    results = [run(each, chosen, tmp_path / each.fingerprint) for each in (plan, other)]
    assert results[0].history == results[1].history
    assert results[0].codec == results[1].codec
    predicted = [
        only(predict(each, result, UPath(tmp_path / each.fingerprint), "test"))
        for each, result in zip((plan, other), results, strict=True)
    ]
    assert not set(predicted[0]["prediction"]) & set(predicted[1]["prediction"])


def test_records_without_a_target_are_left_out_and_counted(plan, tmp_path):
    result = run(plan, trial(num_epochs=1), tmp_path)
    assert result.num_records == {"train": 47, "validation": 6}
    assert result.num_without_target == {"train": 1, "validation": 0}
    part = run(plan, trial(num_epochs=1, train_fraction=0.4), tmp_path)
    assert part.num_records["train"] == 19  # two fifths of 47


def test_the_same_seed_gives_the_same_bits(plan, tmp_path):
    first, again = (run(plan, trial(num_epochs=2), tmp_path / name) for name in "ab")
    other = run(plan, trial(num_epochs=2, seed=4), tmp_path / "c")
    assert first.history == again.history != other.history
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]


def test_variants_start_where_they_say(plan):
    exported = load(plan.exports["structure"])[0].state_dict()
    name = "head.weight"
    finetuned = build_model(plan, trial(), 1).encoder["structure"].state_dict()
    scratch, again = (
        build_model(plan, trial(variant="from_scratch"), 1).encoder["structure"].state_dict()
        for _ in range(2)
    )
    assert torch.equal(finetuned[name], exported[name])
    assert not torch.equal(scratch[name], exported[name])
    assert torch.equal(scratch[name], again[name])


def test_a_frozen_encoder_stays_as_it_was(plan, tmp_path):
    result = run(plan, trial(variant="frozen", lr=0.1), tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    for name, value in load(plan.exports["structure"])[0].state_dict().items():
        assert torch.equal(saved[f"encoder.structure.{name}"], value)
    assert only(result.validation_metrics) < metrics_of(result)[0]
    predicted = only(predict(plan, result, UPath(tmp_path), "validation"))
    error = np.abs(predicted["prediction"] - predicted["target"]).mean()
    assert error == pytest.approx(only(result.validation_metrics), rel=1e-6)


def test_pretrained_encoders_may_learn_more_slowly_than_the_head(plan, tmp_path):
    """A step of AdamW changes a number by about the learning rate, of which this is a millionth."""
    slow = {"encoder_lr_fraction": 1e-6, "num_epochs": 2}
    names = dict(load(plan.exports["structure"])[0].named_parameters())
    for variant, is_kept in (("finetuned", True), ("from_scratch", False)):
        chosen = trial(variant=variant, **slow)
        run(plan, chosen, tmp_path / variant)
        after = load_file(tmp_path / variant / WEIGHTS_FILE)
        start = build_model(plan, chosen, 1).state_dict()
        moved = {name: float((start[name] - after[name]).abs().max()) for name in after}
        of_encoder = max(moved[f"encoder.structure.{name}"] for name in names)
        assert (of_encoder < 1e-6) == is_kept
        assert max(value for name, value in moved.items() if name.startswith("head.")) > 1e-3


def test_patience_stops_a_trial(plan, tmp_path):
    # So small a rate changes nothing that float32 can tell, so no epoch is better than the first.
    result = run(plan, trial(variant="frozen", lr=1e-30, patience=3), tmp_path)
    assert len(result.history) == 4
    assert result.best_epoch == 1


def test_a_diverging_trial_says_which_rate_to_remove(plan, tmp_path):
    with pytest.raises(RunError, match="take 1e\\+30 out of learning_rates"):
        run(plan, trial(lr=1e30, num_epochs=2, warmup_fraction=0), tmp_path)


def test_a_prediction_beyond_float64_is_divergence_too(plan, tmp_path):
    """The network's output is finite, the power of ten of it is not."""
    logarithmic = {"name": "mean", "target": "mean_atomic_number", "transform": "log10"}
    plan = replaced_task(plan, **logarithmic)
    with pytest.raises(RunError, match="out of learning_rates"):
        run(plan, trial(variant="frozen", lr=1e6, num_epochs=4, warmup_fraction=0), tmp_path)


def test_a_result_of_another_version_is_the_users_error(plan, tmp_path):
    (tmp_path / "trial.json").write_text("{}")
    with pytest.raises(UserError, match="another version of omnimat"):
        read_result(plan, trial(), UPath(tmp_path))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seeds": (-1,)}, "seeds.0\n  Input should be greater"),
        ({"learning_rates": (0,)}, "rates.0"),
    ],
)
def test_a_wrong_grid_is_named_by_its_key(settings, changes, sentence):
    with pytest.raises(ValidationError, match=sentence):
        FinetuneSettings.model_validate(settings.model_dump() | changes)


def test_a_class_is_learned(plan, tmp_path):
    plan = replaced_task(plan, name="weight", target="is_heavy", kind="classification")
    result = run(plan, trial(num_epochs=20), tmp_path)
    assert only(result.validation_metrics) >= 5 / 6
    table = only(predict(plan, result, UPath(tmp_path), "test"))
    assert set(table["prediction"]) <= {"True", "False"}
    assert table["probability"].between(0.5, 1).all()  # of the likelier of two


def test_a_result_is_found_again_only_for_the_same_trial(plan, tmp_path):
    folder = UPath(tmp_path)
    result = run(plan, trial(num_epochs=1), folder)
    assert read_result(plan, trial(num_epochs=1), folder) == result
    assert read_result(plan, trial(num_epochs=2), folder) is None
    changed = replace(plan, fingerprint="another")
    assert read_result(changed, trial(num_epochs=1), folder) is None


def test_a_target_nobody_has_is_refused(plan, tmp_path):
    plan = replaced_task(plan, name="gap", target="gap_ev")
    with pytest.raises(UserError, match="of 48 train records none has both 'gap_ev'"):
        run(plan, trial(), tmp_path)


def test_a_grid_must_not_repeat_a_point(settings):
    values = settings.model_dump() | {"seeds": (1, 1)}
    with pytest.raises(ValueError, match="must not repeat"):
        FinetuneSettings.model_validate(values)


@pytest.fixture(scope="module")
def fused_plan(workspace, settings):
    """Make the plan of structure and DOS together, under one head."""

    def plan_of(head="concat", **changes):
        preset = {} if head == "linear" else {"preset": "tiny"}
        changes |= {"modalities": ["structure", "dos"], "head": {"type": head, **preset}}
        changed = FinetuneSettings.model_validate(settings.model_dump() | changes)
        return make_plan(changed, workspace, read_cards(workspace.run("pre")))

    return plan_of


@pytest.mark.parametrize("head", ["linear", "concat", "gated", "attention"])
def test_two_modalities_are_learned_together(fused_plan, tmp_path, head):
    plan = fused_plan(head)
    result = run(plan, trial(num_epochs=30), tmp_path)
    metrics = metrics_of(result)
    assert only(result.validation_metrics) < 0.7 * metrics[0]
    saved = load_file(tmp_path / "model.safetensors")
    for modality, folder in plan.exports.items():
        exported = load(folder)[0].state_dict()
        moved = [not torch.equal(saved[f"encoder.{modality}.{k}"], v) for k, v in exported.items()]
        assert any(moved)
    predicted = only(predict(plan, result, UPath(tmp_path), "validation"))
    error = np.abs(predicted["prediction"] - predicted["target"]).mean()
    assert error == pytest.approx(only(result.validation_metrics), rel=1e-12)


def test_frozen_encoders_stay_as_they_were_under_a_fusion(fused_plan, tmp_path):
    plan = fused_plan(missing_modalities="fuse")
    result = run(plan, trial(variant="frozen"), tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    for modality, folder in plan.exports.items():
        for name, value in load(folder)[0].state_dict().items():
            assert torch.equal(saved[f"encoder.{modality}.{name}"], value)
    assert only(result.validation_metrics) < metrics_of(result)[0]
    predicted = only(predict(plan, result, UPath(tmp_path), "validation"))
    error = np.abs(predicted["prediction"] - predicted["target"]).mean()
    # The head saw embeddings made once in training, and makes them again to predict.
    assert error == pytest.approx(only(result.validation_metrics), rel=1e-6)


def test_records_without_a_modality_are_left_out_or_fused(fused_plan, tmp_path):
    left_out = run(fused_plan(), trial(num_epochs=1), tmp_path / "a")
    assert left_out.num_records == {"train": 40, "validation": 5}
    assert left_out.num_without_modality == {"train": 7, "validation": 1}
    fused = run(fused_plan(missing_modalities="fuse"), trial(num_epochs=1), tmp_path / "b")
    assert fused.num_records == {"train": 47, "validation": 6}
    assert set(fused.num_without_modality.values()) == {0}


def test_other_heads_are_other_trials(fused_plan, plan):
    plans = [fused_plan("concat"), fused_plan("gated"), fused_plan(missing_modalities="fuse"), plan]
    assert len({plan.fingerprint for plan in plans}) == 4


def test_the_head_follows_the_modalities_where_it_is_left_out(settings):
    given = settings.model_dump(exclude={"head"})
    for modalities, head in ((["structure"], "mlp"), (["structure", "dos"], "concat")):
        chosen = FinetuneSettings.model_validate(given | {"modalities": modalities})
        assert chosen.head.type == head
        assert FinetuneSettings.model_validate(chosen.model_dump()) == chosen


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        ({"type": "mlp"}, "mlp takes one modality, not structure, dos; choose one of linear, con"),
        ({"type": "sum"}, "head.*'mlp', 'linear', 'concat', 'gated', 'attention'"),
        ({"hidden_width": 3}, "head.*type"),
        ({"type": "concat", "hidden_widths": [3]}, "hidden_widths"),
    ],
)
def test_a_head_that_cannot_be_is_refused(settings, head, sentence):
    values = settings.model_dump() | {"modalities": ["structure", "dos"], "head": head}
    with pytest.raises(ValidationError, match=re.compile(sentence, re.DOTALL)):
        FinetuneSettings.model_validate(values)


def test_several_numbers_are_learned(plan, tmp_path):
    plan = replaced_task(plan, name="numbers", target="atomic_numbers")
    result = run(plan, trial(num_epochs=30), tmp_path)
    assert result.codec.num_outputs == 2
    predicted = only(predict(plan, result, UPath(tmp_path), "validation"))
    found, expected = (np.stack(predicted[name]) for name in ("prediction", "target"))
    assert found.shape == (6, 2)
    assert np.abs(found - expected).mean() == pytest.approx(
        only(result.validation_metrics), rel=1e-12
    )
    guess = np.abs(expected - result.codec.codecs[0].mean).mean()
    assert only(result.validation_metrics) < 0.7 * guess


def test_a_grid_must_not_repeat_a_modality(settings):
    values = settings.model_dump() | {"modalities": ["structure", "structure"]}
    with pytest.raises(ValueError, match="modalities must not repeat"):
        FinetuneSettings.model_validate(values)


def joint(plan):
    tasks = [
        {"name": "mean", "target": "mean_atomic_number", "unit": "e"},
        {"name": "numbers", "target": "atomic_numbers"},
        {"name": "weight", "target": "is_heavy", "kind": "classification"},
    ]
    return replace(plan, tasks=tuple(TaskSettings(**task) for task in tasks))


def test_several_tasks_are_learned_by_one_network(plan, tmp_path):
    plan = joint(plan)
    result = run(plan, trial(num_epochs=40), tmp_path)
    assert set(result.validation_metrics) == {"mean", "numbers", "weight"}
    first, best = result.history[0], result.history[result.best_epoch - 1]
    assert best["validation_error"] == min(e["validation_error"] for e in result.history) < 0.6
    assert best["validation mean"] < 0.6 * first["validation mean"]
    predicted = predict(plan, result, UPath(tmp_path), "validation")
    assert {name: len(table) for name, table in predicted.items()} == dict.fromkeys(predicted, 6)
    right = predicted["weight"]["prediction"] == predicted["weight"]["target"]
    assert right.mean() == result.validation_metrics["weight"]


def test_a_record_teaches_the_tasks_whose_target_it_has(plan, tmp_path):
    """Record 1 has no mean; it teaches the other tasks all the same."""
    result = run(joint(plan), trial(num_epochs=1), tmp_path)
    assert result.num_records["train"] == 48
    assert result.num_without_target["train"] == 0


def test_the_validation_error_is_one_for_a_network_that_only_guesses(plan, tmp_path):
    # So small a rate leaves the head where it begins: near zero, so near the training mean.
    plan = replaced_task(plan, name="mean", target="mean_atomic_number")
    result = run(plan, trial(variant="linear_probe", lr=1e-30, num_epochs=1), tmp_path)
    guess = np.abs(
        only(predict(plan, result, UPath(tmp_path), "validation"))["target"]
        - result.codec.codecs[0].mean
    ).mean()
    expected = only(result.validation_metrics) / guess
    assert result.validation_error == pytest.approx(expected, rel=1e-12)


def test_a_linear_probe_has_one_layer_whatever_the_head(fused_plan, plan, tmp_path):
    deep = replace(plan, head=plan.head.model_copy(update={"hidden_widths": (8,)}))
    for number, each in enumerate((deep, fused_plan("attention"))):
        run(each, trial(variant="linear_probe", num_epochs=1), tmp_path / str(number))
        saved = load_file(tmp_path / str(number) / "model.safetensors")
        heads = {name: value.shape for name, value in saved.items() if name.startswith("head.")}
        width = 16 * len(each.exports)
        assert heads == {"head.linear.weight": (1, width), "head.linear.bias": (1,)}
        for modality, folder in each.exports.items():
            for name, value in load(folder)[0].state_dict().items():
                assert torch.equal(saved[f"encoder.{modality}.{name}"], value)


def test_a_head_may_have_hidden_layers(plan, tmp_path):
    plan = replace(plan, head=plan.head.model_copy(update={"hidden_widths": (8, 4)}))
    result = run(plan, trial(num_epochs=30), tmp_path)
    assert only(result.validation_metrics) < 0.7 * metrics_of(result)[0]
    saved = load_file(tmp_path / "model.safetensors")
    widths = [value.shape for name, value in saved.items() if name.endswith("weight")]
    assert [tuple(shape) for shape in widths if shape in widths][-3:] == [(8, 16), (4, 8), (1, 4)]


@pytest.mark.parametrize("loss", ["squared", "absolute"])
@pytest.mark.parametrize("precision", ["bf16", "fast_fp32"])
def test_low_precision_learns_and_predicts_what_it_was_judged_by(plan, tmp_path, precision, loss):
    settings = trial(num_epochs=30, precision=precision, regression_loss=loss)
    result = run(plan, settings, tmp_path)
    assert only(result.validation_metrics) < 0.7 * metrics_of(result)[0]
    predicted = only(predict(plan, result, UPath(tmp_path), "validation"))
    error = np.abs(predicted["prediction"] - predicted["target"]).mean()
    assert error == pytest.approx(only(result.validation_metrics), rel=1e-12)


def test_a_gradient_is_clipped(plan, tmp_path):
    """AdamW undoes any scale that is well above its epsilon of 1e-8; far below, nothing moves."""
    result = run(plan, trial(num_epochs=5, gradient_clip=1e-14), tmp_path)
    losses = [entry["train_loss"] for entry in result.history]
    assert losses[-1] == pytest.approx(losses[0], rel=0.1)  # batches have statistics of their own
    assert (
        run(plan, trial(num_epochs=5), tmp_path / "free").history[-1]["train_loss"] < losses[0] / 2
    )


def test_a_part_without_a_target_is_refused(plan, tmp_path):
    tasks = [{"name": "mean", "target": "mean_atomic_number"}, {"name": "rare", "target": "rare"}]
    plan = replace(plan, tasks=tuple(TaskSettings(**task) for task in tasks))
    with pytest.raises(UserError, match=r"of 2 training records none has 'rare'; take 0\.05 out"):
        run(plan, trial(train_fraction=0.05), tmp_path)


def test_a_grid_over_any_key_of_the_trial(settings):
    changes = {"grid": {"weight_decay": [0, 0.1], "batch_size": [8]}, "seeds": (0,)}
    changes |= {"variants": ("frozen",), "learning_rates": (1e-3,), "train_fractions": (0.1, 1)}
    grid = FinetuneSettings.model_validate(settings.model_dump() | changes)
    assert [one.name for one in grid.trials()] == [
        "frozen-train10-lr0.001-weight_decay0.0-batch_size8-seed0",
        "frozen-train10-lr0.001-weight_decay0.1-batch_size8-seed0",
        "frozen-lr0.001-weight_decay0.0-batch_size8-seed0",
        "frozen-lr0.001-weight_decay0.1-batch_size8-seed0",
    ]
    assert grid.trials()[1].point == (("lr", 1e-3), ("weight_decay", 0.1), ("batch_size", 8))


@pytest.mark.parametrize(
    ("grid", "sentence"),
    [
        ({"hidden": [1]}, r"grid\.hidden is no key of trial; choose among batch_size, encoder"),
        ({"batch_size": [1]}, r"grid\.batch_size: Input should be greater than or equal to 2"),
        ({"batch_size": [8, 8]}, "must not repeat a value"),
    ],
)
def test_a_wrong_key_of_the_grid_is_named(settings, grid, sentence):
    with pytest.raises(ValidationError, match=sentence):
        FinetuneSettings.model_validate(settings.model_dump() | {"grid": grid})


def test_a_task_of_the_catalogue_is_named_and_another_is_refused(settings):
    values = settings.model_dump()
    named = FinetuneSettings.model_validate(values | {"tasks": ["formation energy"]})
    assert named.tasks[0].target == "formation_energy_ev_per_atom"
    assert FinetuneSettings.model_validate(named.model_dump()) == named
    with pytest.raises(ValidationError, match="no task 'formation' in the catalogue; choose one"):
        FinetuneSettings.model_validate(values | {"tasks": ["formation"]})


@pytest.mark.parametrize("name", [WEIGHTS_FILE, TRIAL])
def test_what_a_trial_left_is_checked_before_it_predicts(name, plan, tmp_path):
    folder, settings = UPath(tmp_path), trial(variant="frozen", num_epochs=1)
    result = run(plan, settings, tmp_path)
    assert read_result(plan, settings, folder) == result

    def score():
        predict(plan, read_result(plan, settings, folder), folder, "test")

    score()
    whole = (folder / name).read_bytes()
    flipped = whole[:-60] + bytes([whole[-60] ^ 1]) + whole[-59:]
    again = f"delete {folder} to train this trial again"
    for data in (flipped, whole[:-9], whole[: len(whole) // 2], b""):
        (folder / name).write_bytes(data)
        with pytest.raises((RunError, UserError), match=f"{folder / name} .*{again}"):
            score()
    (folder / WEIGHTS_FILE).unlink()
    (folder / TRIAL).write_bytes(whole if name == TRIAL else (folder / TRIAL).read_bytes())
    with pytest.raises(RunError, match=f"{WEIGHTS_FILE} is missing"):
        score()


def test_no_trial_learns_from_what_other_data_sets_keep_nor_is_chosen_by_it(
    plan, workspace, settings, write_records, tmp_path
):
    """The test part keeps it, so that the score is that of the whole split."""
    write_records(
        workspace.dataset("kept"),
        [[record(0), record(8), record(9), record(10)]],
        lambda material: "train" if material == "mat-010" else "test",
    )
    told = {"held_out": (HeldOut(dataset="kept", splits=("test",)),)}
    changed = settings.model_copy(update=told)
    without = make_plan(changed, workspace, read_cards(workspace.run("pre")))
    assert without.fingerprint != plan.fingerprint
    assert "held_out" in changed.method()
    assert "held_out" not in settings.method()
    formulas = {pair_of(index) for index in (0, 8, 9)}
    for split in ("train", "validation", "test"):
        here, all_of_them = (set(each.material_ids(split)) for each in (without, plan))
        gone = {one for one in all_of_them if pair_of(int(one[-3:])) in formulas}
        assert gone
        assert here == (all_of_them if split == "test" else all_of_them - gone)
    result = run(without, trial(num_epochs=1), tmp_path)
    assert result.num_records["train"] < 47
    assert set(without.examples("validation").material_ids) <= set(
        without.material_ids("validation")
    )


def test_a_data_set_to_hold_out_that_is_missing_is_named(workspace, settings):
    changed = settings.model_copy(update={"held_out": (HeldOut(dataset="nowhere"),)})
    with pytest.raises(UserError, match="nowhere"):
        make_plan(changed, workspace, read_cards(workspace.run("pre")))
