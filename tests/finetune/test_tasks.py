import numpy as np
import pytest
from pydantic import ValidationError

from omnimat.finetune.tasks import (
    ClassIndex,
    Standardiser,
    TaskSettings,
    count_unseen,
    fit_codec,
    read_targets,
)
from omnimat.materials.errors import UserError


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
    with pytest.raises(UserError, match=r"task\.target: 'gap_ev'"):
        read_targets([f'{{"gap_ev": {value}}}'], task)


def test_standardising_knows_only_the_training_targets_and_is_undone_exactly():
    task = TaskSettings(name="gap", target="gap_ev")
    codec = fit_codec(task, np.array([1.0, 3.0]))
    assert (codec.mean, codec.std) == (2.0, 1.0)
    others = np.array([-4.0, 7.0])
    # float32 in between: 24 bits.
    np.testing.assert_allclose(codec.decode(codec.encode(others)), others, rtol=1e-6)


def test_log10_is_standardised_and_undone():
    values = np.array([1.0, 10.0, 1000.0])
    codec = Standardiser.fit(values, "log10")
    assert codec.mean == pytest.approx(4 / 3)
    assert codec.encode(values).std() == pytest.approx(1, rel=1e-6)
    np.testing.assert_allclose(codec.decode(codec.encode(values)), values, rtol=1e-5)


def test_equal_targets_are_only_shifted():
    codec = Standardiser.fit(np.array([5.0, 5.0]), "none")
    assert codec.decode(codec.encode(np.array([6.0]))) == 6


def test_classes_are_the_sorted_training_labels_and_others_count_as_wrong():
    task = TaskSettings(name="system", target="system", kind="classification")
    targets = read_targets(['{"system": "b"}', '{"system": "a"}', "{}"], task)
    codec = fit_codec(task, targets.values[targets.is_known])
    assert codec == ClassIndex(labels=("a", "b"))
    unknown = np.array(["a", "z", "b"])
    assert codec.encode(unknown).tolist() == [0, -1, 1]
    assert count_unseen(codec, unknown) == 1
    predictions = codec.decode(np.array([[1, 0], [1, 0], [0, 1]], np.float32))
    assert task.metric.function(unknown, predictions) == pytest.approx(2 / 3)


def test_a_class_has_no_unit():
    with pytest.raises(ValidationError, match="no unit and no transform"):
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


@pytest.mark.parametrize("transform", ["none", "log10"])
def test_several_numbers_are_standardised_each_by_itself(transform):
    values = np.array([[1.0, 200.0, 5.0], [3.0, 100.0, 5.0], [2.0, 400.0, 5.0]])
    codec = fit_codec(vector_task(transform=transform), values)
    assert codec.num_outputs == 3
    encoded = codec.encode(values)
    np.testing.assert_allclose(encoded.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(encoded.std(axis=0), [1, 1, 0], rtol=1e-6)
    assert Standardiser.model_validate_json(codec.model_dump_json()) == codec
    # float32 in between: 24 bits.
    np.testing.assert_allclose(codec.decode(encoded), values, rtol=1e-5)


def test_the_error_of_several_numbers_is_averaged_over_them():
    metric = vector_task().metric.function
    assert metric([[1, 2, 3], [0, 0, 0]], [[1, 2, 6], [0, 3, 0]]) == 1.0
