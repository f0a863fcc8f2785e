"""Folds: which record is in which part, and what a trial on a fold learns from and predicts."""

import re

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.settings import identity
from omnimat.finetune.folds import (
    OF_FORMULAS,
    Fold,
    FoldRule,
    Folds,
    FoldSettings,
    dealt,
    fold_of,
    fold_split,
    read_properties,
)
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.trial import predict, run_trial
from omnimat.materials.split import SplitSettings, assign_split

BY_FOLD = FoldRule(property="fold")
FOLDS = {"property": "fold", "test": [0, 1, 2], "validation_fraction": 0.2}


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (2, "2"),
        (2.0, "2"),
        ("2", "2"),
        ("oxides", "oxides"),
        (0, "0"),
        (True, "true"),
        (None, None),
        ("", None),
        (float("nan"), None),
        ([1], None),
    ],
)
def test_a_fold_is_named_by_a_number_or_a_text(value, name):
    assert fold_of({"fold": value}, "fold") == name
    assert fold_of({}, "fold") is None


def test_a_job_names_folds_as_properties_do():
    settings = FoldSettings.model_validate(FOLDS | {"test": [0, 1.0, "2", "oxides"]})
    assert settings.test == ("0", "1", "2", "oxides")
    assert FoldSettings.model_validate(settings.model_dump(mode="json")) == settings


def test_folds_are_made_of_formulas():
    """They are equally large, a formula has one, and each validates a part of every other."""
    formulas = [f"A{i % 101}" for i in range(404)]
    index = pd.DataFrame({"reduced_formula": formulas, "material_id": map(str, range(404))})
    settings = FoldSettings.model_validate({"of_formulas": 4, "validation_fraction": 0.2})
    assert settings.test == ("1", "2", "3", "4")
    assert FoldSettings.model_validate(settings.model_dump(mode="json")) == settings
    folds = Folds.of(index, [None] * 404, settings)
    assert [folds.names.count(name) for name in settings.test] == [104, 100, 100, 100]
    fold_of_formula = dict(zip(folds.keys, folds.names, strict=True))
    assert [fold_of_formula[one] for one in formulas] == folds.names
    for fold in settings.each():
        parts = set(zip(folds.split(fold), folds.names, strict=True))
        others = [name for name in settings.test if name != fold.test]
        expected = {(part, name) for part in ("train", "validation") for name in others}
        assert parts == expected | {("test", fold.test)}
    assert dealt(reversed(formulas), 4, 0) == fold_of_formula
    assert dealt(formulas, 4, 1) != fold_of_formula


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"test": [1, 1.0]}, "named twice"),
        ({"test": ["a/b", "a b"]}, "only in signs"),
        ({"test": []}, "test"),
        ({"test": [[1]]}, "test.0"),
        ({"test": [""]}, "test.0"),
        ({"validation_fraction": 0}, "validation_fraction"),
        ({"validation_fraction": 1}, "validation_fraction"),
        ({"property": ""}, "property"),
        ({"of_formulas": 3}, "not both"),
        ({"property": OF_FORMULAS, "of_formulas": 1}, "of_formulas"),
        ({"property": OF_FORMULAS, "of_formulas": 2, "test": [1, 3]}, "'3' is none"),
    ],
)
def test_folds_that_cannot_be_are_refused(changes, told):
    with pytest.raises(ValidationError, match=re.escape(told)):
        FoldSettings.model_validate(FOLDS | changes)


@pytest.mark.parametrize(
    ("given", "told"),
    [({}, "give property or of_formulas"), ({"property": "fold"}, "give test")],
)
def test_folds_that_nothing_says_are_refused(given, told):
    with pytest.raises(ValidationError, match=told):
        FoldSettings.model_validate(given)


def test_the_rest_is_split_by_the_hash_of_the_data_sets_split():
    fold = Fold(property="fold", test=0, validation_fraction=0.3, seed=7)
    hashed = SplitSettings(train=0.7, validation=0.3, test=0, seed=7)
    keys = [f"A{i}B" for i in range(2000)]
    parts = [fold_split("1", key, fold) for key in keys]
    assert parts == [assign_split(key, None, hashed) for key in keys]
    assert 0.27 < parts.count("validation") / len(parts) < 0.33
    assert fold_split("0", "A1B", fold) == "test"
    assert fold_split(None, "A1B", fold) is None
    other = [fold_split("1", key, fold.model_copy(update={"seed": 8})) for key in keys]
    assert other != parts


