import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from upath import UPath

from omnimat.encoders.export import load
from omnimat.finetune.settings import FinetuneSettings, TrialSettings
from omnimat.finetune.tasks import TaskSettings
from omnimat.finetune.trial import build_model, predict, read_result, run_trial
from omnimat.materials.errors import UserError


def trial(**changes):
    base = {"variant": "finetuned", "lr": 1e-2, "seed": 3, "num_epochs": 15, "batch_size": 16}
    return TrialSettings(**base | changes)


def run(plan, settings, folder):
    return run_trial(plan, settings, UPath(folder), lambda entry: None)


def replaced_task(plan, **changes):
    return type(plan)(
        plan.store, plan.modality, plan.export, TaskSettings(**changes), plan.fingerprint
    )


def test_a_trial_learns_and_keeps_its_best_epoch(plan, tmp_path):
    result = run(plan, trial(num_epochs=40), tmp_path)
    metrics = [entry["validation_metric"] for entry in result.history]
    assert result.history[-1]["train_loss"] < 0.1 * result.history[0]["train_loss"]
    assert result.validation_metric == min(metrics) < 0.5 * metrics[0]
    assert result.best_epoch == 1 + metrics.index(min(metrics))
    assert result.samples_seen == 47 * 40
    predicted = predict(plan, result, UPath(tmp_path), "validation")
    error = np.abs(predicted["prediction"] - predicted["target"]).mean()
    # The saved weights are those of the best epoch: the same sums in the same order.
    assert error == pytest.approx(result.validation_metric, rel=1e-12)


def test_records_without_a_target_are_left_out_and_counted(plan, tmp_path):
    result = run(plan, trial(num_epochs=1), tmp_path)
    assert result.num_records == {"train": 47, "validation": 6}
    assert result.num_without_target == {"train": 1, "validation": 0}
    part = run(plan, trial(num_epochs=1, max_train_records=20), tmp_path)
    assert part.num_records["train"] == 20


def test_the_same_seed_gives_the_same_bits(plan, tmp_path):
    first, again = (run(plan, trial(num_epochs=2), tmp_path / name) for name in "ab")
    other = run(plan, trial(num_epochs=2, seed=4), tmp_path / "c")
    assert first.history == again.history != other.history
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]


def test_variants_start_where_they_say(plan):
    exported = load(plan.export)[0].state_dict()
    name = "head.weight"
    finetuned = build_model(plan, trial(), 1).encoder.state_dict()
    scratch = build_model(plan, trial(variant="from_scratch"), 1).encoder.state_dict()
    again = build_model(plan, trial(variant="from_scratch"), 1).encoder.state_dict()
    assert torch.equal(finetuned[name], exported[name])
    assert not torch.equal(scratch[name], exported[name])
    assert torch.equal(scratch[name], again[name])


def test_a_frozen_encoder_stays_as_it_was(plan, tmp_path):
    result = run(plan, trial(variant="frozen", lr=0.1), tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    for name, value in load(plan.export)[0].state_dict().items():
        assert torch.equal(saved[f"encoder.{name}"], value)
    assert result.validation_metric < result.history[0]["validation_metric"]
    predicted = predict(plan, result, UPath(tmp_path), "validation")
    error = np.abs(predicted["prediction"] - predicted["target"]).mean()
    assert error == pytest.approx(result.validation_metric, rel=1e-6)


def test_patience_stops_a_trial(plan, tmp_path):
    # So small a rate changes nothing that float32 can tell, so no epoch is better than the first.
    result = run(plan, trial(variant="frozen", lr=1e-30, patience=3), tmp_path)
    assert len(result.history) == 4
    assert result.best_epoch == 1


def test_a_diverging_trial_says_which_rate_to_remove(plan, tmp_path):
    with pytest.raises(FloatingPointError, match="take 1e\\+30 out of learning_rates"):
        run(plan, trial(lr=1e30, num_epochs=2, warmup_fraction=0), tmp_path)


def test_a_class_is_learned(plan, tmp_path):
    plan = replaced_task(plan, name="weight", target="is_heavy", kind="classification")
    result = run(plan, trial(num_epochs=20), tmp_path)
    assert result.validation_metric >= 5 / 6
    assert set(predict(plan, result, UPath(tmp_path), "test")["prediction"]) <= {"True", "False"}


def test_a_result_is_found_again_only_for_the_same_trial(plan, tmp_path):
    folder = UPath(tmp_path)
    result = run(plan, trial(num_epochs=1), folder)
    assert read_result(plan, trial(num_epochs=1), folder) == result
    assert read_result(plan, trial(num_epochs=2), folder) is None
    changed = type(plan)(plan.store, plan.modality, plan.export, plan.task, "another")
    assert read_result(changed, trial(num_epochs=1), folder) is None


def test_a_target_nobody_has_is_refused(plan, tmp_path):
    plan = replaced_task(plan, name="gap", target="gap_ev")
    with pytest.raises(UserError, match="no train record has both 'gap_ev'"):
        run(plan, trial(), tmp_path)


def test_a_grid_must_not_repeat_a_point(settings):
    values = settings.model_dump() | {"seeds": (1, 1)}
    with pytest.raises(ValueError, match="must not repeat"):
        FinetuneSettings.model_validate(values)
