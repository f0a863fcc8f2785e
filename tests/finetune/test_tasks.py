import pytest
from pydantic import ValidationError

from omnimat.base.errors import UserError
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.tasks import TaskSettings, catalogue, note_of, read_targets


def test_numbers_are_read_and_what_is_unknown_is_marked():
    task = TaskSettings(name="gap", target="gap_ev", unit="eV")
    targets = read_targets(
        ['{"gap_ev": 1}', "{}", '{"gap_ev": NaN}', None, '{"gap_ev": -2.5}'], task
    )
    assert targets.is_known.tolist() == [True, False, False, False, True]
    assert targets.values[targets.is_known].tolist() == [1.0, -2.5]


def test_log10_leaves_out_what_is_not_positive():
    task = TaskSettings(name="bulk", target="k", unit="GPa", transform="log10")
    targets = read_targets(['{"k": 100}', '{"k": 0}', '{"k": -120}'], task)
    assert targets.is_known.tolist() == [True, False, False]


@pytest.mark.parametrize("value", ['"cubic"', "true", '{"a": 1}', "[true]", "[[1]]", "[]"])
def test_a_target_that_is_no_number_is_refused(value):
    task = TaskSettings(name="gap", target="gap_ev")
    with pytest.raises(UserError, match="tasks: 'gap': 'gap_ev' holds"):
        read_targets([f'{{"gap_ev": {value}}}'], task)


def test_names_are_told_apart_in_files_too():
    tasks = [{"name": name, "target": "k_vrh"} for name in ("log10(K_VRH)", "log10 K_VRH")]
    assert TaskSettings(name="形成能 / atom", target="e").slug == "形成能-atom"
    with pytest.raises(ValidationError, match="tasks: two names differ"):
        FinetuneSettings(dataset="d", run="r", tasks=tasks)
    with pytest.raises(ValidationError, match="has no letter or digit"):
        TaskSettings(name="%", target="e")


def test_a_class_has_no_unit():
    with pytest.raises(ValidationError, match="no unit, scale and transform"):
        TaskSettings(name="system", target="system", kind="classification", unit="eV")


def vector_task(**changes):
    return TaskSettings(name="lengths", target="abc", unit="angstrom", **changes)


def test_several_numbers_are_read_and_one_unknown_makes_all_unknown():
    texts = ['{"abc": [1, 2, 3]}', "{}", '{"abc": [1, null, 3]}', '{"abc": [4, 5, -6]}', None]
    targets = read_targets(texts, vector_task())
    assert targets.values.shape == (5, 3)
    assert targets.is_known.tolist() == [True, False, False, True, False]
    assert targets.values[targets.is_known].tolist() == [[1, 2, 3], [4, 5, -6]]
    positive = read_targets(texts, vector_task(transform="log10"))
    assert positive.is_known.tolist() == [True, False, False, False, False]


@pytest.mark.parametrize("other", ["[1, 2]", "1"])
def test_targets_of_two_lengths_are_refused(other):
    with pytest.raises(UserError, match="one length"):
        read_targets(['{"abc": [1, 2, 3]}', f'{{"abc": {other}}}'], vector_task())


def test_the_error_of_several_numbers_is_averaged_over_them():
    metric = vector_task().scoring.function
    assert metric([[1, 2, 3], [0, 0, 0]], [[1, 2, 6], [0, 3, 0]]) == 1.0


def test_a_task_may_be_the_logarithm_of_a_property():
    task = TaskSettings(name="bulk, log10", target="k", unit="log10(GPa)", scale="log10")
    targets = read_targets(['{"k": 100}', '{"k": 0}', "{}", '{"k": 1}'], task)
    assert targets.is_known.tolist() == [True, False, False, True]
    assert targets.known.tolist() == [2.0, 0.0]


def test_what_is_too_small_is_left_out():
    task = TaskSettings(name="bulk", target="k", unit="GPa", minimum=0)
    assert read_targets(['{"k": 0}', '{"k": -1}'], task).is_known.tolist() == [True, False]


def test_a_threshold_makes_two_classes_and_is_the_upper_ones():
    task = catalogue()["metal or not"]
    texts = [f'{{"band_gap_ev": {gap}}}' for gap in (0, 9e-10, 1e-9, 1.2)] + ["{}"]
    targets = read_targets(texts, task)
    assert targets.known.tolist() == ["metal", "metal", "non-metal", "non-metal"]
    assert targets.is_known.tolist() == [True] * 4 + [False]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"threshold": {"value": 0, "below": "a", "above": "b"}}, "set kind to classification"),
        ({"scale": "log10", "transform": "log10"}, "remove transform"),
        ({"metric": "accuracy"}, "metric accuracy is not one of a regression task"),
        ({"kind": "classification", "metric": "rmse"}, "rmse is not one of a classification task"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(changes, sentence):
    with pytest.raises(ValidationError, match=sentence):
        TaskSettings(name="gap", target="gap_ev", **changes)


def test_the_catalogue_holds_the_papers_tasks_each_under_its_own_name():
    tasks = catalogue()
    assert {task.name for task in tasks.values()} == set(tasks)
    papers = {"bulk modulus", "shear modulus", "elastic tensor, 15 components", "band gap, HSE"}
    papers |= {"lattice lengths, scaled", "lattice angles", "formation energy", "crystal system"}
    assert papers <= set(tasks)
    assert all(task.unit for task in tasks.values() if task.kind == "regression")


def test_a_note_is_told_for_every_fold_and_for_no_other_task():
    note = note_of("matbench log K")
    assert "9,794" in note
    assert note_of("matbench log K, fold 2 of 5") == note
    assert note_of("matbench log") == note_of("bulk modulus, log10") == note_of("") == ""
    assert "note" not in catalogue()["matbench log K"].model_dump()