def test_polymorphs_are_together_and_what_has_no_formula_goes_by_its_id():
    ids = [f"mat-{i}" for i in range(200)]
    formulas = [f"A{i // 10}B" for i in range(100)] + [None] * 100
    index = pd.DataFrame({"material_id": ids, "reduced_formula": formulas})
    fold = Fold(property="fold", test=0, validation_fraction=0.5)
    parts = Folds.of(index, ['{"fold": 1}'] * 200, BY_FOLD).split(fold)
    assert pd.Series(parts[:100]).groupby(formulas[:100]).nunique().eq(1).all()
    assert parts.tolist() == [
        fold_split("1", formula or name, fold) for name, formula in zip(ids, formulas, strict=True)
    ]
    assert len(set(parts[:100])) == len(set(parts[100:])) == 2


def test_the_official_folds_of_matbench(shared_data):
    table = pd.read_parquet(shared_data / "matbench" / "moduli_predictions.parquet")
    bulk = table[table["task"] == "matbench_log_kvrh"]
    index = pd.DataFrame({"material_id": bulk["matbench_id"], "reduced_formula": None})
    folds = Folds.of(index, [f'{{"fold": {fold}}}' for fold in bulk["fold"]], BY_FOLD)
    assert folds.known == ["0", "1", "2", "3", "4"]
    times_tested = np.zeros(len(bulk), dtype=int)
    for fold in FoldSettings(property="fold", test=folds.known).each():
        parts = folds.split(fold)
        assert set(index["material_id"][parts == "test"]) == set(
            bulk.loc[bulk["fold"] == int(fold.test), "matbench_id"]
        )
        rest = parts != "test"
        assert set(parts[rest]) == {"train", "validation"}
        assert abs((parts == "validation").sum() / rest.sum() - 0.1) < 0.01
        times_tested += parts == "test"
    assert (times_tested == 1).all()


@pytest.fixture(scope="module")
def folded(settings):
    changes = {"folds": FOLDS, "variants": ["from_scratch"], "learning_rates": [1e-2]}
    changes |= {"seeds": [0], "trial": {"num_epochs": 2, "batch_size": 16}}
    return FinetuneSettings.model_validate(settings.model_dump() | changes)


def test_without_folds_trials_and_sweeps_are_what_they_were(settings, folded):
    trial = settings.trials()[0]
    assert trial.fold is None
    assert "fold" not in identity(trial)
    assert "fold" not in trial.name
    assert "folds" not in identity(settings)
    assert "folds" not in settings.method()
    assert trial.contender == ("finetuned", 1.0, None)


def test_each_fold_has_trials_of_its_own(folded):
    assert [one.name for one in folded.trials()] == [
        f"from_scratch-fold{name}-lr0.01-seed0" for name in "012"
    ]
    assert len({one.contender for one in folded.trials()}) == 3


def test_a_sweep_that_has_begun_may_take_more_folds_but_no_others(folded, settings):
    def claim(**changes):
        values = folded.model_dump() | {"folds": FOLDS | changes}
        return FinetuneSettings.model_validate(values).claim()

    assert claim(test=[0]) == claim(test=[0, 1])
    assert len({claim(), claim(seed=1), claim(validation_fraction=0.3), settings.claim()}) == 4


def test_a_trial_learns_from_the_other_folds_and_predicts_its_own(plan, folded, tmp_path):
    predicted_ids = []
    for trial in folded.trials():
        folder = UPath(tmp_path / trial.name)
        result = run_trial(plan, trial, folder, lambda entry: None)
        (table,) = predict(plan, result, folder, "test").values()
        predicted_ids += table["material_id"].tolist()
        assert {int(one[-3:]) % 3 for one in table["material_id"]} == {int(trial.fold.test)}
        parts = {
            split: set(plan.examples(split, trial.fold).material_ids)
            for split in ("train", "validation", "test")
        }
        assert parts["test"] == set(table["material_id"])
        assert not parts["train"] & parts["validation"]
        # Of 60 records one has no fold and another no target.
        assert sum(map(len, parts.values())) == len(set().union(*parts.values())) == 58
        assert result.num_records == {k: len(parts[k]) for k in ("train", "validation")}
        assert min(result.num_records.values()) > 0
    assert sorted(predicted_ids) == [f"mat-{i:03d}" for i in range(60) if i not in {1, 5}]


def test_shards_and_features_tell_the_same_folds(plan, workspace):
    index, properties = read_properties(workspace.dataset("cubes"))
    fold = Fold(property="fold", test=1)
    from_shards = Folds.of(index, properties, BY_FOLD).split(fold)
    for split in ("train", "validation", "test"):
        known = set(plan.examples(split, fold).material_ids) - {"mat-001"}
        assert known == set(index["material_id"][from_shards == split]) - {"mat-001"}
    assert plan.num_folds(BY_FOLD) == 3


def test_a_fold_without_records_is_refused_by_name(plan):
    fold = Fold(property="fold", test=7)
    with pytest.raises(UserError, match=r"of 0 test records of fold 7 none has"):
        plan.check_splits([None, fold])
