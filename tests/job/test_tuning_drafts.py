"""What is chosen for so many labels, and the job files in which it stands."""

import pytest
import yaml

from omnimat.base.errors import UserError
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.trial_settings import OptimizationSettings
from omnimat.job.drafts.files import tuning_jobs
from omnimat.job.drafts.finetune import Start, Target
from omnimat.job.drafts.holdings import Holdings
from omnimat.job.drafts.text import exponential
from omnimat.job.drafts.tuning import Labels, tuned
from omnimat.job.load import load_tree

BY_SPLIT = {"train": 240, "validation": 80, "test": 80}
HELD = Holdings(
    name="mine",
    records=BY_SPLIT,
    views=dict.fromkeys(["structure", "xrd", "composition"], BY_SPLIT),
    properties={"hardness_gpa": BY_SPLIT, "phase": BY_SPLIT},
    kinds={"hardness_gpa": "number", "phase": "class"},
)
HARDNESS = Target("hardness_gpa", "GPa")


def written(folder, files):
    for name, text in files.items():
        (folder / name).write_text(text)
    return load_tree(folder / list(files)[-1])


def drafts(target=HARDNESS, modalities=("structure",), overrides=(), num_folds=None):
    counts = HELD.properties[target.name]
    labels = Labels(sum(counts.values()), counts["train"], HELD.kinds[target.name])
    start = Start.of_model("my model.zip", modalities, HELD)
    tuning = tuned(labels, num_folds)
    return tuning_jobs(HELD, start, target, tuning, (), target.run("mine"), overrides)


@pytest.mark.parametrize("num_known", [12, 50, 120, 499, 500, 2_000, 20_000, 50_000])
@pytest.mark.parametrize("kind", ["number", "class"])
def test_what_is_chosen_suits_any_number_of_labels(num_known, kind):
    labels = Labels(num_known, int(0.7 * num_known), kind)
    chosen = tuned(labels)
    OptimizationSettings(
        num_epochs=chosen.num_epochs,
        batch_size=chosen.batch_size,
        patience=chosen.patience,
    )
    assert (chosen.num_folds > 0) == (num_known < 500)
    assert (chosen.variants == ("linear_probe",)) == (labels.num_train < 100)
    assert chosen.patience < chosen.num_epochs
    num_trials = len(chosen.learning_rates) * (len(chosen.seeds) + chosen.num_folds)
    if chosen.variants == ("finetuned",):  # what costs; a probe embeds each material once
        assert num_trials * chosen.num_epochs * labels.num_train <= 2_000_000
    assert str(chosen.num_epochs) in " ".join(chosen.reasons)


def test_the_fewest_labels_move_no_encoder():
    variants = [tuned(Labels(n, n, "number")).variants for n in (99, 100, 5_000)]
    assert variants == [("linear_probe",), ("finetuned",), ("finetuned",)]
    assert any("chance" in one for one in tuned(Labels(20, 12, "number")).reasons)


def test_few_labels_are_judged_by_folds_before_the_model_is_made(tmp_path):
    folds, last = written(tmp_path, drafts())
    assert (folds.name, last.name) == ("mine-hardness-folds", "mine-hardness")
    assert folds.settings.folds.of_formulas == len(folds.settings.folds.test) == 5
    assert last.settings.folds is None
    assert last.settings.seeds == (0, 1, 2)
    assert last.needs == ("mine-hardness-folds.yaml",)
    for job in (folds, last):
        settings = job.settings
        assert isinstance(settings, FinetuneSettings)
        assert (settings.model, settings.run) == ("my model.zip", "")
        assert settings.trial.encoder_lr_fraction == 1
        (task,) = settings.tasks
        assert (task.name, task.target, task.unit) == ("hardness", "hardness_gpa", "GPa")
    assert folds.settings.trial == last.settings.trial


def test_a_class_and_a_logarithm(tmp_path):
    (job,) = written(tmp_path, drafts(Target("phase"), num_folds=0))
    assert job.settings.tasks[0].kind == "classification"
    (job,) = written(tmp_path, drafts(Target("hardness_gpa", "GPa", "log10"), num_folds=0))
    assert job.settings.tasks[0].transform == "log10"


def test_a_model_sees_what_it_can_read(tmp_path):
    (job,) = written(tmp_path, drafts(modalities=("composition", "xrd", "dos"), num_folds=0))
    assert job.settings.modalities == ("xrd", "composition")
    with pytest.raises(UserError, match=r"my model\.zip reads dos.*mine has structure"):
        drafts(modalities=("dos",))


def test_what_a_user_replaces_stands_in_every_file_that_is_kept(tmp_path):
    overrides = ("trial.num_epochs=3", "learning_rates=[1e-3]")
    for job in written(tmp_path, drafts(overrides=overrides)):
        assert job.settings.trial.num_epochs == 3
        assert job.settings.learning_rates == (1e-3,)
    for key, option in (("name=x", "--name"), ("folds.seed=3", "--folds")):
        with pytest.raises(UserError, match=option):
            drafts(overrides=(key,))
    with pytest.raises(UserError, match="key=value"):
        drafts(overrides=("trial",))


@pytest.mark.parametrize("number", [5e-4, 1e-3, 4e-3, 1e-2, 3e-2, 1.0, 12.0])
def test_a_rate_is_read_as_it_was_written(number):
    assert yaml.safe_load(f"[{exponential(number)}]") == [number]
